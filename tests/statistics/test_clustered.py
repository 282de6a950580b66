"""Figures over clusters: shares at the effective size, medians by bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from privaudit.errors import InputError
from privaudit.statistics.clustered import clustered_median, clustered_share


def share(found: list[int], cluster: list[int]) -> tuple[float, float, float]:
    result = clustered_share(np.array(found, dtype=bool), np.array(cluster), "victims")
    return result.estimate, result.low, result.high


def test_one_cluster_is_clopper_pearson() -> None:
    assert share([1, 1, 0, 1, 0], [7] * 5) == pytest.approx((0.6, *proportion_confint(3, 5, method="beta")))


def test_where_all_are_alike_each_cluster_counts_once() -> None:
    assert share([1] * 12, [0] * 4 + [1] * 4 + [2] * 4) == pytest.approx((1, *proportion_confint(3, 3, method="beta")))
    assert share([0] * 6, [0, 0, 1, 1, 2, 2]) == pytest.approx((0, *proportion_confint(0, 3, method="beta")))


def test_clusters_that_hold_together_widen_the_interval() -> None:
    # Whole clusters right or wrong: about as much as one image of each would tell.
    together = share([1] * 40 + [0] * 40, [number for number in range(20) for _ in range(4)])
    apart = share([1, 1, 0, 0] * 20, [number for number in range(20) for _ in range(4)])
    assert together[2] - together[1] > 1.8 * (apart[2] - apart[1])
    low, high = proportion_confint(40, 80, method="beta")
    assert low - 0.01 < apart[1] < low  # no narrower than independence, and wider for so few victims
    assert high < apart[2] < high + 0.01


def test_coverage_of_the_share() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        chance = rng.beta(2, 1, 16)  # each victim has a chance of its own; 2/3 on average
        found = rng.random((16, 4)) < chance[:, None]
        result = clustered_share(found.ravel(), np.repeat(np.arange(16), 4), "victims")
        covered += result.low <= 2 / 3 <= result.high
    assert covered >= 930


def test_coverage_of_the_median() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        values = (rng.standard_normal(25)[:, None] + rng.standard_normal((25, 4))).ravel()
        result = clustered_median(values, np.repeat(np.arange(25), 4), "victims", rng)
        covered += result.low <= 0 <= result.high
    assert covered >= 178


def test_median_by_hand() -> None:
    rng = np.random.default_rng(0)
    result = clustered_median(np.array([3.0, 1.0, 2.0]), np.zeros(3, np.int64), "victims", rng)
    assert (result.estimate, result.low, result.high, result.n) == (2, 1, 3, 3)
    constant = clustered_median(np.full(8, 5.0), np.arange(8) // 2, "victims", rng)
    assert (constant.low, constant.high) == (5, 5)


@pytest.mark.parametrize("shape", [((0,), (0,)), ((3,), (2,))])
def test_what_is_no_figure_is_refused(shape: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(InputError, match="each with its cluster"):
        clustered_share(np.zeros(shape[0], bool), np.zeros(shape[1], np.int64), "victims")
