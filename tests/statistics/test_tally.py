"""Counts of controls above and tied, and the moments of ties."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from score_pack import PACK
from sklearn.metrics import roc_auc_score

from privaudit.statistics.exposure import lower_threshold_rank, upper_threshold_rank
from privaudit.statistics.tally import depth_of, histogram, placements, tally

LEVELS = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


def test_three_members_by_hand() -> None:
    placed = placements(np.array([3.0, 1.0, 1.0]), np.array([1.0, 2.0, 0.0]))
    assert placed.above.tolist() == [0, 1, 1]
    assert placed.tied.tolist() == [0, 1, 1]
    counts = tally(placed)
    assert counts.strict.tolist() == [[1, 1, 3, 3]]
    assert counts.loose.tolist() == [[1, 3, 3, 3]]
    assert counts.auc.tolist() == [pytest.approx((3 + 1.5 + 1.5) / 9)]


def test_no_opinion_and_infinities() -> None:
    placed = placements(np.array([np.nan, -np.inf, np.inf]), np.array([np.nan, 0.0, np.inf]))
    assert placed.above.tolist() == [2, 2, 0]
    assert placed.tied.tolist() == [1, 1, 1]


def test_empty_pools() -> None:
    nobody = np.empty(0)
    assert tally(placements(nobody, np.arange(30.0))).strict.sum() == 0
    alone = tally(placements(np.arange(5.0), nobody))
    assert alone.strict.tolist() == [[5]]
    assert alone.auc.tolist() == [0.5]


@pytest.mark.parametrize(("controls", "depth"), [(0, 0), (1, 1), (19, 19), (20, 20), (199, 21), (1000, 101)])
def test_depth(controls: int, depth: int) -> None:
    assert depth_of(controls) == depth


def test_thresholds_and_lists_fit_the_depth() -> None:
    for n_controls in (*range(1, 400), 1000, 2999, 14_000):
        places = depth_of(n_controls) + 1
        rank = upper_threshold_rank(n_controls)
        assert rank is not None
        assert (lower_threshold_rank(n_controls) or 0) <= rank <= places
        # A list at q <= .1 never goes deeper than q x controls.
        assert places > 0.1 * n_controls


@pytest.mark.parametrize("name", PACK)
def test_auc_equals_scikit_learn(name: str) -> None:
    members, controls = PACK[name]
    truth = np.repeat([1, 0], [len(members), len(controls)])
    expected = roc_auc_score(truth, np.concatenate([members, controls]))
    assert tally(placements(members, controls)).auc[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "n_members"), [([0, 0, 0, 0, 1, 1], 2), ([0, 0, 0, 1, 2, 3, 3], 5), ([1, 2, 3, 4, 5], 2), ([1, 1, 1], 1)]
)
def test_tie_moments_equal_enumeration(values: list[int], n_members: int) -> None:
    ranks = stats.rankdata(values)
    sums = np.array([sum(chosen) for chosen in combinations(ranks, n_members)])
    total = len(values)
    untied = n_members * (total - n_members) * (total + 1) / 12
    placed = placements(np.array(values[:n_members], dtype=float), np.array(values[n_members:], dtype=float))
    assert placed.tie_factor == pytest.approx(sums.var() / untied)
    skew = 0.0 if sums.std() == 0 else float(np.mean((sums - sums.mean()) ** 3) / sums.std() ** 3)
    assert placed.tie_skew == pytest.approx(skew, abs=1e-12)


def test_histogram_of_rows_equals_histogram_of_each() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 50, (40, 17))
    together = histogram(values, 12)
    for row, counts in zip(values, together, strict=True):
        assert counts.tolist() == [int((row == v).sum()) for v in range(13)]


def test_largest_pools_do_not_overflow() -> None:
    rng = np.random.default_rng(1)
    members, controls = rng.standard_normal(30_000), rng.standard_normal(14_000)
    counts = tally(placements(members - 50, controls))
    assert counts.auc[0] == 0.0
    assert tally(placements(members + 50, controls)).auc[0] == 1.0
    assert tally(placements(members, controls)).tie_factor == pytest.approx(1.0)


@given(LEVELS, LEVELS)
def test_order_of_scores_does_not_matter(members: list[float], controls: list[float]) -> None:
    before = tally(placements(np.array(members), np.array(controls)))
    after = tally(placements(np.array(members[::-1]), np.array(sorted(controls))))
    assert before.strict.tolist() == after.strict.tolist()
    assert before.loose.tolist() == after.loose.tolist()
    assert before.auc[0] == pytest.approx(after.auc[0], abs=1e-12)


@given(LEVELS, LEVELS)
def test_increasing_transforms_change_nothing(members: list[float], controls: list[float]) -> None:
    before = placements(np.array(members), np.array(controls))
    after = placements(np.exp(np.array(members)) - 7, np.exp(np.array(controls)) - 7)
    assert before.above.tolist() == after.above.tolist()
    assert before.tied.tolist() == after.tied.tolist()
    assert (before.tie_factor, before.tie_skew) == (after.tie_factor, after.tie_skew)


@given(LEVELS, LEVELS)
def test_reversing_the_scores_reverses_the_auc(members: list[float], controls: list[float]) -> None:
    forward = tally(placements(np.array(members), np.array(controls)))
    backward = tally(placements(-np.array(members), -np.array(controls)))
    assert forward.auc[0] + backward.auc[0] == pytest.approx(1.0)
    assert forward.tie_factor == pytest.approx(backward.tie_factor)
    assert forward.tie_skew == pytest.approx(-backward.tie_skew, abs=1e-9)


@given(LEVELS, LEVELS)
def test_coarser_scores_never_beat_more_controls(members: list[float], controls: list[float]) -> None:
    fine = tally(placements(np.array(members), np.array(controls)))
    coarse = tally(placements(np.floor(np.array(members) / 2), np.floor(np.array(controls) / 2)))
    assert (coarse.strict <= fine.strict).all()
    assert (coarse.loose >= fine.loose).all()
    assert (fine.strict <= fine.loose).all()
