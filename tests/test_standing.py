"""The worst member and the floor of a ranking, against counts by hand and against shuffled orders."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privaudit.standing import fewest_visible, worst_member
from privaudit.statistics.tally import placements

IDS = tuple(f"m-{row:06d}" for row in range(20))


def test_the_worst_member_by_hand() -> None:
    found = worst_member(placements(np.array([1.0, 6.0, 6.0]), np.array([9.0, 6.0, 5.0, 0.0])), IDS)
    assert found is not None
    assert (found.id, found.above, found.tied, found.among) == ("m-000001", 1, 1, 4)
    assert found.chance == 1.0  # four controls fall into four gaps around three members


def test_nobody_to_compare() -> None:
    assert worst_member(placements(np.zeros(0), np.zeros(3)), ()) is None
    assert worst_member(placements(np.zeros(3), np.zeros(0)), IDS) is None


@pytest.mark.parametrize("above", [0, 1, 2, 3])
def test_chance_of_the_best_counted_over_all_orders(above: int) -> None:
    """Two members and three controls: every order of the five counted."""
    orders = list(permutations("mmccc"))
    exact = sum(order.index("m") <= above for order in orders) / len(orders)
    mean = sum(order.index("m") for order in orders) / len(orders)
    controls = np.array([1.0, 2.0, 3.0])
    found = worst_member(placements(np.array([3.5 - above, -1.0]), controls), IDS)
    assert found is not None
    assert found.above == above
    assert found.p == pytest.approx(exact)
    assert found.chance == pytest.approx(mean)


@given(
    members=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    controls=st.lists(st.integers(0, 6), min_size=1, max_size=8),
)
def test_no_member_has_fewer_controls_above_it(members: list[int], controls: list[int]) -> None:
    mine, theirs = np.array(members, dtype=np.float64), np.array(controls, dtype=np.float64)
    found = worst_member(placements(mine, theirs), IDS)
    assert found is not None
    assert found.above == min((theirs > one).sum() for one in mine)
    assert 0 < found.p <= 1


def test_the_floor_by_hand() -> None:
    """Equal pools of many: 2^-5 is the first below .05; one member in four: .25^3."""
    assert fewest_visible(3000, 3000) == 5
    assert fewest_visible(1000, 3000) == 3
    assert fewest_visible(3, 1) is None  # all three above the only control: probability 1/4
    assert fewest_visible(0, 5) is None
