"""Where the members stand among the controls: all that the tests need to know, for many draws at once.

A member is described by two counts: how many controls score strictly above it, and how many tie with it. Every test
of the audit is a function of these counts, so the same code judges one audit and the thousand draws behind a
detection limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.units import ranked_last

TOP_K = 20
FALSE_POSITIVE_RATE = 0.01
_DEEPEST_SHARE_OF_CONTROLS = 0.1


@dataclass(frozen=True, eq=False)
class Placements:
    """Per member: controls strictly above it, and controls tied with it (int64 [n_members]).

    tie_factor: variance of the rank sum relative to untied scores, in [0, 1].
    tie_skew: its skewness if members and controls are exchangeable; 0 without ties.
    """

    above: NDArray[np.int64]
    tied: NDArray[np.int64]
    n_controls: int
    tie_factor: float
    tie_skew: float = 0.0


@dataclass(frozen=True, eq=False)
class Tally:
    """Cumulative counts for D draws, down to the depth that the tests look.

    strict: int64 [D, depth + 1]; place k holds the members that beat all but k controls (ties count as lost).
    loose: the same with ties counted as won.
    auc: float64 [D]: share of member-control pairs that the member wins, ties half.
    """

    strict: NDArray[np.int64]
    loose: NDArray[np.int64]
    auc: NDArray[np.float64]
    n_members: int
    n_controls: int
    tie_factor: float
    tie_skew: float = 0.0


def depth_of(n_controls: int) -> int:
    """How many controls deep the tests look: a tenth of them, at least to the twentieth."""
    return min(n_controls, max(TOP_K, int(np.ceil(_DEEPEST_SHARE_OF_CONTROLS * n_controls)) + 1))


def _tie_moments(groups: NDArray[np.float64], n_members: int) -> tuple[float, float]:
    """Variance of the members' rank sum relative to untied scores, and its skewness, under exchangeability.

    groups: how many scores share each value, lowest value first. The sum is one of n_members mid-ranks drawn without
    replacement.
    """
    total = float(groups.sum())
    if total < 3 or not 0 < n_members < total:
        return float(len(groups) == total and total > 1), 0.0
    ranks = np.cumsum(groups) - (groups - 1) / 2 - (total + 1) / 2
    square, cube = float(np.sum(groups * ranks**2)), float(np.sum(groups * ranks**3))
    if square == 0:
        return 0.0, 0.0
    n_controls = total - n_members
    variance = n_members * n_controls / (total * (total - 1)) * square
    third = n_members * n_controls * (n_controls - n_members) / (total * (total - 1) * (total - 2)) * cube
    return square / ((total**3 - total) / 12), third / variance**1.5


def placements(members: NDArray[np.float64], controls: NDArray[np.float64]) -> Placements:
    """Place each member's score among the controls' scores; NaN ranks last."""
    members, controls = ranked_last(members), np.sort(ranked_last(controls))
    at_or_below = np.searchsorted(controls, members, side="right")
    below = np.searchsorted(controls, members, side="left")
    pooled = np.concatenate([members, controls])
    groups = np.unique(pooled, return_counts=True)[1].astype(np.float64)
    return Placements(
        (len(controls) - at_or_below).astype(np.int64),
        (at_or_below - below).astype(np.int64),
        len(controls),
        *_tie_moments(groups, len(members)),
    )


def histogram(values: NDArray[np.int64], depth: int) -> NDArray[np.int64]:
    """Counts of 0..depth in each row of values [D, n]; larger values are not counted. Returns int64 [D, depth + 1]."""
    draws = values.shape[0]
    clipped = np.minimum(values, depth + 1) + (np.arange(draws) * (depth + 2))[:, None]
    counts = np.bincount(clipped.ravel(), minlength=draws * (depth + 2)).reshape(draws, depth + 2)
    return counts[:, : depth + 1].astype(np.int64)


def tally(placed: Placements) -> Tally:
    """The tally of one ranking (D = 1)."""
    depth = depth_of(placed.n_controls)
    lost = placed.above + placed.tied
    n_members = len(placed.above)
    pairs = n_members * placed.n_controls
    wins = 1.0 - float(np.sum(placed.above + placed.tied / 2)) / pairs if pairs else 0.5
    return Tally(
        histogram(lost[None], depth).cumsum(axis=1),
        histogram(placed.above[None], depth).cumsum(axis=1),
        np.array([wins]),
        n_members,
        placed.n_controls,
        placed.tie_factor,
        placed.tie_skew,
    )


def win_shares(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each value the share of the others that it beats, ties half; float64 in [0, 1]. Their mean is the AUC."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    return np.asarray((below + np.searchsorted(ordered, values, side="right")) / (2.0 * len(others)))
