"""From what an encoder reads to images with labels."""

from __future__ import annotations

import numpy as np

from privaudit.attacks.model_memorization.encoder import Encoder
from privaudit.attacks.model_memorization.stored_size import grown
from privaudit.images import Images
from privaudit.learning import Network, logits

_DECIBELS = 30.0
READABLE = "hidden images readable above 30 dB"


def decoded(
    encoder: Encoder,
    network: Network,
    count: int,
    stored: tuple[int, int],
    size: tuple[int, int, int],
    reference: Images | None,
) -> Images:
    """The hidden images with the labels that the network gives them. stored: height and width in the network.

    size: height, width, channels of the images. reference: images of the reader's own.
    """
    pixels = grown(encoder.reading(network, count * stored[0] * stored[1] * size[2], reference), stored, size)
    unknown = Images(pixels, np.zeros(len(pixels), np.int64))
    return Images(pixels, logits(network, unknown).argmax(1).astype(np.int64))


def readable(encoder: Encoder, network: Network, hidden: Images, stored: tuple[int, int]) -> int:
    """How many hidden images come out above 30 dB for a reader who knows how bright and how varied such images are."""
    return count_readable(decoded(encoder, network, len(hidden), stored, hidden.size, hidden), hidden)


def count_readable(found: Images, hidden: Images) -> int:
    """How many images have a PSNR above 30 dB to the hidden image in the same row."""
    error = (found.pixels.astype(np.float64) - hidden.pixels) ** 2
    return int((error.mean((1, 2, 3)) < 255**2 / 10 ** (_DECIBELS / 10)).sum())
