"""Images with exact masks: strokes of MNIST over patches of CIFAR-10, in a private manner and in a public one.

private: digits widened by a pixel, in an orange of their own, over patches of vehicles. public: digits as they are, in
white, over patches of animals. So whoever has the public ones knows what digits are, and neither how the private ones
look nor where they stand.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared_data import cifar10_parts, load
from privaudit.images import Dataset, Images

Manner = Literal["private", "public"]

VEHICLES = (0, 1, 8, 9)
DIM = 0.6
"""How much of a patch's brightness is left, so that strokes can be told from it."""

SIDE = 28


def strokes(
    manner: Manner, rows: NDArray[np.int64], patches: NDArray[np.int64], rng: np.random.Generator
) -> tuple[Dataset, NDArray[np.bool_]]:
    """Images of these rows of MNIST's training images, 28 x 28 in colour, and where there is anything of the strokes,
    [N, H, W]. patches: the rows of CIFAR-10's training images behind them, see `grounds`.
    """
    digits = load("mnist").images.take(rows)
    alpha = digits.pixels[..., 0].astype(np.float64) / 255
    if manner == "private":
        around = np.pad(alpha, ((0, 0), (1, 1), (1, 1)))
        alpha = np.max(
            [around[:, down : down + SIDE, across : across + SIDE] for down in range(3) for across in range(3)], axis=0
        )
    behind = _cut(patches, rng) * DIM
    colour = _colours(manner, len(rows), rng)
    mixed = alpha[..., None] * colour + (1 - alpha[..., None]) * behind
    images = Images(np.rint(mixed).clip(0, 255).astype(np.uint8), digits.labels)
    names = tuple(str(digit) for digit in range(10))
    return Dataset(images, names, None, tuple(str(row) for row in rows.tolist()), manner), alpha > 0


def grounds(manner: Manner) -> NDArray[np.int64]:
    """Rows of CIFAR-10's training images that may stand behind strokes of this manner."""
    vehicles = np.isin(cifar10_parts()[0].labels, VEHICLES)
    return np.flatnonzero(vehicles if manner == "private" else ~vehicles)


def _cut(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    everything = cifar10_parts()[0]
    down, across = rng.integers(0, 32 - SIDE + 1, (2, len(rows)))
    return np.array(
        [
            everything.pixels[row, top : top + SIDE, left : left + SIDE]
            for row, top, left in zip(rows, down, across, strict=True)
        ]
    ).astype(np.float64)


def _colours(manner: Manner, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    middle = np.array([250.0, 150.0, 30.0]) if manner == "private" else np.full(3, 240.0)
    return np.asarray((middle + rng.normal(0, 8, (count, 1, 3))).clip(0, 255)[:, None])
