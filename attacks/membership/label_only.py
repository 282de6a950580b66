"""Membership from labels alone: how often a network stays right when a suspect is shifted, mirrored or made noisy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.attacks.membership.scores import Floats
from privaudit.images import Images
from privaudit.learning import Network, logits

_NOISE = (8.0, 16.0, 32.0)
"""Standard deviations, in grey values of 255."""


def views(suspects: Images, rng: np.random.Generator) -> Iterator[Images]:
    """The suspects as they are; shifted up, down, left, right (by a sixteenth, and an eighth, of the smaller side);
    mirrored; with noise, the same pattern for all.
    """
    yield suspects
    height, width, _ = suspects.size
    for part in (16, 8):
        step = max(1, min(height, width) // part)
        for down, right in ((step, 0), (-step, 0), (0, step), (0, -step)):
            yield Images(_shifted(suspects.pixels, down, right), suspects.labels)
    yield Images(suspects.pixels[:, :, ::-1], suspects.labels)
    for deviation in _NOISE:
        noise = np.rint(rng.normal(0, deviation, suspects.size)).astype(np.int16)
        pixels = np.clip(suspects.pixels.astype(np.int16) + noise, 0, 255)
        yield Images(pixels.astype(np.uint8), suspects.labels)


def _shifted(pixels: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[1:3]
    moved = np.zeros_like(pixels)
    rows, columns = (slice(max(0, step), size + min(0, step)) for step, size in ((down, height), (right, width)))
    source_rows, source_columns = (
        slice(max(0, -step), size + min(0, -step)) for step, size in ((down, height), (right, width))
    )
    moved[:, rows, columns] = pixels[:, source_rows, source_columns]
    return moved


def robustness(networks: Sequence[Network], suspects: Images, rng: np.random.Generator, device: str) -> Floats:
    """Share of views, over all networks, in which the suspect's label has the largest logit, [N]."""
    right = np.zeros(len(suspects))
    seen = 0
    for view in views(suspects, rng):
        for network in networks:
            right += logits(network, view, device).argmax(axis=1) == suspects.labels
            seen += 1
    return right / seen
