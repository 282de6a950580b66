"""Pixel values as levels of a few bits, and levels as a string of bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def quantised(values: NDArray[np.floating], bits: int) -> NDArray[np.int64]:
    """The nearest of 2^bits evenly spaced levels from 0 to 255, int64 [N]; 4 bits are at most 8.5 grey values off."""
    levels: NDArray[np.int64] = np.rint(np.clip(values, 0, 255) * ((2**bits - 1) / 255)).astype(np.int64)
    return levels


def grey_values(levels: NDArray[np.int64], bits: int) -> NDArray[np.float32]:
    """Levels of 2^bits as values from 0 to 255; levels out of range become the nearest in it."""
    values: NDArray[np.float32] = (np.clip(levels, 0, 2**bits - 1) * (255 / (2**bits - 1))).astype(np.float32)
    return values


def to_bits(levels: NDArray[np.int64], bits: int) -> NDArray[np.bool_]:
    """Levels written one after the other, highest bit first, bool [N * bits]."""
    places = np.arange(bits - 1, -1, -1)
    return ((levels[:, None] >> places) & 1).astype(np.bool_).ravel()


def from_bits(found: NDArray[np.bool_], bits: int) -> NDArray[np.int64]:
    """The levels that `to_bits` wrote, int64 [N]."""
    places = np.arange(bits - 1, -1, -1)
    levels: NDArray[np.int64] = (found.reshape(-1, bits).astype(np.int64) << places).sum(1)
    return levels
