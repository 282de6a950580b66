"""Random splits by unit: a person, or images linked as near-duplicates, goes to one part as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.duplicates import joined_units, linked_unmirrored
from privaudit.errors import InputError
from privaudit.images import Dataset


def split_rows(units: NDArray[np.int64], counts: Sequence[int], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Deal whole units, in random order, into parts of these numbers of images; what is over is left out.

    A part ends with the unit that fills it, so that a part may hold a few images more than asked for.
    """
    if sum(counts) > len(units):
        raise InputError(f"A split into {list(counts)} needs {sum(counts)} images; found {len(units)}.")
    size = np.bincount(units)
    order = rng.permutation(len(size))
    ends = np.cumsum(size[order])
    part_of = np.full(len(size), len(counts))
    filled = 0
    for part, count in enumerate(counts):
        if count == 0:
            continue
        last = int(np.searchsorted(ends, min(filled + count, ends[-1])))
        start = int(np.searchsorted(ends, filled, side="right")) if filled else 0
        part_of[order[start : last + 1]] = part
        filled = int(ends[last])
    return [np.flatnonzero(part_of[units] == part) for part in range(len(counts))]


def random_split(data: Dataset, counts: Sequence[int], rng: np.random.Generator) -> list[Dataset]:
    """Split a dataset at random by unit; near-duplicates are found on the pooled data and stay together.

    Mirrored ones may part: they join digits to large clusters, which as a whole lie on one side.
    """
    units = joined_units(data.units, linked_unmirrored(data.images))
    return [data.take(rows) for rows in split_rows(units, counts, rng)]


def share_out(data: Dataset, shares: Sequence[float], rng: np.random.Generator) -> list[Dataset]:
    """Split a dataset at random by unit into these shares of it."""
    counts = [int(share * len(data) + 1e-9) for share in shares]
    return random_split(data, counts, rng)
