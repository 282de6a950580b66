"""Blur and coarse pixels, as publishers use them: what engines do to images, and what an attacker does to suspects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from privaudit.images import images_per_block


def rounded(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey values as whole numbers from 0 to 255."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def blurred(pixels: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C] under a Gaussian with a standard deviation of `radius` pixels; the edge goes on outside."""
    from scipy import ndimage

    spread = (0, radius, radius, 0)
    return _in_blocks(pixels, lambda part: ndimage.gaussian_filter(part.astype(np.float32), spread, mode="nearest"))


def coarse(pixels: NDArray[np.uint8], cell: int, start: int = 0) -> NDArray[np.uint8]:
    """uint8 [N, H, W, C], each pixel the mean of its cell of `cell` x `cell` pixels; at the right and lower edge less.

    start: rows and columns before the first whole cell, which are cells of their own.
    """

    def means(part: NDArray[np.uint8]) -> NDArray[np.float64]:
        found = part.astype(np.float64)
        for axis in (1, 2):
            edges = np.unique([0, *range(start, found.shape[axis], cell)])
            sizes = np.diff([*edges, found.shape[axis]])
            sums = np.add.reduceat(found, edges, axis=axis)
            found = np.repeat(
                sums / sizes.reshape([-1 if other == axis else 1 for other in range(4)]), sizes, axis=axis
            )
        return found

    return _in_blocks(pixels, means)


def _in_blocks(
    pixels: NDArray[np.uint8], change: Callable[[NDArray[np.uint8]], NDArray[np.floating]]
) -> NDArray[np.uint8]:
    found = np.empty_like(pixels)
    step = images_per_block(pixels.shape[1:])
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        found[part] = rounded(change(pixels[part]))
    return found
