"""Bounds on epsilon from guesses that are fixed beforehand, and what they say of a claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from canary_examples import DELTA, KIND_NAMES, MEMBERS, OFTEN, RARE, by_hand
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from privaudit.canaries import KINDS, draw
from privaudit.canary_bounds import (
    ALL_KINDS,
    against_claim,
    bounds,
    corrected_level,
    epsilon,
    groups,
    guessed,
    guesses_a_side,
    headline,
    reach,
)
from privaudit.release import PrivacyClaim
from privaudit.statistics.epsilon import one_run_epsilon

EVERY_KIND = list(KIND_NAMES) * 20


def test_guesses_by_hand() -> None:
    """Eight canaries of one kind: the two highest are said to be in, the two lowest out; no opinion ranks last."""
    drawn = by_hand([True, False] * 4, list(range(8)))
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, np.nan])
    assert guessed(scores, drawn).tolist() == [1, 1, 0, 0, 0, 0, -1, -1]
    (row,) = bounds({"a": scores}, drawn, ["plain"], 0.0, 1)
    assert (row.kind, row.canaries, row.inside, row.guesses, row.correct) == ("plain", 8, 4, 4, 2)
    assert row.auc is not None
    assert row.auc.estimate == 10 / 16  # 4 + 3 + 2 + 1 pairs won
    assert row.alone.if_gaussian is None


def test_kinds_are_not_compared_with_each_other() -> None:
    """Scores of one kind lie far above those of the other; each has its own guesses, and no AUC joins them."""
    drawn = by_hand([True, False] * 4, list(range(8)), ["plain"] * 4 + ["mislabelled"] * 4)
    scores = np.array([103.0, 102, 101, 100, 3, 2, 1, 0])
    assert guessed(scores, drawn).tolist() == [1, 0, 0, -1, 1, 0, 0, -1]
    rows = {row.kind: row for row in bounds({"a": scores}, drawn, ["mislabelled", "plain"], DELTA, 3)}
    assert list(rows) == [ALL_KINDS, "mislabelled", "plain"]
    assert rows[ALL_KINDS].auc is None
    assert rows["plain"].auc is not None
    assert [rows[kind].guesses for kind in rows] == [4, 2, 2]
    assert rows[ALL_KINDS].correct == rows["plain"].correct + rows["mislabelled"].correct == 4


def test_one_kind_is_one_row() -> None:
    assert groups(["plain"]) == ("plain",)
    assert groups(KIND_NAMES) == (ALL_KINDS, *KIND_NAMES)


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 5))
def test_how_many_guesses_depends_on_no_score_and_no_coin(seed: int, levels: int) -> None:
    drawn, rng = draw(MEMBERS, KIND_NAMES, 0, 50), np.random.default_rng(seed)
    scores = rng.integers(0, levels, 50).astype(float)
    found = guessed(scores, drawn)
    other = replace(drawn, inside=rng.integers(2, size=50) == 1)
    np.testing.assert_array_equal(guessed(scores, other), found)
    for kind in KINDS:
        mine = found[drawn.of_kind(kind)]
        assert np.sum(mine == 1) == np.sum(mine == -1) == {16: 4, 17: 4}[len(mine)]


def test_ties_are_broken_at_random() -> None:
    """Scores that are all equal: guesses follow the order drawn beforehand, and are right as often as a coin."""
    right = total = 0
    for seed in range(150):
        drawn = draw(MEMBERS, KIND_NAMES, seed, 60)
        (row, *_) = bounds({"a": np.zeros(60)}, drawn, KIND_NAMES, 0.0, 4)
        right, total = right + row.correct, total + row.guesses
    low, high = stats.binom.ppf([RARE, 1 - RARE], total, 0.5)
    assert low <= right <= high
    drawn = by_hand([True] * 8, [7, 6, 5, 4, 3, 2, 1, 0])
    assert guessed(np.zeros(8), drawn).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1]


def test_scores_that_know_the_coins_reach_the_largest_bound() -> None:
    drawn = draw(MEMBERS, KIND_NAMES, 0, 300)
    for row in bounds({"a": drawn.inside.astype(float)}, drawn, KIND_NAMES, DELTA, 4):
        assert row.correct == row.guesses
        assert row.alone.lower == row.alone.largest > 2
        assert row.together.lower == row.together.largest < row.alone.largest
        assert row.alone.if_gaussian is not None
        assert row.alone.if_gaussian > row.alone.lower


def test_scores_that_know_nothing_bound_nothing_above_zero() -> None:
    """Of 300 trials with 12 rows each, one in twenty at most shows a bound above 0 at the level of all rows."""
    rng, above, alone = np.random.default_rng(0), 0, 0
    for seed in range(300):
        drawn = by_hand((np.random.default_rng(seed).integers(2, size=60) == 1).tolist(), list(range(60)), EVERY_KIND)
        rows = bounds({name: rng.normal(size=60) for name in "abc"}, drawn, KIND_NAMES, 0.0, 12)
        above += headline(rows).together.lower > 0
        alone += any(row.alone.lower > 0 for row in rows)
    assert above <= stats.binom.ppf(OFTEN, 300, 0.05)
    assert alone > above, "without the correction there are more"


def test_what_can_be_shown_at_most_is_known_beforehand() -> None:
    """A quarter on each side, rounded: 7, 7, 6 give 2 + 2 + 2 guesses a side."""
    assert [guesses_a_side(count) for count in (1, 2, 5, 6, 7, 20, 22, 100)] == [0, 1, 1, 2, 2, 5, 6, 25]
    counts = {"mislabelled": 7, "out-of-distribution": 7, "plain": 6}
    drawn = by_hand([True] * 20, list(range(20)), [kind for kind, count in counts.items() for _ in range(count)])
    found = bounds({"a": np.zeros(20), "b": np.zeros(20)}, drawn, KIND_NAMES, DELTA, 8)
    assert [row.guesses for row in found[:4]] == [12, 4, 4, 4]
    assert reach(counts, 2, DELTA) == max(row.together.largest for row in found) > 0
    assert reach({"plain": 20}, 1, DELTA) == one_run_epsilon(20, 10, 10, DELTA)


def test_the_correction() -> None:
    assert corrected_level(1) == 0.95
    assert corrected_level(20) == pytest.approx(0.9975)
    assert epsilon(100, 50, 50, DELTA, 0.95).largest == one_run_epsilon(100, 50, 50, DELTA)


def test_the_headline_is_the_largest_bound_of_those_that_hold_together() -> None:
    drawn = draw(MEMBERS, KIND_NAMES, 0, 300)
    rng = np.random.default_rng(0)
    scores = {"weak": drawn.inside + rng.normal(size=300), "strong": drawn.inside + 0.4 * rng.normal(size=300)}
    found = bounds(scores, drawn, KIND_NAMES, DELTA, 8)
    best = headline(found)
    assert (best.attack, best.kind) == ("strong", ALL_KINDS)
    assert best.together.lower == max(row.together.lower for row in found) < best.alone.lower


CLAIM = PrivacyClaim(1.0, 1e-5, "image", "add/remove", {"sigma": 1.0}, "by hand", "none")


@pytest.mark.parametrize(
    ("changes", "answer", "said"),
    [
        ({}, "contradicted", "is contradicted: with that delta epsilon is at least"),
        ({"epsilon": 3.0}, "not contradicted", "Guesses that were all right would have"),
        ({"epsilon": 8.0}, "not contradicted", "could not have contradicted it"),
        ({"unit": "person"}, "not comparable", "per person"),
        ({"adjacency": "replace"}, "not comparable", "'replace'"),
        ({"unit": "", "adjacency": ""}, "not comparable", "unit that is not named and for units that are 'not stated'"),
        ({"delta": 0.5}, "not contradicted", "could not have contradicted it"),
    ],
)
def test_claims(changes: dict[str, Any], answer: str, said: str) -> None:
    """Nine of ten guesses are right; the claim's own delta counts, not that of the table."""
    drawn = draw(MEMBERS, ["plain"], 0, 300)
    scores = drawn.inside.astype(float)
    flipped = np.random.default_rng(0).permutation(300)[:20]
    scores[flipped] = 1 - scores[flipped]
    found = against_claim(replace(CLAIM, **changes), bounds({"a": scores}, drawn, ["plain"], DELTA, 1))
    assert found.answer == answer
    assert said in found.sentence


@pytest.mark.parametrize("changes", [{"epsilon": float("nan")}, {"epsilon": float("inf")}, {"delta": 1.0}])
def test_claims_that_are_no_numbers_are_not_compared(changes: dict[str, Any]) -> None:
    drawn = draw(MEMBERS, ["plain"], 0, 300)
    found = bounds({"a": drawn.inside.astype(float)}, drawn, ["plain"], DELTA, 1)
    assert against_claim(replace(CLAIM, **changes), found).answer == "not comparable"
