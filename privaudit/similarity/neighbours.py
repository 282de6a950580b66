"""The nearest member of each image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.pixel_distances import nearest


@dataclass(frozen=True, eq=False)
class Pairs:
    """Images and their nearest members.

    rows: int64 [n], rows of the images, rising. nearest: int64 [n], rows of their members.
    distance: float64 [n], root-mean-square pixel distance, pixels in [0, 1].
    """

    rows: NDArray[np.int64]
    nearest: NDArray[np.int64]
    distance: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def nearest_members(images: Images, rows: NDArray[np.int64], members: Images) -> Pairs:
    """The L2-nearest member of each of these rows, in pixel space; among equally near members the first. Exact.

    Raises InputError where sizes differ or there are no members.
    """
    if images.size != members.size or not len(members):
        raise InputError(
            f"Neighbours need members of the images' size; found {len(members)} of {members.size} for {images.size}."
        )
    found = nearest(images.pixels[rows], members.pixels)
    return Pairs(rows, found.rows, np.sqrt(found.squared / np.prod(images.size)) / 255)
