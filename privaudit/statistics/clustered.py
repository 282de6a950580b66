"""Figures of things that come in clusters, such as the images of one victim: 95 % intervals over clusters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.utility.record import Measured

_UPPER = 0.975
_DRAWS = 2000


def _check(values: NDArray[np.generic], cluster: NDArray[np.int64]) -> None:
    if values.ndim != 1 or values.shape != cluster.shape or not len(values):
        raise InputError(f"A figure needs values, each with its cluster; found {values.shape} and {cluster.shape}.")


def clustered_share(found: NDArray[np.bool_], cluster: NDArray[np.int64], what: str) -> Measured:
    """Share of True, with Clopper-Pearson bounds at the effective sample size of Korn and Graubard 1998 (Survey
    Methodology 24, 193-201): the size divided by the design effect, corrected for the degrees of freedom of few
    clusters, never above the size itself. Where all are alike, each cluster counts once.

    what: what the clusters are, in the plural. With a single cluster its values are taken as independent.
    """
    from scipy import stats

    _check(found, cluster)
    count, share = len(found), float(found.mean())
    _, place, sizes = np.unique(cluster, return_inverse=True, return_counts=True)
    effective, method = float(count), f"Clopper-Pearson within {len(sizes)} of the {what}, images as independent"
    if len(sizes) > 1:
        if 0 < share < 1:
            deviations = np.bincount(place, weights=found - share)
            variance = float(np.square(deviations).sum()) * len(sizes) / (len(sizes) - 1) / count**2
            effective = share * (1 - share) / variance if variance else count
            few = stats.t.ppf(_UPPER, count - 1) / stats.t.ppf(_UPPER, len(sizes) - 1)
            effective = min(float(count), effective * float(few) ** 2)
        else:
            effective = float(len(sizes))
        method = f"Clopper-Pearson at the effective size {effective:.1f} over {len(sizes)} {what} (Korn-Graubard)"
    successes = share * effective
    low = stats.beta.ppf(1 - _UPPER, successes, effective - successes + 1) if share > 0 else 0.0
    high = stats.beta.ppf(_UPPER, successes + 1, effective - successes) if share < 1 else 1.0
    return Measured(estimate=share, low=float(low), high=float(high), n=count, method=method)


def clustered_median(
    values: NDArray[np.float64], cluster: NDArray[np.int64], what: str, rng: np.random.Generator
) -> Measured:
    """Median of all values; bootstrap over clusters (over values where there is one cluster), percentiles."""
    _check(values, cluster)
    names, place = np.unique(cluster, return_inverse=True)
    units, unit_of = (len(names), place) if len(names) > 1 else (len(values), np.arange(len(values)))
    order = np.argsort(values, kind="stable")
    medians = np.empty(_DRAWS)
    for draw in range(_DRAWS):
        weight = np.bincount(rng.integers(0, units, units), minlength=units)[unit_of[order]]
        reached = np.cumsum(weight)
        medians[draw] = values[order[np.searchsorted(reached, reached[-1] / 2)]]
    low, high = np.quantile(medians, [1 - _UPPER, _UPPER])
    over = f"{units} {what}" if len(names) > 1 else f"{units} images of one of the {what}"
    centre = float(np.median(values))
    return Measured(
        estimate=centre,
        low=min(centre, float(low)),
        high=max(centre, float(high)),
        n=len(values),
        method=f"median; percentile bootstrap over {over}, {_DRAWS:,} draws",
    )
