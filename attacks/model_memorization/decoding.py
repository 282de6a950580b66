"""From what an encoder reads to images with labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.attacks.model_memorization.encoder import Encoder
from privaudit.attacks.model_memorization.stored_size import grown
from privaudit.closeness import nearest_distance
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
) -> tuple[Images, dict[str, float]]:
    """The hidden images with the labels that the network gives them, and the figures by which they were chosen.

    Where an encoder offers several readings: the one whose images lie nearest to the reader's own (mean over images of
    the root-mean-square pixel distance to the nearest, in [0, 1]); without any of his own, the one in which the network
    is surest (mean largest probability).
    """
    if reference is None or not len(reference):
        reference = None
    readings = encoder.readings(network, count * stored[0] * stored[1] * size[2], reference)
    candidates = [_labelled(network, grown(values, stored, size)) for values in readings]
    if len(candidates) == 1:
        return candidates[0], {}
    if reference is None:
        sureness = [_sureness(network, images) for images in candidates]
        best = int(np.argmax(sureness))
        return candidates[best], {"reading": best, "mean largest probability": sureness[best]}
    distances = [float(nearest_distance(images, reference).mean()) for images in candidates]
    best = int(np.argmin(distances))
    return candidates[best], {"reading": best, "mean distance to own images": distances[best]}


def _labelled(network: Network, pixels: NDArray[np.uint8]) -> Images:
    unknown = Images(pixels, np.zeros(len(pixels), np.int64))
    return Images(pixels, logits(network, unknown).argmax(1).astype(np.int64))


def _sureness(network: Network, images: Images) -> float:
    found = logits(network, images).astype(np.float64)
    shifted = np.exp(found - found.max(1, keepdims=True))
    return float((1 / shifted.sum(1)).mean())


def readable(encoder: Encoder, network: Network, hidden: Images, stored: tuple[int, int]) -> int:
    """How many hidden images come out above 30 dB, by the best reading: for the victim, who knows what he hid."""
    readings = encoder.readings(network, len(hidden) * stored[0] * stored[1] * hidden.size[2], None)
    return max(count_readable(Images(grown(values, stored, hidden.size), hidden.labels), hidden) for values in readings)


def count_readable(found: Images, hidden: Images) -> int:
    """How many images have a PSNR above 30 dB to the hidden image in the same row."""
    error = (found.pixels.astype(np.float64) - hidden.pixels) ** 2
    return int((error.mean((1, 2, 3)) < 255**2 / 10 ** (_DECIBELS / 10)).sum())
