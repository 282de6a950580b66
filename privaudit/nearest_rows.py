"""The nearest of many descriptors to each of others: exact, in blocks, whatever their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROWS, _OTHERS = 512, 2**16

Between = Callable[["Tensor", "Tensor"], "Tensor"]
"""Rows [n, d] and others [m, d] to what lies between them, [n, m]; smaller is nearer."""


def unlikeness(rows: Tensor, others: Tensor) -> Tensor:
    """Minus the cosine similarity of rows of length 1."""
    return -(rows @ others.T)


def nearest_rows(rows: Tensor, others: Tensor, count: int, between: Between) -> tuple[Tensor, Tensor]:
    """The `count` others that are nearest to each row, nearest first: values and places among the others, [n, count].

    Every pair is looked at. Memory: one block of 512 x 65,536, beside the two inputs and the result.
    """
    import torch

    values, places = [], []
    for block in torch.split(rows, _ROWS):
        best = block.new_empty(len(block), 0)
        place = torch.empty(len(block), 0, dtype=torch.int64, device=block.device)
        for first in range(0, len(others), _OTHERS):
            near = between(block, others[first : first + _OTHERS]).topk(
                min(count, len(others) - first, _OTHERS), 1, largest=False
            )
            best, place = torch.cat([best, near.values], 1), torch.cat([place, near.indices + first], 1)
            kept = best.topk(min(count, best.shape[1]), 1, largest=False)
            best, place = kept.values, place.gather(1, kept.indices)
        values.append(best)
        places.append(place)
    return torch.cat(values), torch.cat(places)
