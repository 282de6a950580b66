"""Is the ranking better than chance? Three exact or nearly exact tests, combined; Holm over the declared family.

The null hypothesis: members and controls are exchangeable, so that every order of their scores is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from privaudit.statistics.tally import TOP_K, Tally

TESTS_COMBINED = 3


@dataclass(frozen=True, eq=False)
class Detection:
    """Outcome of the three tests for each of D draws.

    r0: members above every control; r0_p: exact probability of at least as many.
    top20: members among the 20 highest scores, tied controls counted first (None with fewer than 20 scored).
    auc_p: one-sided. p: min(1, 3 x the smallest), not corrected for other attacks.
    """

    r0: NDArray[np.int64]
    r0_p: NDArray[np.float64]
    top20: NDArray[np.int64] | None
    top20_p: NDArray[np.float64]
    auc_p: NDArray[np.float64]
    p: NDArray[np.float64]


def r0_probability(r0: NDArray[np.int64], n_members: int, n_controls: int) -> NDArray[np.float64]:
    """Exact probability that at least `r0` members rank above every control: about (share of members)^r0."""
    total = n_members + n_controls
    log_p = (
        special.gammaln(total - r0 + 1)
        - special.gammaln(n_members - r0 + 1)
        - special.gammaln(total + 1)
        + special.gammaln(n_members + 1)
    )
    return np.asarray(np.minimum(1.0, np.exp(log_p)))


def top_hits(counts: Tally, ties_won: bool = False) -> NDArray[np.int64] | None:
    """Members among the 20 highest scores; of scores that tie, controls count first (with ties_won, members).

    None with fewer than 20 scores.
    """
    if counts.n_members + counts.n_controls < TOP_K:
        return None
    # The j-th best member that loses to v controls stands at place j + v.
    beaten = counts.loose if ties_won else counts.strict
    hits = np.zeros(len(counts.auc), dtype=np.int64)
    last = beaten.shape[1] - 1
    for j in range(1, TOP_K + 1):
        hits[beaten[:, min(TOP_K - j, last)] >= j] = j
    return hits


def auc_z(counts: Tally) -> NDArray[np.float64]:
    """Standardised AUC under the null hypothesis (Mann-Whitney with tie correction)."""
    total = counts.n_members + counts.n_controls
    variance = (total + 1) / (12.0 * max(1, counts.n_members * counts.n_controls)) * counts.tie_factor
    if variance <= 0:
        return np.zeros_like(counts.auc)
    return np.asarray((counts.auc - 0.5) / np.sqrt(variance))


def auc_tail(counts: Tally, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probability under the null hypothesis of a standardised AUC of at least z.

    Normal without ties. When most scores tie and the pools differ in size the rank sum is skewed, and the normal law
    would make one lucky member of few a detection: the Pearson type III law with the exact skewness does not.
    """
    return np.asarray(stats.pearson3.sf(z, counts.tie_skew))


def detect(counts: Tally) -> Detection:
    """The three tests on each draw."""
    r0 = counts.strict[:, 0]
    r0_p = r0_probability(r0, counts.n_members, counts.n_controls)
    hits = top_hits(counts)
    total = counts.n_members + counts.n_controls
    if hits is None:
        top20_p = np.ones(len(r0))
    else:
        top20_p = stats.hypergeom.sf(np.arange(-1, TOP_K), total, counts.n_members, TOP_K)[hits]
    auc_p = auc_tail(counts, auc_z(counts))
    p = np.minimum(1.0, TESTS_COMBINED * np.minimum(np.minimum(r0_p, top20_p), auc_p))
    return Detection(r0, r0_p, hits, top20_p, auc_p, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Holm 1979), in the order given."""
    count = len(p_values)
    adjusted = [0.0] * count
    running = 0.0
    for place, index in enumerate(sorted(range(count), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = running
    return adjusted


def two_sided(counts: Tally) -> tuple[float, float]:
    """Two-sided p values of AUC and of the top 20, for arms in which members and controls must look alike.

    Ties at the boundary of the top 20 are broken against the finding: controls first for many members, members first
    for few.
    """
    upper = float(auc_tail(counts, auc_z(counts))[0])
    auc_p = min(1.0, 2 * min(upper, 1.0 - upper))
    most, fewest = top_hits(counts, ties_won=True), top_hits(counts)
    if most is None or fewest is None:
        return auc_p, 1.0
    law = stats.hypergeom(counts.n_members + counts.n_controls, counts.n_members, TOP_K)
    tail = min(float(law.sf(fewest[0] - 1)), float(law.cdf(most[0])))
    return auc_p, min(1.0, 2 * tail)
