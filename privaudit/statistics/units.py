"""From images to units of counting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ranked_last(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores with every NaN (no opinion) below all others, as one tie."""
    return np.where(np.isnan(scores), -np.inf, scores)


def unit_scores(
    scores: NDArray[np.float64], units: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.str_], NDArray[np.int64]]:
    """Score per unit: the maximum over its images.

    Returns the scores, the names of the units (sorted), and for each the row of its best image (the first of equals).
    """
    scores = ranked_last(scores)
    if len(np.unique(units)) == len(units):
        order = np.argsort(units, kind="stable")
    else:
        order = np.lexsort((np.arange(len(units)), -scores, units))
        first = np.ones(len(order), dtype=bool)
        first[1:] = units[order][1:] != units[order][:-1]
        order = order[first]
    return scores[order], units[order], order.astype(np.int64)
