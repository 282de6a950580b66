"""Distances between pixels: exact, in blocks, from memory maps too.

Pixels are whole numbers, so squared distances are; as 8-bit integers their products are done by the processor's own
instructions for these, several times as fast as in float32, and without rounding.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError

if TYPE_CHECKING:
    import torch

Pixels = NDArray[np.uint8]

_QUERY_ROWS, _OTHER_ROWS = 2048, 8192
_BLOCK_BYTES = 2**26
_COLUMNS = 2**16
"""Values of an image that are multiplied at a time: sums of so many products of 8-bit integers fit 32 bits."""


@dataclass(frozen=True, eq=False)
class Nearest:
    """Of each query the nearest other image, of equally near ones the first.

    rows: int64 [n], in [0, number of others). squared: int64 [n], squared distance with pixels from 0 to 255.
    """

    rows: NDArray[np.int64]
    squared: NDArray[np.int64]


def nearest(queries: Pixels, others: Pixels) -> Nearest:
    """The nearest of the others to each query, by the L2 distance of pixels; exact. Both [N, ...] of one shape.

    Memory: some blocks of at most 64 MiB, whatever the numbers of images. Time: linear in both numbers.
    Raises InputError where shapes differ or there are no others.
    """
    _check(queries, others)
    rows = np.zeros(len(queries), dtype=np.int64)
    squared = np.full(len(queries), np.iinfo(np.int64).max)
    for here, there, distances in _blocks(queries, others):
        least, place = distances.min(1)
        closer = least.numpy() < squared[here]
        squared[here] = np.where(closer, least.numpy(), squared[here])
        rows[here] = np.where(closer, place.numpy() + there.start, rows[here])
    return Nearest(rows, squared)


def squared_distances(queries: Pixels, others: Pixels) -> NDArray[np.int64]:
    """Squared distance of every query to every other image, int64 [queries, others], pixels from 0 to 255; exact.

    Raises InputError where shapes differ or there are no others.
    """
    _check(queries, others)
    found = np.empty((len(queries), len(others)), dtype=np.int64)
    for here, there, distances in _blocks(queries, others):
        found[here, there] = distances.numpy()
    return found


def _check(queries: Pixels, others: Pixels) -> None:
    if queries.shape[1:] != others.shape[1:] or not len(others):
        raise InputError(
            f"Distances need other images of one size; found {len(others)} of {others.shape[1:]} for "
            f"{queries.shape[1:]}."
        )


def _blocks(queries: Pixels, others: Pixels) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Rows of queries, rows of others, and their squared distances, integers."""
    import torch

    values = int(np.prod(queries.shape[1:]))
    query_rows = max(1, min(_QUERY_ROWS, _BLOCK_BYTES // values))
    other_rows = max(1, min(_OTHER_ROWS, _BLOCK_BYTES // values))
    for start in range(0, len(queries), query_rows):
        here = slice(start, min(start + query_rows, len(queries)))
        asked = _centred(queries[here])
        own = _squares(asked)[:, None]
        for first in range(0, len(others), other_rows):
            there = slice(first, min(first + other_rows, len(others)))
            block = _centred(others[there])
            products = _products(asked, block)
            # 32 bits hold the distances of small images; more would take twice the time.
            kind = torch.int32 if products.dtype == torch.int32 and values * 255**2 < 2**31 else torch.int64
            distances = torch.add(_squares(block).to(kind), products.to(kind), alpha=-2).add_(own.to(kind))
            yield here, there, distances


def _centred(pixels: Pixels) -> torch.Tensor:
    """Pixels from -128 to 127, int8 [N, values]: distances stay the same."""
    import torch

    shifted = (np.asarray(pixels) ^ np.uint8(128)).view(np.int8)
    return torch.from_numpy(shifted.reshape(len(pixels), -1))


@lru_cache(maxsize=1)
def _has_fast_integers() -> bool:
    """Whether PyTorch multiplies 8-bit integers by oneDNN; its loops for other processors are slower than float64."""
    import torch

    return bool(torch._C._has_mkldnn) and platform.machine().lower() in ("x86_64", "amd64")


def _squares(rows: torch.Tensor) -> torch.Tensor:
    """Squared length of each row, int64 [N]."""
    return rows.double().square().sum(1).long()


def _products(queries: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Inner products of all rows of int8 with each other, [queries, others], int32 or int64; exact."""
    import torch

    if not _has_fast_integers():
        return (queries.double() @ others.double().T).long()
    if queries.shape[1] <= _COLUMNS:
        return torch._int_mm(queries, others.T)
    found = torch.zeros(len(queries), len(others), dtype=torch.int64)
    for first in range(0, queries.shape[1], _COLUMNS):
        one, other = (rows[:, first : first + _COLUMNS].contiguous() for rows in (queries, others))
        found += torch._int_mm(one, other.T)
    return found
