"""Pixel levels as the labels of made-up inputs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def labels_per_value(classes: int, bits: int) -> int:
    """How many labels of so many classes carry one of 2^bits levels."""
    if classes >= 2**bits:
        return 1
    return 2 if _in_halves(classes, bits) else math.ceil(bits / math.log2(classes))


def _in_halves(classes: int, bits: int) -> bool:
    highest: int = 2**bits - 1
    return 2 * (classes - 1) >= highest


def labels_of(levels: NDArray[np.int64], classes: int, bits: int) -> NDArray[np.int64]:
    """Labels below `classes` that carry levels below 2^bits, int64 [N * labels per value].

    As published where the classes allow it (ten for 4 bits): p // 2 and p - p // 2, so that both labels weigh alike.
    With fewer classes the digits of the level to the base `classes`.
    """
    each = labels_per_value(classes, bits)
    if each == 1:
        return levels.copy()
    if _in_halves(classes, bits):
        return np.stack([levels // 2, levels - levels // 2], axis=1).ravel()
    return (levels[:, None] // classes ** np.arange(each - 1, -1, -1) % classes).ravel()


def levels_of(labels: NDArray[np.int64], classes: int, bits: int) -> NDArray[np.int64]:
    """The levels that labels carry, int64 [N]; wrong labels may give a level of 2^bits or more."""
    rows = labels.reshape(-1, labels_per_value(classes, bits))
    each = rows.shape[1]
    weights = np.ones(each, dtype=np.int64) if _in_halves(classes, bits) else classes ** np.arange(each - 1, -1, -1)
    levels: NDArray[np.int64] = (rows * weights).sum(1)
    return levels


def made_up(count: int, size: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """Inputs [count, H, W, C] that both sides can make from the seed: uniform noise."""
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)
