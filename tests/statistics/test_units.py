"""Images to units: the best image of a person speaks for the person."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.statistics.units import ranked_last, unit_scores


def test_no_opinion_ranks_below_every_number() -> None:
    ranked = ranked_last(np.array([np.nan, -1e308, np.inf, np.nan]))
    assert ranked.tolist() == [-np.inf, -1e308, np.inf, -np.inf]


def test_person_takes_the_score_of_the_best_image() -> None:
    scores, names, rows = unit_scores(np.array([1.0, np.nan, 3.0, 2.0, -5.0]), np.array(["b", "a", "b", "c", "c"]))
    assert names.tolist() == ["a", "b", "c"]
    assert scores.tolist() == [-np.inf, 3.0, 2.0]
    assert rows.tolist() == [1, 2, 3]


def test_first_of_equal_images_is_named() -> None:
    _, _, rows = unit_scores(np.array([4.0, 4.0, 4.0]), np.array(["x", "x", "x"]))
    assert rows.tolist() == [0]


def test_opinion_on_one_image_is_enough() -> None:
    scores, _, rows = unit_scores(np.array([np.nan, -3.0]), np.array(["x", "x"]))
    assert scores.tolist() == [-3.0]
    assert rows.tolist() == [1]


@pytest.mark.parametrize("units", [[], ["a"], ["b", "a"]])
def test_single_images_keep_their_scores(units: list[str]) -> None:
    values = np.arange(len(units), dtype=float)
    scores, names, rows = unit_scores(values, np.array(units, dtype=str))
    assert names.tolist() == sorted(units)
    assert scores.tolist() == values[rows].tolist()


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(allow_nan=True, width=16)), min_size=1, max_size=20))
def test_equals_a_loop_over_persons(images: list[tuple[str, float]]) -> None:
    units, scores = np.array([unit for unit, _ in images]), np.array([score for _, score in images])
    found, names, rows = unit_scores(scores, units)
    expected: dict[str, float] = {}
    for unit, score in images:
        expected[unit] = max(expected.get(unit, -np.inf), -np.inf if np.isnan(score) else score)
    assert dict(zip(names.tolist(), found.tolist(), strict=True)) == expected
    assert units[rows].tolist() == names.tolist()
    assert ranked_last(scores)[rows].tolist() == found.tolist()
