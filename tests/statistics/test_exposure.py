"""Bounds, lists and the leakage scale: by hand, against other implementations, and their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from score_pack import PACK
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from benchmarks import null_and_coverage as simulation
from privaudit.errors import InputError
from privaudit.statistics.exposure import (
    auc_estimate,
    chance_tpr,
    clopper_pearson_high,
    clopper_pearson_low,
    exposed_share,
    leakage,
    list_depths,
    lower_threshold_rank,
    suspected_list,
    tpr_bounds,
    tpr_estimate,
    tpr_high,
    tpr_low,
    upper_threshold_rank,
)
from privaudit.statistics.tally import Tally, placements, tally

LEVELS = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)
UNTIED = st.integers(1, 400)


def scored(members: list[float] | NDArray[np.float64], controls: list[float] | NDArray[np.float64]) -> Tally:
    return tally(placements(np.asarray(members, dtype=float), np.asarray(controls, dtype=float)))


# --- Proportions ---


@pytest.mark.parametrize("trials", [1, 2, 20, 64, 270, 1000])
def test_clopper_pearson_equals_statsmodels(trials: int) -> None:
    successes = np.unique([0, 1, trials // 3, trials // 2, trials - 1, trials])
    low, high = proportion_confint(successes, trials, alpha=0.05, method="beta")
    np.testing.assert_allclose(clopper_pearson_low(successes, trials), low, atol=1e-12)
    np.testing.assert_allclose(clopper_pearson_high(successes, trials), high, atol=1e-12)


def test_clopper_pearson_of_nothing() -> None:
    assert clopper_pearson_low(np.array([0]), 0).tolist() == [0.0]
    assert clopper_pearson_high(np.array([0]), 0).tolist() == [1.0]


@pytest.mark.parametrize("trials", [20, 64, 270])
def test_clopper_pearson_misses_at_most_2_5_percent_per_side(trials: int) -> None:
    for rate in np.linspace(0.001, 0.999, 200):
        assert max(simulation.clopper_pearson_misses(trials, rate)) <= 0.025


# --- Threshold ranks (rule 7) ---


def test_lower_rank_exists_from_368_controls() -> None:
    """P(best control has an FPR at or under 1 %) = 1 - .99^n."""
    assert 1 - 0.99**367 < 0.975 <= 1 - 0.99**368
    assert lower_threshold_rank(367) is None
    assert lower_threshold_rank(368) == 1


@pytest.mark.parametrize("n", [1, 2, 3, 100, 270, 368, 1000, 3000, 14_000])
def test_ranks_equal_binomial_counting(n: int) -> None:
    """The r-th highest control has an FPR of at least 1 % iff fewer than r of n uniforms fall in the top 1 %."""
    at_most = stats.binom.cdf(np.arange(n + 1), n, 0.01)
    upper = next(r for r in range(1, n + 1) if at_most[r - 1] >= 0.975)
    assert upper_threshold_rank(n) == upper
    lower = [r for r in range(1, n + 1) if 1 - at_most[r - 1] >= 0.975]
    assert lower_threshold_rank(n) == (lower[-1] if lower else None)


def test_no_controls_bound_nothing() -> None:
    assert upper_threshold_rank(0) is None
    counts = scored([1.0, 2.0], [])
    assert (tpr_low(counts).tolist(), tpr_high(counts).tolist()) == ([0.0], [1.0])


def test_bounds_by_hand() -> None:
    """1,000 controls 0..999: the upper threshold is the 18th highest, the lower the 4th."""
    assert (upper_threshold_rank(1000), lower_threshold_rank(1000)) == (18, 4)
    members = np.concatenate([np.full(5, 995.5), np.full(7, 996.0), np.full(11, 982.0), np.full(77, 0.0)])
    counts = scored(members, np.arange(1000.0))
    # Above the 4th highest (996): none. At or above the 18th highest (982): 23 of 100.
    assert tpr_low(counts)[0] == 0.0
    assert tpr_high(counts)[0] == pytest.approx(proportion_confint(23, 100, method="beta")[1])
    # Exact count: the 11th highest control is 989; ties do not matter there.
    estimate = tpr_estimate(counts, "image")
    assert estimate.estimate == 0.12


# --- TPR by exact count (E-6) ---


def exact_count(members: NDArray[np.float64], controls: NDArray[np.float64]) -> float:
    """Largest set {score >= t} with at most floor(.01 n) controls, whole tie groups in or out."""
    allowed = len(controls) // 100
    shares = [np.mean(members >= t) for t in np.unique(members) if (controls >= t).sum() <= allowed]
    return float(max(shares, default=0.0))


@pytest.mark.parametrize("name", PACK)
def test_tpr_equals_exact_count(name: str) -> None:
    members, controls = PACK[name]
    estimate = tpr_estimate(scored(members, controls), "image")
    assert estimate.estimate == pytest.approx(exact_count(members, controls))
    assert 0 <= estimate.low <= estimate.estimate <= estimate.high <= 1


@given(LEVELS, LEVELS)
def test_tpr_of_small_tied_pools_equals_exact_count(members: list[float], controls: list[float]) -> None:
    estimate = tpr_estimate(scored(members, controls), "image")
    assert estimate.estimate == pytest.approx(exact_count(np.array(members), np.array(controls)))
    assert 0 <= estimate.low <= estimate.estimate <= estimate.high <= 1


@given(st.integers(1, 100_000))
def test_chance_is_the_expected_exact_count(n: int) -> None:
    assert chance_tpr(n) == (n // 100 + 1) / (n + 1)


def test_perfect_separation_is_not_dropped() -> None:
    """P-9: an implementation that drops extreme values says less of perfect than of 99.9 % separation."""
    perfect, nearly = (tpr_estimate(scored(*PACK[n]), "image") for n in ("perfect separation", "99.9 % separation"))
    assert (perfect.estimate, nearly.estimate) == (1.0, 0.999)
    assert perfect.low > nearly.low > 0.99
    assert perfect.high == 1.0


def test_empty_pools_are_refused() -> None:
    for members, controls in (([], [1.0]), ([1.0], []), ([], [])):
        with pytest.raises(InputError, match="needs members and controls"):
            tpr_estimate(scored(members, controls), "image")
        with pytest.raises(InputError, match="needs members and controls"):
            auc_estimate(np.array(members), np.array(controls), "image")


def test_exposed_share_by_hand() -> None:
    tpr = tpr_estimate(scored(*PACK["shift 1 sd"]), "image").model_copy(update={"low": 0.06, "high": 0.11})
    share = exposed_share(tpr)
    assert [share.low, share.high] == pytest.approx([0.05 / 0.99, 0.1 / 0.99])
    # 50.5 and 101.01 of 1,000: outward.
    assert share.persons == (50, 102)
    nothing = exposed_share(tpr.model_copy(update={"low": 0.0, "high": 0.005}))
    assert (nothing.low, nothing.high, nothing.persons) == (0.0, 0.0, (0, 0))
    everything = exposed_share(tpr.model_copy(update={"low": 0.0, "high": 1.0}))
    assert (everything.high, everything.persons) == (1.0, (0, 1000))


# --- AUC ---


def brute_delong(members: NDArray[np.float64], controls: NDArray[np.float64]) -> tuple[float, float]:
    wins = (members[:, None] > controls) + 0.5 * (members[:, None] == controls)
    return float(wins.mean()), float(
        wins.mean(axis=1).var(ddof=1) / len(members) + wins.mean(axis=0).var(ddof=1) / len(controls)
    )


@pytest.mark.parametrize("name", PACK)
def test_auc_and_interval_equal_brute_force(name: str) -> None:
    members, controls = PACK[name]
    estimate = auc_estimate(members, controls, "image")
    auc, variance = brute_delong(members, controls)
    truth = np.repeat([1, 0], [len(members), len(controls)])
    assert estimate.estimate == pytest.approx(roc_auc_score(truth, np.concatenate([members, controls])))
    assert estimate.estimate == pytest.approx(auc)
    assert estimate.low <= estimate.estimate <= estimate.high
    if auc < 1:
        logit = np.log(auc / (1 - auc)) + np.array([-1, 1]) * 1.959964 * np.sqrt(variance) / (auc * (1 - auc))
        assert [estimate.low, estimate.high] == pytest.approx((1 / (1 + np.exp(-logit))).tolist(), rel=1e-5)


def test_separated_or_equal_scores() -> None:
    """If each of n independent pairs is won with probability .025^(1/n), all are won in 2.5 %."""
    perfect = auc_estimate(np.arange(30.0) + 100, np.arange(50.0), "image")
    assert (perfect.estimate, perfect.high) == (1.0, 1.0)
    assert perfect.low**30 == pytest.approx(0.025)
    reversed_ = auc_estimate(np.arange(30.0), np.arange(50.0) + 100, "image")
    assert (reversed_.estimate, reversed_.low) == (0.0, 0.0)
    assert reversed_.high == pytest.approx(1 - perfect.low)
    equal = auc_estimate(np.zeros(30), np.full(50, np.nan) * 0, "image")
    assert equal.estimate == 1.0
    tied = auc_estimate(np.zeros(30), np.zeros(50), "image")
    assert (tied.estimate, tied.low, tied.high) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(("members", "controls"), [([1.0], [0.0]), ([1.0], [0.0, 2.0]), ([0.0, 2.0], [1.0])])
def test_one_score_bounds_almost_nothing(members: list[float], controls: list[float]) -> None:
    estimate = auc_estimate(np.array(members), np.array(controls), "image")
    assert estimate.low <= 0.025 + 1e-12
    assert estimate.high == 1.0


@given(LEVELS, LEVELS)
def test_auc_interval_is_symmetric(members: list[float], controls: list[float]) -> None:
    forward = auc_estimate(np.array(members), np.array(controls), "image")
    backward = auc_estimate(-np.array(members), -np.array(controls), "image")
    assert forward.low == pytest.approx(1 - backward.high, abs=1e-9)
    assert forward.high == pytest.approx(1 - backward.low, abs=1e-9)
    assert forward.low <= forward.estimate <= forward.high


# --- The suspected list (rule 14) ---


def test_list_by_hand() -> None:
    members, controls = np.array([1.0, 10.0, 8.0, 9.0]), np.array([7.0, 0.5, 0.5, 0.5])
    placed = placements(members, controls)
    # Above 7: three members, (1 + 0)/3; above .5: four, (1 + 1)/4.
    assert suspected_list(placed, 0.3) == []
    assert suspected_list(placed, 0.4) == [(1, 1 / 3), (2, 1 / 3), (3, 1 / 3)]
    assert suspected_list(placed, 0.5) == [(1, 1 / 3), (2, 1 / 3), (3, 1 / 3), (0, 0.5)]


def test_list_corrects_for_unequal_pools() -> None:
    """Three members per control: a control above the threshold stands for three innocent members."""
    members = np.concatenate([np.full(29, 5.0), np.zeros(271)])
    controls = np.zeros(100) - 1
    assert suspected_list(placements(members, controls), 0.1)
    controls = np.linspace(0.5, 1, 100)
    assert suspected_list(placements(members, controls), 0.1) == []
    members[29] = 5.0
    assert len(suspected_list(placements(members, controls), 0.1)) == 30


def brute_list(members: NDArray[np.float64], controls: NDArray[np.float64], q: float) -> set[int]:
    best: set[int] = set()
    for t in np.unique(members):
        chosen = np.flatnonzero(members >= t)
        rate = (1 + (controls >= t).sum()) * (len(members) / len(controls)) / len(chosen)
        if rate <= q and len(chosen) > len(best):
            best = set(chosen.tolist())
    return best


@given(LEVELS, LEVELS, st.sampled_from([0.05, 0.13, 0.31, 0.47, 0.71]))
def test_list_equals_brute_force(members: list[float], controls: list[float], q: float) -> None:
    mine, others = np.array(members), np.array(controls)
    listed = suspected_list(placements(mine, others), q)
    assert {row for row, _ in listed} == brute_list(mine, others, q)
    assert all(rate <= q * (1 + 1e-12) for _, rate in listed)
    assert [rate for _, rate in listed] == sorted(rate for _, rate in listed)


@pytest.mark.parametrize("name", PACK)
def test_lists_of_the_pack(name: str) -> None:
    members, controls = PACK[name]
    found = {row for row, _ in suspected_list(placements(members, controls), 0.1)}
    assert found == brute_list(members, controls, 0.1)
    depths = list_depths(scored(members, controls), 0.1)
    assert (depths[0] >= 0) == bool(found)


@given(st.integers(0, 1000), st.floats(0.01, 0.5), st.floats(0.01, 0.5))
def test_list_grows_with_q(seed: int, a: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    placed = placements(rng.standard_normal(60) + 1.5, rng.standard_normal(80))
    small, large = (dict(suspected_list(placed, q)) for q in (min(a, b), max(a, b)))
    assert set(small) <= set(large)
    # The smallest rate at which an image is listed does not depend on the rate asked for.
    assert all(large[row] == pytest.approx(rate) for row, rate in small.items())


def test_nobody_is_listed_of_no_members_or_without_controls() -> None:
    assert list_depths(scored([], [1.0] * 30), 0.1).tolist() == [-1]
    assert suspected_list(placements(np.arange(30.0), np.empty(0)), 0.1) == []


def test_share_of_innocent_on_the_list_is_at_most_q() -> None:
    rng = np.random.default_rng(8)
    false_shares: list[float] = []
    for _ in range(400):
        members = rng.standard_normal(300)
        members[:30] += 6
        rows = [row for row, _ in suspected_list(placements(members, rng.standard_normal(600)), 0.1)]
        false_shares.append(float(np.mean([row >= 30 for row in rows])) if rows else 0.0)
    # Standard error of the mean about .003.
    assert 0.03 < np.mean(false_shares) <= 0.1 + 0.01


# --- Leakage (rule 8) ---


def test_leakage_of_the_originals_and_of_strangers() -> None:
    rng = np.random.default_rng(2)
    controls = rng.standard_normal(1000)
    strangers, originals = scored(rng.standard_normal(1000), controls), scored(np.full(1000, 50.0), controls)
    same = leakage(originals, originals, "image")
    assert same is not None
    assert (same.estimate, same.high) == (1.0, 1.0)
    assert same.low > 0.99
    none = leakage(strangers, originals, "image")
    assert none is not None
    assert none.low == 0.0
    assert none.estimate < 0.02
    assert none.high < 0.05


def test_leakage_box_by_hand() -> None:
    rng = np.random.default_rng(3)
    controls = rng.standard_normal(1000)
    half, tenth = np.full(1000, -50.0), np.full(1000, -50.0)
    half[:500], tenth[:100] = 50, 50
    found = leakage(scored(tenth, controls), scored(half, controls), "image")
    assert found is not None
    chance = 11 / 1001
    low_release, high_release = proportion_confint(100, 1000, alpha=0.025, method="beta")
    low_raw, high_raw = proportion_confint(500, 1000, alpha=0.025, method="beta")
    assert found.estimate == pytest.approx((0.1 - chance) / (0.5 - chance))
    assert found.low == pytest.approx((low_release - chance) / (high_raw - chance))
    assert found.high == pytest.approx((high_release - chance) / (low_raw - chance))


def test_leakage_is_undefined_where_the_originals_are_barely_found() -> None:
    controls = np.arange(1000.0)
    for exposed, defined in ((200, False), (220, False), (260, True)):
        raw = scored(np.where(np.arange(1000) < exposed, 5000.0, -1.0), controls)
        assert (leakage(raw, raw, "image") is not None) == defined


# --- Order and coverage ---


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 500))
def test_bounds_are_ordered(seed: int, n_members: int, n_controls: int) -> None:
    rng = np.random.default_rng(seed)
    counts = scored(rng.standard_normal(n_members) + rng.exponential(), rng.standard_normal(n_controls))
    assert 0 <= tpr_low(counts)[0] <= tpr_high(counts)[0] <= 1
    assert tpr_low(counts, 0.9875)[0] <= tpr_low(counts)[0]
    assert tpr_high(counts, 0.9875)[0] >= tpr_high(counts)[0]


@pytest.mark.parametrize("pool", [(270, 270), (1000, 1000)])
@pytest.mark.parametrize("law", simulation.TPR_LAWS)
def test_tpr_bounds_cover(pool: tuple[int, int], law: str) -> None:
    runs = 400
    nominal = simulation.TPR_LAWS[law][2]
    assert max(simulation.tpr_misses(pool, law, runs, seed=4)) <= simulation.allowed(runs, nominal)


def test_bounds_at_any_rate_are_those_at_one_percent() -> None:
    rng = np.random.default_rng(2)
    for n_controls in (300, 1000, 4000):
        members, controls = rng.normal(1, 1, 400).round(1), rng.normal(0, 1, n_controls).round(1)
        counts = scored(members, controls)
        found = tpr_bounds(members, controls, 0.01)
        assert (found is None) is (n_controls < 368)
        assert found in (None, (tpr_low(counts)[0], tpr_high(counts)[0]))


@pytest.mark.parametrize("rate", [0.001, 0.1])
def test_bounds_at_other_rates_cover(rate: float) -> None:
    rng, truth, runs = np.random.default_rng(3), stats.norm.sf(stats.norm.isf(rate) - 1.5), 400
    missed = np.zeros(2)
    for _ in range(runs):
        found = tpr_bounds(rng.normal(1.5, 1, 300), rng.normal(0, 1, 5000), rate)
        assert found is not None
        missed += truth < found[0], truth > found[1]
    assert max(missed) <= simulation.allowed(runs, 0.025)


@pytest.mark.parametrize("law", simulation.AUC_SHIFTS)
@pytest.mark.parametrize("rounded", [False, True])
def test_auc_interval_covers(law: str, rounded: bool) -> None:
    runs = 400
    assert max(simulation.auc_misses((270, 270), law, rounded, runs, seed=5)) <= simulation.allowed(runs, 0.025)


def test_leakage_box_covers() -> None:
    runs = 200
    above, below, defined = simulation.leakage_misses((1000, 1000), "5 % exposed", runs, seed=6)
    assert defined == runs
    assert max(above, below) <= simulation.allowed(runs, 0.025)


@pytest.mark.slow
@pytest.mark.parametrize("pool", simulation.POOLS)
def test_every_interval_covers_in_2000_runs(pool: tuple[int, int]) -> None:
    runs, allowed = 2000, simulation.allowed(2000, 0.025)
    for law, (_, _, nominal) in simulation.TPR_LAWS.items():
        assert max(simulation.tpr_misses(pool, law, runs, seed=7)) <= simulation.allowed(runs, nominal), law
    for law in simulation.AUC_SHIFTS:
        for rounded in (False, True):
            assert max(simulation.auc_misses(pool, law, rounded, runs, seed=7)) <= allowed, (law, rounded)
    for law in ("shift 1 sd", "5 % exposed"):
        assert max(simulation.leakage_misses(pool, law, runs, seed=7)[:2]) <= allowed, law
