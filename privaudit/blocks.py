"""Images cut into blocks from the upper left corner on; at the lower and right edge a block may be smaller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Block = tuple[int, int]
"""Height and width in pixels."""

Numbers = NDArray[np.int64]


def grid_of(shape: tuple[int, ...], block: Block) -> tuple[int, int]:
    """Blocks down and across in images of this height and width (the first two numbers)."""
    return -(-shape[0] // block[0]), -(-shape[1] // block[1])


def region(place: Sequence[int], block: Block) -> tuple[slice, slice]:
    """Rows and columns of the pixels of the block at a place of the grid."""
    (row, column), (height, width) = place, block
    return slice(row * height, (row + 1) * height), slice(column * width, (column + 1) * width)


def assembled(pixels: NDArray[np.uint8], source: Numbers, block: Block) -> NDArray[np.uint8]:
    """Images made of the blocks of these, [N, H, W, C]. source: [N, down, across], whose block stands where."""
    found = np.empty((len(source), *pixels.shape[1:]), dtype=np.uint8)
    for place in np.ndindex(source.shape[1:]):
        here = region(place, block)
        found[:, *here] = pixels[source[:, *place], *here]
    return found


def numbered(piles: Sequence[NDArray[np.uint8]], block: Block) -> list[Numbers]:
    """A number for the block at each place of each image, [N, down, across] for each pile; equal blocks have equal
    numbers, in all piles.
    """
    grid = grid_of(piles[0].shape[1:], block)
    found = [np.empty((len(pile), *grid), dtype=np.int64) for pile in piles]
    ends = np.cumsum([len(pile) for pile in piles])[:-1]
    for place in np.ndindex(grid):
        here = region(place, block)
        rows = np.concatenate([np.ascontiguousarray(pile[:, *here]).reshape(len(pile), -1) for pile in piles])
        _, number = np.unique(rows.view(f"V{rows.shape[1]}"), return_inverse=True)
        for numbers, part in zip(found, np.split(number.ravel(), ends), strict=True):
            numbers[:, *place] = part
    return found
