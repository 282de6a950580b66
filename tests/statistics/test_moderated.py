"""Moderated variances: known answers, limits, and how often intervals miss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from privaudit.statistics.detection import holm
from privaudit.statistics.moderated import differences, level, noise_band, prior_of, rank_ranges, shown_lower


def test_one_row_is_the_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0.3, 1, (1, 6))
    found = differences(values)
    expected = stats.ttest_1samp(values[0], 0, alternative="greater")
    assert found.p_above[0] == pytest.approx(expected.pvalue)
    low, high = stats.ttest_1samp(values[0], 0).confidence_interval(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx((low, high))


def test_p_values_of_the_two_directions_sum_to_one() -> None:
    found = differences(np.random.default_rng(1).normal(size=(7, 4)))
    assert found.p_above + found.p_below == pytest.approx(np.ones(7))


def test_equal_variances_are_shared_by_all() -> None:
    """Rows that differ by a shift have one variance: as many degrees of freedom as there are deviations."""
    row = np.array([-1.0, 0.0, 1.0])
    found = differences(np.stack([row, row + 1, row + 5]))
    # the moments of the logarithm estimate the common variance: 1 over exp(digamma(1)) for two degrees of freedom
    error = np.sqrt(max(1.0, float(np.exp(-special.digamma(1)))) / 3)
    assert found.high - found.low == pytest.approx(np.full(3, 2 * stats.t.ppf(0.975, 6) * error))


def test_the_prior_is_found_again() -> None:
    """Variances drawn around a common one, by their own law: value and weight come back."""
    rng = np.random.default_rng(2)
    true = 3.0 * 8 / rng.chisquare(8, 4000)
    sample = true * rng.chisquare(2, 4000) / 2
    prior = prior_of(sample, 2)
    assert prior.variance == pytest.approx(3.0, rel=0.1)
    assert prior.freedom == pytest.approx(8, rel=0.25)


def test_a_figure_that_does_not_move_proves_no_certainty() -> None:
    """The same step in every repeat, as small as a share of 100 can take: nothing is shown."""
    values = np.array([[0.01, 0.01, 0.01], [0.0, 0.01, 0.0]])
    assert differences(values, resolution=0.01).p_above[0] > 0.01
    assert differences(values).p_above[0] < differences(values, resolution=0.01).p_above[0]


@given(st.integers(2, 12), st.integers(2, 6), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_more_is_never_claimed_than_the_row_alone_allows(rows: int, count: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(rows, count))
    found = differences(values)
    own = values.std(axis=1, ddof=1) / np.sqrt(count)
    assert (found.high - found.low >= 2 * 1.959 * own * 0.999).all()
    assert ((found.low <= found.mean) & (found.mean <= found.high)).all()


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="two repeats"):
        differences(np.zeros((3, 1)))
    with pytest.raises(ValueError, match="numbers"):
        differences(np.array([[0.1, np.nan]]))


def test_levels_have_plain_intervals() -> None:
    values = np.array([0.2, 0.3, 0.7])
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert level(values) == pytest.approx((0.4, low, high))
    assert level(np.zeros(3), 0.01)[2] == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3))


def test_noise_band_by_hand() -> None:
    assert noise_band(np.array([0.3, -0.3, 0.3]), 3) == pytest.approx(3.18245 * 0.3 / np.sqrt(3), rel=1e-4)
    assert noise_band(np.zeros(4), 4) == 0


def test_ranks_by_hand() -> None:
    rng = np.random.default_rng(3)
    values = np.array([0.0, 0.0, 100.0])[:, None] + rng.normal(size=(3, 5))
    assert rank_ranges(shown_lower(values)).tolist() == [[1, 2], [1, 2], [3, 3]]
    assert rank_ranges(np.zeros((1, 1), dtype=bool)).tolist() == [[1, 1]]
    assert rank_ranges(shown_lower(rng.normal(size=(4, 3)))).tolist() == [[1, 4]] * 4


@pytest.mark.parametrize("trials", [200, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_nothing_is_shown_where_nothing_differs(spread: float, trials: int) -> None:
    """Twelve settings and a baseline, three seeds: any alarm after Holm, and intervals that miss."""
    rng = np.random.default_rng(4)
    alarms, missed = 0, 0.0
    for _ in range(trials):
        scale = np.exp(rng.normal(0, spread, (13, 1)))
        values = rng.normal(size=(13, 3)) * scale + 3 * rng.normal(size=3)
        found = differences(values[1:] - values[:1])
        alarms += min(holm(found.p_above.tolist())) <= 0.05
        missed += float(np.mean((found.low > 0) | (found.high < 0)))
    allowed = int(stats.binom.ppf(0.999, trials, 0.065))
    assert alarms <= allowed
    assert missed / trials <= 0.075
