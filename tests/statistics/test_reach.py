"""Attacks that recover k images: hits, ties at the boundary, and what silence could have shown."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from benchmarks import null_and_coverage as simulation
from privaudit.errors import InputError
from privaudit.statistics.reach import detectable_share, endpoint, hits_at


@pytest.mark.parametrize(
    ("reach", "pool", "judged"),
    [
        (None, (3000, 3000), None),
        (19, (3000, 3000), None),
        (20, (3000, 3000), 20),
        (64, (640, 7000), 64),
        (64, (639, 7000), None),
        (64, (7000, 639), None),
        (20, (200, 200), 20),
    ],
)
def test_endpoint(reach: int | None, pool: tuple[int, int], judged: int | None) -> None:
    assert endpoint(reach, *pool) == judged


def test_hits_by_hand() -> None:
    members, controls = np.array([9.0, 8.0, 7.0, 1.0]), np.array([6.0, 2.0, 0.0, np.nan])
    estimate, p = hits_at(members, controls, 4, "image")
    assert estimate.estimate == 0.75
    # 3 or 4 of 4 drawn from 4 members and 4 controls.
    assert p == pytest.approx((comb(4, 3) * comb(4, 1) + 1) / comb(8, 4))
    assert [estimate.low, estimate.high] == pytest.approx(proportion_confint(3, 4, method="beta"))


def test_ties_share_takes_the_expectation_and_p_counts_controls_first() -> None:
    # One member surely in; two places for two members and four controls that tie.
    members, controls = np.array([9.0, 5.0, 5.0, 1.0]), np.array([5.0, 5.0, 5.0, 5.0])
    estimate, p = hits_at(members, controls, 3, "image")
    assert estimate.estimate == pytest.approx((1 + 2 * 2 / 6) / 3)
    assert p == pytest.approx(1 - comb(4, 3) / comb(8, 3))
    assert estimate.low == pytest.approx(proportion_confint(1, 3, method="beta")[0])
    assert estimate.high == 1.0


def test_no_opinion_at_all_says_nothing() -> None:
    estimate, p = hits_at(np.full(300, np.nan), np.full(900, np.nan), 20, "image")
    assert (estimate.estimate, estimate.low, estimate.high, p) == (0.25, 0.0, 1.0, 1.0)


def test_fewer_suspects_than_reach_are_refused() -> None:
    with pytest.raises(InputError, match="reach of 20 needs as many suspects; found 19"):
        hits_at(np.zeros(10), np.zeros(9), 20, "image")


def test_every_suspect_within_reach() -> None:
    estimate, p = hits_at(np.zeros(5), np.ones(15), 20, "image")
    assert (estimate.estimate, p) == (0.25, 1.0)


SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=15)


@given(SCORES, SCORES, st.integers(1, 30))
def test_hits_equal_sorting_and_random_tie_breaking(members: list[float], controls: list[float], reach: int) -> None:
    total = len(members) + len(controls)
    if reach > total:
        return
    estimate, p = hits_at(np.array(members), np.array(controls), reach, "image")
    ranked = sorted([(-s, 1) for s in members] + [(-s, 0) for s in controls])
    hits = sum(member for _, member in ranked[:reach])
    assert p == pytest.approx(stats.hypergeom.sf(hits - 1, total, len(members), reach))
    most = sum(member for _, member in sorted(ranked, key=lambda pair: (pair[0], -pair[1]))[:reach])
    assert hits - 1e-9 <= estimate.estimate * reach <= most + 1e-9
    # Each of those that tie with the last one in is in with the same chance.
    last = ranked[reach - 1][0]
    inside, tied = [m for s, m in ranked if s < last], [m for s, m in ranked if s == last]
    expected = sum(inside) + (reach - len(inside)) * np.mean(tied)
    assert estimate.estimate * reach == pytest.approx(expected)
    assert estimate.low <= estimate.estimate <= estimate.high


def test_detectable_share_of_64_is_about_half() -> None:
    share = detectable_share(64, 3000, 3000)
    assert share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("reach", "pool"), [(64, (3000, 3000)), (175, (3000, 7000)), (20, (200, 200))])
def test_detectable_share_has_the_power_it_says(reach: int, pool: tuple[int, int]) -> None:
    share = detectable_share(reach, *pool)
    assert share is not None
    rng = np.random.default_rng(1)
    runs = 2000
    powers = []
    for d in (share, share - 0.02):
        hits = rng.binomial(reach, d + (1 - d) * pool[0] / sum(pool), runs)
        powers.append(np.mean(stats.hypergeom.sf(hits - 1, sum(pool), pool[0], reach) <= 0.01))
    # Monte Carlo: .95 - 3 standard errors.
    assert powers[0] >= 0.935
    assert powers[1] < powers[0]


def test_detectable_share_falls_with_reach_and_may_not_exist() -> None:
    shares = [detectable_share(k, 3000, 3000) for k in (20, 64, 175, 300)]
    assert all(share is not None for share in shares)
    assert shares == sorted(shares, key=lambda share: -(share or 0))
    assert detectable_share(3, 3000, 3000) is None
    assert detectable_share(20, 3000, 100) is None


@pytest.mark.parametrize("copies", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("pool", [(270, 270), (1000, 1000)])
def test_interval_covers(pool: tuple[int, int], copies: float) -> None:
    runs = 1000
    k = min(64, min(pool) // 10)
    assert max(simulation.reach_misses(pool, k, copies, runs, seed=2)) <= simulation.allowed(runs, 0.025)
