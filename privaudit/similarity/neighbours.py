"""The nearest member of each image: exact, memory bounded, also from a memory map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.images import Images

if TYPE_CHECKING:
    import torch

_QUERY_BYTES, _QUERY_ROWS = 2**27, 2048
_MEMBER_BYTES, _MEMBER_ROWS = 2**25, 4096


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
    """The L2-nearest member of each of these rows, in pixel space; among equally near members the first.

    Exact: squared distances of uint8 pixels are whole numbers far below 2^53, so float64 products do not round.
    Raises InputError where sizes differ or there are no members.
    """
    import torch

    if images.size != members.size or not len(members):
        raise InputError(
            f"Neighbours need members of the images' size; found {len(members)} of {members.size} for {images.size}."
        )
    values = int(np.prod(images.size))
    nearest = np.zeros(len(rows), dtype=np.int64)
    squared = np.full(len(rows), np.inf)
    query_rows = max(1, min(_QUERY_ROWS, _QUERY_BYTES // (8 * values)))
    member_rows = max(1, min(_MEMBER_ROWS, _MEMBER_BYTES // (8 * values)))
    for start in range(0, len(rows), query_rows):
        here = slice(start, start + query_rows)
        queries = _whole_numbers(images.pixels[rows[here]])
        own = queries.square().sum(1, keepdim=True)
        for first in range(0, len(members), member_rows):
            block = _whole_numbers(members.pixels[first : first + member_rows])
            distances = torch.addmm(block.square().sum(1), queries, block.T, alpha=-2).add_(own)
            place = distances.argmin(1, keepdim=True)
            found = distances.gather(1, place)[:, 0].numpy()
            better = found < squared[here]
            squared[here] = np.where(better, found, squared[here])
            nearest[here] = np.where(better, place[:, 0].numpy() + first, nearest[here])
    return Pairs(rows, nearest, np.sqrt(squared / values) / 255)


def _whole_numbers(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """One row of whole numbers per image, float64."""
    import torch

    return torch.from_numpy(np.array(pixels)).flatten(1).double()
