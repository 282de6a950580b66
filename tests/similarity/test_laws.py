"""Laws and places: by hand, and whether the interval covers."""

from __future__ import annotations

import numpy as np
import pytest

from privaudit.errors import InputError
from privaudit.similarity.laws import law, place


def test_a_law_by_hand() -> None:
    values = np.arange(101, dtype=np.float64)
    assert law(values, False) == {"n": 101, "median": 50, "p95": 95, "max": 100}
    assert law(values, True) == {"n": 101, "median": 50, "p95": 95, "max": 100, "p5": 5, "min": 0}


def test_a_place_by_hand() -> None:
    """Odd count, all apart: the median is 5; of four controls one is above it and one equal."""
    release, controls = np.arange(11, dtype=np.float64), np.array([1.0, 2.0, 5.0, 7.0])
    found = place(release, controls, False, 9)
    assert found.estimate == (1 + 0.5) / 4
    assert found.low <= found.estimate <= found.high
    assert (found.n_members, found.n_controls, found.direction) == (9, 4, "descriptive")
    assert place(-release, -controls, True, 9) == found
    with pytest.raises(InputError, match="pairs on both sides"):
        place(release, controls[:0], False, 9)


@pytest.mark.parametrize(("n_release", "n_controls"), [(20, 20), (300, 300), (20, 500), (500, 50)])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_interval_of_a_place_covers(n_release: int, n_controls: int, shift: float) -> None:
    from scipy import stats

    rng = np.random.default_rng(n_release)
    truth = stats.norm.sf(shift)
    found = [
        place(rng.normal(shift, size=n_release), rng.normal(size=n_controls), False, 1).model_dump() for _ in range(200)
    ]
    covered = sum(each["low"] <= truth <= each["high"] for each in found)
    assert stats.binom.cdf(covered, len(found), 0.95) > 1e-3


def test_with_very_few_pairs_a_place_says_nothing() -> None:
    found = place(np.array([1.0, 2.0]), np.array([0.0, 3.0]), False, 1)
    assert (found.low, found.high) == (0, 1)


def test_equal_values_widen_the_interval_to_both_sides() -> None:
    same = np.ones(200)
    found = place(same, same, False, 1)
    assert (found.estimate, found.low, found.high) == (0.5, 0, 1)
