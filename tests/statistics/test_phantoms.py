"""True matches against phantom ones: counts small enough for a sheet of paper, and the one-run bound as a neighbour."""

from __future__ import annotations

from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.errors import InputError
from privaudit.statistics.epsilon import one_run_epsilon, one_run_p_value
from privaudit.statistics.phantoms import claim_p, largest_true_rate, matched_epsilon, zero_learning_p


def test_three_of_three_matches_among_five_of_ten() -> None:
    """All three used: C(5, 3) of C(10, 3) ways, 10 of 120."""
    assert zero_learning_p(3, 3, 5, 5) == pytest.approx(10 / 120)
    assert zero_learning_p(3, 2, 5, 5) == pytest.approx((10 + 10 * 5) / 120)
    assert zero_learning_p(3, 0, 5, 5) == 1.0


def test_the_published_share_of_phantoms() -> None:
    """763 matches, 271 of them phantoms, half of the records used: no chance."""
    assert zero_learning_p(763, 763 - 271, 50_000, 50_000) < 1e-14
    assert zero_learning_p(763, 381, 50_000, 50_000) > 0.4


@given(st.integers(0, 12), st.integers(0, 12), st.data())
def test_it_is_the_share_of_draws(used: int, unused: int, data: st.DataObject) -> None:
    matched = data.draw(st.integers(0, used + unused))
    true = data.draw(st.integers(max(0, matched - unused), min(matched, used)))
    ways = sum(comb(used, k) * comb(unused, matched - k) for k in range(true, min(matched, used) + 1))
    assert zero_learning_p(matched, true, used, unused) == pytest.approx(ways / comb(used + unused, matched))


def test_a_claim_raises_the_odds_by_at_most_e_to_the_epsilon() -> None:
    assert largest_true_rate(0.0, 0.3) == pytest.approx(0.3)
    assert largest_true_rate(log(3), 0.5) == pytest.approx(0.75)
    assert largest_true_rate(log(3), 0.25) == pytest.approx(0.5)
    assert claim_p(2, 2, 0.5, log(3)) == pytest.approx(0.5625)
    assert claim_p(2, 1, 0.25, log(3)) == pytest.approx(0.75)


@pytest.mark.parametrize(("matched", "true"), [(20, 20), (100, 95), (64, 60), (100, 50), (10, 0)])
def test_at_even_odds_it_is_the_one_run_bound(matched: int, true: int) -> None:
    assert matched_epsilon(matched, true, 0.5) == pytest.approx(one_run_epsilon(1000, matched, true, 0.0), abs=1e-5)
    assert claim_p(matched, true, 0.5, 1.2) == pytest.approx(one_run_p_value(1000, matched, true, 1.2, 0.0))


@given(st.integers(1, 200), st.floats(0.05, 0.95), st.data())
def test_the_bound_is_where_the_claim_stops_being_refuted(matched: int, prior: float, data: st.DataObject) -> None:
    true = data.draw(st.integers(0, matched))
    bound = matched_epsilon(matched, true, prior)
    assert bound >= 0
    if bound > 0:
        assert claim_p(matched, true, prior, bound) == pytest.approx(0.05, rel=1e-6)
    assert claim_p(matched, true, prior, bound + 0.01) > 0.05 or true == 0


def test_a_release_that_knows_nothing_is_refuted_in_at_most_five_percent() -> None:
    rng = np.random.default_rng(0)
    true = rng.hypergeometric(300, 600, 60, 4000)
    refuted = np.mean([zero_learning_p(60, int(count), 300, 600) <= 0.05 for count in true])
    assert refuted <= 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5
    assert refuted > 0.01


def test_an_honest_claim_is_refuted_in_at_most_five_percent() -> None:
    """Each matched record was used with the largest probability that epsilon 1 allows."""
    rng = np.random.default_rng(1)
    rate = 0.25 * exp(1) / (0.25 * exp(1) + 0.75)
    bounds = [matched_epsilon(60, int(count), 0.25) for count in rng.binomial(60, rate, 4000)]
    assert np.mean(np.array(bounds) > 1.0) <= 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5


@pytest.mark.parametrize(
    ("matched", "true", "used", "unused"), [(3, 4, 5, 5), (11, 5, 5, 5), (8, 2, 5, 5), (-1, 0, 5, 5)]
)
def test_counts_that_cannot_be(matched: int, true: int, used: int, unused: int) -> None:
    with pytest.raises(InputError, match="cannot be"):
        zero_learning_p(matched, true, used, unused)


def test_a_prior_that_is_none() -> None:
    for prior in (0.0, 1.0, 1.5):
        with pytest.raises(InputError, match="between 0 and 1"):
            largest_true_rate(1.0, prior)
    with pytest.raises(InputError, match="cannot be"):
        matched_epsilon(3, 4, 0.5)
