"""The three tests against enumeration and other implementations, and their false alarms."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from score_pack import PACK, TIED
from statsmodels.stats.multitest import multipletests

from benchmarks import null_and_coverage as simulation
from privaudit.statistics.detection import auc_z, detect, holm, r0_probability, top_hits, two_sided
from privaudit.statistics.exposure import list_depths
from privaudit.statistics.tally import TOP_K, Tally, depth_of, histogram, placements, tally

LEVELS = st.lists(st.integers(-4, 4).map(float), min_size=1, max_size=30)


def every_order(n_members: int, n_controls: int) -> Tally:
    """All interleavings of untied members and controls, each as one draw."""
    places = np.array(list(combinations(range(n_members + n_controls), n_members)))
    lost = places - np.arange(n_members)
    counts = histogram(lost, depth_of(n_controls)).cumsum(axis=1)
    auc = 1 - lost.sum(axis=1) / (n_members * n_controls)
    return Tally(counts, counts, auc, n_members, n_controls, 1.0)


def scored(members: ArrayLike, controls: ArrayLike) -> Tally:
    return tally(placements(np.asarray(members, dtype=float), np.asarray(controls, dtype=float)))


def brute_top(members: NDArray[np.float64], controls: NDArray[np.float64], members_first: bool = False) -> int:
    ranked = sorted([(-s, not members_first, True) for s in members] + [(-s, members_first, False) for s in controls])
    return sum(is_member for _, _, is_member in ranked[:TOP_K])


# --- R0 ---


@pytest.mark.parametrize(("n_members", "n_controls"), [(4, 5), (1, 8), (8, 1), (6, 2), (5, 17)])
def test_r0_law_equals_enumeration(n_members: int, n_controls: int) -> None:
    draws = every_order(n_members, n_controls)
    r0 = draws.strict[:, 0]
    for at_least in range(n_members + 1):
        exact = float((r0 >= at_least).mean())
        assert r0_probability(np.array([at_least]), n_members, n_controls)[0] == pytest.approx(exact)


def test_r0_by_hand() -> None:
    found = detect(scored([9, 8, 5, 1], [7, 6, 2, 0]))
    assert found.r0.tolist() == [2]
    assert found.r0_p[0] == pytest.approx(4 / 8 * 3 / 7)


def test_member_tied_with_the_best_control_is_not_above_it() -> None:
    assert detect(scored([3, 3, 4], [3, 0, 0])).r0.tolist() == [1]


def test_r0_in_the_largest_pools() -> None:
    p = r0_probability(np.arange(31), 30_000, 14_000)
    assert p[0] == pytest.approx(1.0, abs=1e-8)
    product = np.cumprod((30_000 - np.arange(30)) / (44_000 - np.arange(30)))
    np.testing.assert_allclose(p[1:], product, rtol=1e-8)
    assert r0_probability(np.array([30_000]), 30_000, 14_000)[0] == 0.0


# --- The top 20 ---


@pytest.mark.parametrize(("n_members", "n_controls"), [(5, 17), (17, 5), (3, 30), (20, 2)])
def test_top20_law_equals_enumeration(n_members: int, n_controls: int) -> None:
    draws = every_order(n_members, n_controls)
    found = detect(draws)
    assert found.top20 is not None
    for hits in np.unique(found.top20):
        reported = found.top20_p[found.top20 == hits]
        np.testing.assert_allclose(reported, (found.top20 >= hits).mean(), rtol=1e-9)


@pytest.mark.parametrize("name", PACK)
def test_top20_counts_and_probability(name: str) -> None:
    members, controls = PACK[name]
    counts = scored(members, controls)
    found = detect(counts)
    assert found.top20 is not None
    hits = brute_top(members, controls)
    assert found.top20.tolist() == [hits]
    loose = top_hits(counts, ties_won=True)
    assert loose is not None
    assert loose.tolist() == [brute_top(members, controls, members_first=True)]
    total = len(members) + len(controls)
    ways = sum(comb(len(members), h) * comb(len(controls), TOP_K - h) for h in range(hits, TOP_K + 1))
    assert found.top20_p[0] == pytest.approx(ways / comb(total, TOP_K), rel=1e-8)


@given(LEVELS, LEVELS)
def test_top20_with_ties_equals_sorting(members: list[float], controls: list[float]) -> None:
    counts = scored(members, controls)
    hits, loose = top_hits(counts), top_hits(counts, ties_won=True)
    if len(members) + len(controls) < TOP_K:
        assert hits is None
        assert detect(counts).top20_p.tolist() == [1.0]
        return
    assert hits is not None
    assert loose is not None
    assert hits[0] == brute_top(np.array(members), np.array(controls))
    assert loose[0] == brute_top(np.array(members), np.array(controls), members_first=True)


def test_ten_totally_exposed_of_a_thousand() -> None:
    """The 1 % exposed of E-8: the AUC sees nothing, R0 does."""
    found = detect(scored(*PACK["1 % exposed"]))
    assert found.auc_p[0] > 0.01
    assert found.r0[0] >= 10
    assert found.p[0] < 0.01


# --- AUC ---


@pytest.mark.parametrize("name", PACK)
def test_auc_p_equals_mann_whitney(name: str) -> None:
    members, controls = PACK[name]
    counts = scored(members, controls)
    z = float(auc_z(counts)[0])
    for alternative, tail in (("greater", stats.norm.sf), ("less", stats.norm.cdf)):
        peer = stats.mannwhitneyu(members, controls, alternative=alternative, method="asymptotic", use_continuity=False)
        assert tail(z) == pytest.approx(peer.pvalue, rel=1e-6, abs=1e-300)
    # With ties the tail is Pearson type III: close to the normal one here, and equal where the law is symmetric.
    symmetric = name not in TIED or len(members) == len(controls)
    assert detect(counts).auc_p[0] == pytest.approx(stats.norm.sf(z), rel=1e-6 if symmetric else 0.1)


@pytest.mark.parametrize("pool", [(5, 17), (9, 6), (8, 8)])
def test_exact_level_of_the_auc_equals_enumeration(pool: tuple[int, int]) -> None:
    share = float((detect(every_order(*pool)).auc_p <= 0.05).mean())
    assert simulation.exact_auc_level(pool) == pytest.approx(share)


@pytest.mark.parametrize("pool", [(270, 270), (1000, 3000), (3000, 7000), (1000, 10_000), (7000, 3000)])
def test_few_opinions_among_many_ties_keep_the_level(pool: tuple[int, int]) -> None:
    """One lucky member of few with an opinion must not be a detection (exact, over all ways to share k ones)."""
    n_members, n_controls = pool
    for ones in (1, 2, 3, 4, 5, 8, 12, 20, 40):
        level = {0.05: 0.0, 0.01: 0.0, 0.001: 0.0}
        for mine in range(ones + 1):
            chance = stats.hypergeom.pmf(mine, sum(pool), n_members, ones)
            members = np.arange(n_members) < mine
            controls = np.arange(n_controls) < ones - mine
            p = detect(scored(members, controls)).p[0]
            level = {alpha: sum_ + chance * (p <= alpha) for alpha, sum_ in level.items()}
        assert all(sum_ <= alpha for alpha, sum_ in level.items()), (ones, level)


@given(LEVELS, LEVELS)
def test_auc_is_symmetric_in_sign_and_sides(members: list[float], controls: list[float]) -> None:
    forward = detect(scored(members, controls)).auc_p[0]
    backward = detect(scored([-s for s in members], [-s for s in controls])).auc_p[0]
    swapped = detect(scored(controls, members)).auc_p[0]
    assert forward + backward == pytest.approx(1.0)
    assert forward + swapped == pytest.approx(1.0)


# --- Together ---


def test_nothing_to_compare() -> None:
    for members, controls in (([], []), ([1.0] * 30, []), ([], [1.0] * 30), ([1.0] * 30, [1.0] * 30), ([1.0], [2.0])):
        assert detect(scored(members, controls)).p.tolist() == [1.0]


@pytest.mark.parametrize("pool", [(1, 8), (2, 3), (2, 9), (3, 3), (4, 4), (9, 2), (7, 7)])
def test_tiny_pools_keep_the_combined_level(pool: tuple[int, int]) -> None:
    p = detect(every_order(*pool)).p
    for alpha in (0.05, 0.01, 0.001):
        assert (p <= alpha).mean() <= alpha


def test_perfect_separation_is_found_more_surely_than_99_9_percent() -> None:
    perfect, nearly = scored(*PACK["perfect separation"]), scored(*PACK["99.9 % separation"])
    assert auc_z(perfect)[0] > auc_z(nearly)[0] > 30
    assert detect(perfect).p[0] <= detect(nearly).p[0] < 1e-200
    assert detect(perfect).r0[0] == detect(nearly).r0[0] + 1 == 1000


def test_reversed_scores_are_no_detection() -> None:
    assert detect(scored(*PACK["reversed"])).p[0] == 1.0


def test_batch_equals_single_audits() -> None:
    rng = np.random.default_rng(4)
    singles = [scored(rng.standard_normal(60) + rng.random(), rng.standard_normal(90)) for _ in range(25)]
    strict, auc = np.concatenate([t.strict for t in singles]), np.concatenate([t.auc for t in singles])
    together = detect(Tally(strict, strict, auc, 60, 90, 1.0))
    assert together.p.tolist() == pytest.approx([detect(t).p[0] for t in singles])
    assert together.r0.tolist() == [detect(t).r0[0] for t in singles]


@given(LEVELS, LEVELS)
def test_ties_never_help_rare_leaks(members: list[float], controls: list[float]) -> None:
    fine, coarse = (detect(scored(np.floor(np.array(members) / w), np.floor(np.array(controls) / w))) for w in (1, 2))
    assert coarse.r0[0] <= fine.r0[0]
    assert coarse.top20_p[0] >= fine.top20_p[0] * (1 - 1e-9)


# --- Holm ---


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    by_p = [a for _, a in sorted(zip(p_values, adjusted, strict=True))]
    assert by_p == sorted(by_p)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))


def test_holm_by_hand() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


# --- Two-sided ---


def test_two_sided_sees_both_directions() -> None:
    members, controls = PACK["shift 1 sd"]
    assert max(two_sided(scored(members, controls))) < 1e-3
    auc_p, top_p = two_sided(scored(*PACK["reversed"]))
    assert auc_p < 1e-20
    assert top_p < 1e-3


def test_two_sided_by_hand() -> None:
    # All of the 20 highest of 40 are controls: one of comb(40, 20) ways, doubled.
    auc_p, top_p = two_sided(scored(np.arange(20.0), np.arange(20.0) + 100))
    assert top_p == pytest.approx(2 / comb(40, 20))
    assert auc_p == pytest.approx(2 * stats.norm.sf(abs((0 - 200) / np.sqrt(400 * 41 / 12))))


@pytest.mark.parametrize("pool", [(270, 270), (3000, 7000)])
@pytest.mark.parametrize("ones", [0, 1, 5, 19])
def test_tied_scores_do_not_make_an_audit_invalid(pool: tuple[int, int], ones: int) -> None:
    """An attack that says the same of all (a hash on strangers) shows no difference between members and controls."""
    shared = ones * pool[0] // sum(pool)
    members, controls = np.arange(pool[0]) < shared, np.arange(pool[1]) < ones - shared
    assert min(two_sided(scored(members, controls))) > 0.3


# --- False alarms ---


@pytest.mark.parametrize("pool", simulation.POOLS)
def test_at_most_131_alarms_of_2000(pool: tuple[int, int]) -> None:
    assert simulation.allowed(2000, 0.05) == 131
    alarms = simulation.null_alarms(pool, "normal", runs=2000, seed=2)
    assert max(alarms.values()) <= 131, alarms
    exact = simulation.exact_levels(pool)
    # The AUC's law is nearly normal: its level may exceed 5 % by a thousandth.
    assert max(exact.values()) <= 0.0501
    for test, level in exact.items():
        low, high = stats.binom.ppf([0.0005, 0.9995], 2000, level)
        assert low <= alarms[test] <= high, test


@pytest.mark.slow
@pytest.mark.parametrize("pool", simulation.POOLS)
@pytest.mark.parametrize("scores", [name for name in simulation.NULL_SCORES if name != "normal"])
def test_at_most_131_alarms_of_2000_with_ties(pool: tuple[int, int], scores: str) -> None:
    alarms = simulation.null_alarms(pool, scores, runs=2000, seed=3)
    assert max(alarms.values()) <= 131, alarms


@pytest.mark.parametrize(("pool", "q"), [((5, 9), 0.3), ((8, 6), 0.5), ((10, 8), 0.2)])
def test_exact_level_of_the_list_equals_enumeration(pool: tuple[int, int], q: float) -> None:
    draws = every_order(*pool)
    share = float((list_depths(draws, q) >= 0).mean())
    assert simulation.exact_list_level(pool, q) == pytest.approx(share)
    assert share > 0
