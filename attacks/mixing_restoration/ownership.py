"""Whose is each block? Every image has one block at each place, and a block that only one image has is of one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.attacks.mixing_restoration.fit import Fit, Floats
from privaudit.blocks import Block, numbered, region

Place = tuple[int, int]

_SWEEPS = 4
_TRUST = 0.75
_BALANCING = 20
_MOST_MEMORY = 4 * 10**8


@dataclass(frozen=True, eq=False)
class Mixed:
    """Mixed images of one class, by their distinct blocks. shown: int64 [N, rows, columns], numbers of the blocks that
    stand in each image. blocks: at each place, the distinct ones. common: at each place, how many of the images are
    expected to have each of these blocks by themselves, at least 1; a plain background is many images' own.
    """

    shown: NDArray[np.int64]
    blocks: dict[Place, Floats]
    common: dict[Place, Floats]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], own: NDArray[np.uint8], block: Block) -> Mixed:
        """pixels: of the mixed images; own: of the attacker's, of this class."""
        numbers, theirs = numbered([pixels, own], block)
        shown = np.empty_like(numbers)
        blocks, common = dict[Place, Floats](), dict[Place, Floats]()
        for place in np.ndindex(*numbers.shape[1:]):
            here = numbers[:, *place]
            distinct, first, shown[:, *place] = np.unique(here, return_index=True, return_inverse=True)
            blocks[place] = np.divide(pixels[first][:, *region(place, block)], 255, dtype=np.float32)
            times = np.bincount(theirs[:, *place], minlength=int(here.max()) + 1)[distinct]
            common[place] = np.maximum(1.0, len(pixels) * (times / max(1, len(own)))).astype(np.float32)
        return cls(shown, blocks, common)


def largest_part(rows: int, columns: int) -> int:
    """Images of one class that can be looked at together: what fits of every seam with every other."""
    seams = rows * (columns - 1) + columns * (rows - 1)
    return max(50, int((_MOST_MEMORY / (4 * max(1, seams))) ** 0.5))


def seams(mixed: Mixed, across: Fit | None, down: Fit | None) -> dict[tuple[Place, Place], Floats]:
    """Log odds of the blocks at every two neighbouring places, [blocks here, blocks at the next place]."""
    found = {}
    for row, column in mixed.blocks:
        here = mixed.blocks[row, column]
        right, below = mixed.blocks.get((row, column + 1)), mixed.blocks.get((row + 1, column))
        if right is not None and across is not None:
            found[(row, column), (row, column + 1)] = across.log_odds(here, right)
        if below is not None and down is not None:
            odds = down.log_odds(here.transpose(0, 2, 1, 3), below.transpose(0, 2, 1, 3))
            found[(row, column), (row + 1, column)] = odds
    return found


def beliefs(mixed: Mixed, odds: dict[tuple[Place, Place], Floats], replacement: float) -> dict[Place, Floats]:
    """At each place, how likely each block is to be each image's own, [N, blocks + 1]; the last: it is not here.

    Beliefs are passed between neighbouring places, whole, so that some evidence comes back to where it came from;
    therefore they are tempered. Sinkhorn's balancing sees to it that no block is more images' own than it can be.
    replacement: share of the blocks that were replaced.
    """
    count, (down, across) = len(mixed.shown), mixed.shown.shape[1:]
    lost = replacement * np.exp(-replacement)  # replaced in its own image, and taken into no other
    found, before = dict[Place, Floats](), dict[Place, Floats]()
    for place in np.ndindex(down, across):
        common = mixed.common[place]
        prior = np.empty((count, len(common) + 1), dtype=np.float32)
        prior[:, :-1] = (replacement - lost) * common / common.sum()
        prior[:, -1] = lost
        prior[np.arange(count), mixed.shown[:, *place]] += 1 - replacement
        found[place], before[place] = prior, np.log(prior)
    likelihood = {pair: np.exp(_TRUST * values) for pair, values in odds.items()}
    for _ in range(_SWEEPS):
        for place in found:
            messages = before[place].copy()
            for (first, second), values in likelihood.items():
                if place in (first, second):
                    other, table = (second, values.T) if place == first else (first, values)
                    theirs = found[other]
                    messages[:, :-1] += np.log(theirs[:, :-1] @ table + theirs[:, -1:] + 1e-9)
            found[place] = _balanced(messages, mixed.common[place])
    return found


def _balanced(logarithms: Floats, most: Floats) -> Floats:
    """Rows that sum to 1, of columns that sum to `most` at most (the last one to anything)."""
    found = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    for _ in range(_BALANCING):
        found /= found.sum(axis=1, keepdims=True)
        found[:, :-1] /= np.maximum(1, found[:, :-1].sum(axis=0) / most)
    return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float32)
