"""How close recovered images come to suspects: the core's score for attacks that reconstruct."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images

_ROWS = 1024
_SMALLEST = 1e-3


def nearest_distance(queries: Images, others: Images) -> NDArray[np.float64]:
    """Root-mean-square pixel distance in [0, 1] of each query to its nearest other image; exact, memory bounded."""
    import torch

    best = torch.full((len(queries),), float("inf"))
    for column in others.batches(4 * _ROWS):
        flat = column.flatten(1)
        for start, row in zip(range(0, len(queries), _ROWS), queries.batches(_ROWS), strict=True):
            distance = torch.cdist(row.flatten(1), flat).amin(1) / flat.shape[1] ** 0.5
            best[start : start + len(row)] = torch.minimum(best[start : start + len(row)], distance)
    return best.double().numpy()


def closeness(suspects: Images, recovered: Images, reference: Images | None) -> NDArray[np.float64]:
    """log(distance to the nearest reference image / distance to the nearest recovered image) of each suspect.

    The reference takes out that plain images are close to everything. Without one: minus the log distance.
    """
    score = -np.log(np.maximum(nearest_distance(suspects, recovered), _SMALLEST))
    if reference is not None and len(reference):
        score += np.log(np.maximum(nearest_distance(suspects, reference), _SMALLEST))
    return score
