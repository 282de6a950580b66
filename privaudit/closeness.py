"""How close recovered images come to suspects: the core's score for attacks that reconstruct."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images
from privaudit.pixel_distances import nearest

VERSION = 2
"""Rises when scores change."""

_SMALLEST = 1e-3


def nearest_distance(queries: Images, others: Images) -> NDArray[np.float64]:
    """Root-mean-square pixel distance in [0, 1] of each query to its nearest other image; exact, memory bounded."""
    squared = nearest(queries.pixels, others.pixels).squared
    return np.asarray(np.sqrt(squared / np.prod(queries.size)) / 255)


def closeness(suspects: Images, recovered: Images, reference: Images | None) -> NDArray[np.float64]:
    """log(distance to the nearest reference image / distance to the nearest recovered image) of each suspect.

    The reference takes out that plain images are close to everything. Without one: minus the log distance.
    """
    score = -np.log(np.maximum(nearest_distance(suspects, recovered), _SMALLEST))
    if reference is not None and len(reference):
        score += np.log(np.maximum(nearest_distance(suspects, reference), _SMALLEST))
    return score
