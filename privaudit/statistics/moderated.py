"""Few repeats, many settings: differences paired by repeat, their variances moderated by those of the other settings.

Three repeats tell a variance badly. The variances of all settings tell how far they differ among each other; each is
moved towards what they have in common, as far as the data say (Smyth 2004, "Linear models and empirical Bayes methods
for assessing differential expression in microarray experiments", doi 10.2202/1544-6115.1027).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from privaudit.statistics.detection import holm

Floats = NDArray[np.float64]

_SMALLEST = 1e-3
"""Variances below this share of their median are raised to it: a figure that does not move proves no certainty."""


@dataclass(frozen=True)
class Prior:
    """What the variances have in common: its value, and the degrees of freedom that it is worth (may be infinite)."""

    variance: float
    freedom: float


@dataclass(frozen=True, eq=False)
class Differences:
    """Means of paired differences, [settings], with 95 % intervals and one-sided p that they are above, below zero."""

    mean: Floats
    low: Floats
    high: Floats
    p_above: Floats
    p_below: Floats


def prior_of(variances: Floats, freedom: int | NDArray[np.int64]) -> Prior:
    """The common part of sample variances of so many degrees of freedom each, by the moments of their logarithms.

    variances: [settings], above zero. freedom: one number, or one for each.
    """
    if len(variances) < 2:
        return Prior(float(variances[0]), 0.0)
    logs = np.log(variances) - special.digamma(freedom / 2) + np.log(freedom / 2)
    spread = float(np.var(logs, ddof=1) - np.mean(special.polygamma(1, freedom / 2)))
    if spread <= 0:
        return Prior(float(np.exp(logs.mean())), np.inf)
    half = _trigamma_inverse(spread)
    return Prior(float(np.exp(logs.mean() + special.digamma(half) - np.log(half))), 2 * half)


def _trigamma_inverse(value: float) -> float:
    """x > 0 with trigamma(x) = value, for values above zero."""
    low, high = 1e-8, 1e12
    if value <= float(special.polygamma(1, high)):
        return high
    return float(
        np.exp(optimize.brentq(lambda log: float(special.polygamma(1, np.exp(log))) - value, np.log(low), np.log(high)))
    )


def differences(values: Floats, resolution: float = 0.0, most: float = np.inf) -> Differences:
    """Mean of each row of paired differences, [settings, repeats], against zero; t tests with moderated variances.

    resolution: smallest step that a value can take; no standard deviation is believed below half of it.
    most: degrees of freedom that all rows together have, where they are not independent of each other.
    Raises ValueError for fewer than two repeats, and for values that are no numbers.
    """
    count = values.shape[1]
    if count < 2:
        raise ValueError("differences need at least two repeats")
    if not np.isfinite(values).all():
        raise ValueError("differences need numbers")
    mean = values.mean(axis=1)
    raw = values.var(axis=1, ddof=1)
    floor = max((resolution / 2) ** 2, _SMALLEST * float(np.median(raw)), 1e-24)
    variances = np.maximum(raw, floor)
    prior = prior_of(variances, count - 1)
    if np.isinf(prior.freedom):
        moderated, freedom = np.full(len(mean), prior.variance), np.inf
    else:
        freedom = prior.freedom + count - 1
        moderated = (prior.freedom * prior.variance + (count - 1) * variances) / freedom
    # The common variance is itself estimated: it cannot be worth more than all the repeats together.
    freedom = min(freedom, float(len(mean) * (count - 1)), most)
    error = np.sqrt(np.maximum(moderated, variances) / count)
    reach = stats.t.ppf(0.975, freedom) * error
    ratio = mean / error
    return Differences(mean, mean - reach, mean + reach, stats.t.sf(ratio, freedom), stats.t.cdf(ratio, freedom))


def level(values: Floats, least_variance: float = 0.0) -> tuple[float, float, float]:
    """Mean of one setting's values, [repeats], with a 95 % t interval: repeats share much, so none borrows from others.

    least_variance: of a single value; a figure that does not move proves no certainty.
    """
    error = float(np.sqrt(max(float(values.var(ddof=1)), least_variance) / len(values)))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return float(values.mean()), float(values.mean()) - reach, float(values.mean()) + reach


def noise_band(repeats: Floats, count: int) -> float:
    """Half-width in which the mean of `count` differences of identical settings stays in 95 % of all trials.

    repeats: such differences; their mean is zero by construction.
    """
    scale = float(np.sqrt(np.mean(repeats**2)))
    return float(stats.t.ppf(0.975, len(repeats)) * scale / np.sqrt(count))


def shown_lower(values: Floats, resolution: float = 0.0, level: float = 0.05) -> NDArray[np.bool_]:
    """Entry [a, b]: setting a is shown to have lower values than b. Every pair is tested, Holm over all of them.

    values: [settings, repeats].
    """
    count = len(values)
    lower = np.zeros((count, count), dtype=np.bool_)
    if count < 2:
        return lower
    first, second = np.triu_indices(count, 1)
    most = float((count - 1) * (values.shape[1] - 1))
    found = differences(values[second] - values[first], resolution, most)
    p_values = np.array(holm([*found.p_above.tolist(), *found.p_below.tolist()]))
    lower[first, second] = p_values[: len(first)] <= level
    lower[second, first] = p_values[len(first) :] <= level
    return lower


def rank_ranges(lower: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Best and worst rank that each setting may have, [settings, 2]; 1: the lowest value.

    lower: what `shown_lower` gives. With probability 1 - level all ranges hold together (the construction of Mogstad,
    Romano, Shaikh, Wilhelm 2024, doi 10.1093/restud/rdad006).
    """
    return np.stack([1 + lower.sum(axis=0), len(lower) - lower.sum(axis=1)], axis=1).astype(np.int64)
