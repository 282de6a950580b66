"""Scores per arm as plots need them: curves and histograms, no identities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.arms import ALL_ARMS
from privaudit.statistics.units import ranked_last

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArmScores:
    """Unit scores of one attack on one release, by arm; higher = surer, NaN = no opinion.

    members, controls: one float64 array per arm, in any order; an arm that is absent is not drawn.
    """

    members: Mapping[str, Vector]
    controls: Mapping[str, Vector]

    def arms(self) -> tuple[str, ...]:
        """The arms that can be drawn: both sides have scores."""
        return tuple(
            arm
            for arm in ALL_ARMS
            if arm in self.members and arm in self.controls and len(self.members[arm]) and len(self.controls[arm])
        )


@dataclass(frozen=True, eq=False)
class Curve:
    """Right accusations (tpr) against false ones (fpr), both rising, from (0, .) to (1, 1)."""

    fpr: Vector
    tpr: Vector
    n_controls: int

    def at(self, fpr: float) -> float:
        """Largest share of members found with at most this share of controls."""
        return float(self.tpr[np.searchsorted(self.fpr, fpr, side="right") - 1])


def share_found(line: Curve, members: Vector, controls: Vector, fpr: float) -> tuple[float, float, float] | None:
    """Share of members found at this share of controls, and its interval; None: too few controls for one.

    line: the curve of these scores.
    """
    from privaudit.statistics.exposure import tpr_bounds

    bounds = tpr_bounds(ranked_last(members), ranked_last(controls), fpr)
    if bounds is None:
        return None
    found = line.at(fpr)
    return found, min(found, bounds[0]), max(found, bounds[1])


def curve(members: Vector, controls: Vector) -> Curve:
    """The exact ROC curve; images without an opinion come last as one tie."""
    ranked_members, ranked_controls = ranked_last(members), ranked_last(controls)
    thresholds = np.unique(np.concatenate([ranked_members, ranked_controls]))[::-1]
    fpr = _share_at_or_above(ranked_controls, thresholds)
    tpr = _share_at_or_above(ranked_members, thresholds)
    last_of_fpr = np.append(np.diff(fpr) > 0, True)
    start = np.zeros(1) if fpr[last_of_fpr][0] > 0 else np.empty(0)
    return Curve(
        np.concatenate([start, fpr[last_of_fpr]]),
        np.concatenate([start, tpr[last_of_fpr]]),
        len(controls),
    )


def thinned(line: Curve, points: int = 160) -> Curve:
    """At most about so many points, evenly spread on the logarithm of fpr: enough for a picture."""
    positive = line.fpr[line.fpr > 0]
    grid = np.geomspace(positive[0], 1.0, points)
    rows = np.unique(np.concatenate([[0], np.searchsorted(line.fpr, grid, side="right") - 1]))
    return Curve(line.fpr[rows], line.tpr[rows], line.n_controls)


@dataclass(frozen=True, eq=False)
class Law:
    """Histogram of two groups on shared bins, each as shares of its whole group. silent: share without an opinion."""

    edges: Vector
    members: Vector
    controls: Vector
    n_members: int
    n_controls: int
    silent_members: float
    silent_controls: float


def law(members: Vector, controls: Vector, bins: int = 40) -> Law | None:
    """The score laws of members and controls; None where no image has a finite score."""
    finite_members, finite_controls = members[np.isfinite(members)], controls[np.isfinite(controls)]
    pooled = np.concatenate([finite_members, finite_controls])
    if not len(pooled):
        return None
    low, high = float(pooled.min()), float(pooled.max())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    return Law(
        edges,
        np.histogram(finite_members, edges)[0] / max(len(members), 1),
        np.histogram(finite_controls, edges)[0] / max(len(controls), 1),
        len(members),
        len(controls),
        1 - len(finite_members) / max(len(members), 1),
        1 - len(finite_controls) / max(len(controls), 1),
    )


def _share_at_or_above(scores: Vector, thresholds: Vector) -> Vector:
    below = np.searchsorted(np.sort(scores), thresholds, side="left")
    return (len(scores) - below) / len(scores)
