"""False alarms of every test and misses of every interval, by simulation and, where possible, exactly.

    python -m benchmarks.null_and_coverage --runs 2000 --seed 1

Allowance for the simulation's own error: `allowed(runs, level)` is the .999 quantile of the number of alarms (or
misses) if the true rate were exactly nominal; 131 of 2,000 at 5 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.recording import write_result
from privaudit.statistics import detection, epsilon, exposure, reach
from privaudit.statistics.tally import TOP_K, Tally, depth_of, placements, tally

Floats = NDArray[np.float64]
Pool = tuple[int, int]
Sampler = Callable[[np.random.Generator, int], Floats]

POOLS: tuple[Pool, ...] = ((270, 270), (1000, 1000), (3000, 7000))
ALPHA = 0.05
LIST_Q = 0.1 / 2
TAIL = 0.025


def allowed(runs: int, level: float) -> int:
    """Most alarms or misses of `runs` that a true rate at `level` shows in 999 of 1,000 simulations."""
    return int(stats.binom.ppf(0.999, runs, level))


# --- Alarms on innocent scores ---

NULL_SCORES: dict[str, Sampler] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "three levels": lambda rng, n: rng.integers(0, 3, n).astype(np.float64),
    "zero or one": lambda rng, n: rng.integers(0, 2, n).astype(np.float64),
    "one in 500 is one": lambda rng, n: (rng.random(n) < 0.002).astype(np.float64),
    "saturated": lambda rng, n: np.minimum(rng.standard_normal(n), 0.5),
    "no opinion on 99 %": lambda rng, n: np.where(rng.random(n) < 0.99, np.nan, rng.standard_normal(n)),
}


def alarms(counts: Tally) -> dict[str, NDArray[np.bool_]]:
    """Which draws each verdict-bearing test rejects at 5 % (the list: at its rate; the TPR bound: above chance)."""
    found = detection.detect(counts)
    return {
        "r0": found.r0_p <= ALPHA,
        "top20": found.top20_p <= ALPHA,
        "auc": found.auc_p <= ALPHA,
        "combined": found.p <= ALPHA,
        "list": exposure.list_depths(counts, LIST_Q) >= 0,
        "tpr low": exposure.tpr_low(counts) > 0.01,
    }


def _stack(tallies: list[Tally]) -> Tally:
    first = tallies[0]
    strict, loose = (np.concatenate(parts) for parts in zip(*((t.strict, t.loose) for t in tallies), strict=True))
    auc = np.concatenate([t.auc for t in tallies])
    return Tally(strict, loose, auc, first.n_members, first.n_controls, first.tie_factor, first.tie_skew)


def null_alarms(pool: Pool, scores: str, runs: int, seed: int) -> dict[str, int]:
    """Alarms of every test in `runs` audits whose members and controls have the same law of scores."""
    rng = np.random.default_rng(seed)
    draw = NULL_SCORES[scores]
    tallies = [tally(placements(draw(rng, pool[0]), draw(rng, pool[1]))) for _ in range(runs)]
    # Moments of ties belong to one draw; without ties they are common to all.
    batches = [_stack(tallies)] if all(t.tie_factor == tallies[0].tie_factor for t in tallies) else tallies
    total: dict[str, int] = {}
    for batch in batches:
        for test, hit in alarms(batch).items():
            total[test] = total.get(test, 0) + int(hit.sum())
    fresh = np.array([detection.two_sided(t) for t in tallies]) <= ALPHA
    return total | {"fresh auc": int(fresh[:, 0].sum()), "fresh top20": int(fresh[:, 1].sum())}


def exact_list_level(pool: Pool, q: float) -> float:
    """Probability that the suspected list is not empty on untied innocent scores, over all interleavings."""
    n_members, n_controls = pool
    total, depth = sum(pool), depth_of(n_controls)
    sizes = np.arange(1, n_members + 1)
    enough = (1 + np.arange(depth + 1))[:, None] * (n_members / n_controls) <= q * sizes
    needed = np.where(enough.any(axis=1), 1 + np.argmax(enough, axis=1), n_members + 1)
    needed = np.append(needed, n_members + 1)
    members = np.arange(n_members + 1)
    silent = np.zeros(n_members + 1)
    silent[0] = 1.0
    for place in range(total):
        step = silent * np.clip((n_members - members) / (total - place), 0.0, 1.0)
        silent = silent - step
        silent[1:] += step[:-1]
        beaten_by = np.clip(place + 1 - members, 0, depth + 1)
        silent[members >= needed[beaten_by]] = 0.0
    return float(1.0 - silent.sum())


def exact_auc_level(pool: Pool) -> float:
    """Probability that the one-sided AUC test rejects untied innocent scores: the Gaussian binomial's coefficients."""
    m, n = pool
    fewest_lost = int(np.floor(m * n / 2 - stats.norm.isf(ALPHA) * np.sqrt(m * n * (m + n + 1) / 12)))
    if fewest_lost < 0:
        return 0.0
    law = np.zeros(fewest_lost + 1)
    law[0] = 1.0
    for i in range(1, m + 1):
        if n + i <= fewest_lost:
            law[n + i :] -= law[: -(n + i)].copy()
        by_residue = np.zeros(-(-len(law) // i) * i)
        by_residue[: len(law)] = law
        law = by_residue.reshape(-1, i).cumsum(axis=0).ravel()[: len(law)] * (i / (n + i))
    return float(law.sum())


def exact_levels(pool: Pool) -> dict[str, float]:
    """Attained level on untied scores of each test that has a tractable law (AUC: up to 100,000 pairs)."""
    n_members, n_controls = pool
    r0_p = detection.r0_probability(np.arange(n_members + 1), n_members, n_controls)
    top_p = stats.hypergeom.sf(np.arange(TOP_K + 1) - 1, sum(pool), n_members, TOP_K)
    levels = {
        "r0": float(r0_p[r0_p <= ALPHA].max(initial=0.0)),
        "top20": float(top_p[top_p <= ALPHA].max(initial=0.0)),
        "list": exact_list_level(pool, LIST_Q),
    }
    if n_members * n_controls <= 100_000:
        levels["auc"] = exact_auc_level(pool)
    rank = exposure.lower_threshold_rank(n_controls)
    bounds = exposure.clopper_pearson_low(np.arange(n_members + 1), n_members)
    law = None if rank is None else stats.betabinom(n_members, rank, n_controls - rank + 1)
    levels["tpr low"] = 0.0 if law is None else float(law.sf(np.argmax(bounds > 0.01) - 1))
    return levels


# --- Misses of intervals ---


def clopper_pearson_misses(trials: int, rate: float) -> tuple[float, float]:
    """Exact probabilities that the lower bound is above the rate, and the upper bound below it."""
    successes = np.arange(trials + 1)
    law = stats.binom.pmf(successes, trials, rate)
    low = exposure.clopper_pearson_low(successes, trials) > rate
    high = exposure.clopper_pearson_high(successes, trials) < rate
    return float(law[low].sum()), float(law[high].sum())


_CUT = float(stats.norm.isf(0.01))


def _mixture(share: float, exposed: float, rest: float | None) -> Sampler:
    def draw(rng: np.random.Generator, n: int) -> Floats:
        others = rng.standard_normal(n) if rest is None else np.full(n, rest)
        return np.where(rng.random(n) < share, exposed, others)

    return draw


def _shift(by: float) -> Sampler:
    return lambda rng, n: rng.standard_normal(n) + by


# Members' law against standard normal controls, true TPR at 1 % FPR, and the most misses per side that rule 7 allows.
# Two errors of .025 add up (threshold and proportion) only where the ROC curve has a step exactly at 1 %.
TPR_LAWS: dict[str, tuple[Sampler, float, float]] = {
    "shift, TPR 5 %": (_shift(_CUT - stats.norm.isf(0.05)), 0.05, TAIL),
    "shift, TPR 12 %": (_shift(_CUT - stats.norm.isf(0.12)), 0.12, TAIL),
    "shift 1 sd": (_shift(1.0), float(stats.norm.sf(_CUT - 1)), TAIL),
    "5 % exposed": (_mixture(0.05, 10.0, None), 0.05 + 0.95 * 0.01, TAIL),
    "step just inside 1 %": (_mixture(0.3, _CUT + 1e-9, -10.0), 0.3, 2 * TAIL),
    "step just outside 1 %": (_mixture(0.3, 10.0, _CUT - 1e-9), 0.3, 2 * TAIL),
}


def tpr_misses(pool: Pool, law: str, runs: int, seed: int) -> tuple[int, int]:
    """Runs whose lower TPR bound is above the truth, and whose upper bound is below it."""
    rng = np.random.default_rng(seed)
    draw, truth, _ = TPR_LAWS[law]
    tallies = [tally(placements(draw(rng, pool[0]), rng.standard_normal(pool[1]))) for _ in range(runs)]
    counts = _stack(tallies)
    return int((exposure.tpr_low(counts) > truth).sum()), int((exposure.tpr_high(counts) < truth).sum())


AUC_SHIFTS: dict[str, float] = {"AUC .5": 0.0, "AUC .6": 0.3583, "AUC .76": 1.0, "AUC .95": 2.3262, "AUC .99": 3.2900}


def auc_misses(pool: Pool, law: str, rounded: bool, runs: int, seed: int) -> tuple[int, int]:
    """Runs whose AUC interval lies above the truth, and below it; rounded: scores are whole numbers, with many ties."""
    rng = np.random.default_rng(seed)
    shift = AUC_SHIFTS[law]
    truth = float(stats.norm.cdf(shift / np.sqrt(2)))
    if rounded:
        edges = np.arange(-12, 14)
        members, controls = (np.diff(stats.norm.cdf(edges, loc=at)) for at in (shift, 0.0))
        truth = float(np.sum(members * (np.cumsum(controls) - controls / 2)))
    above = below = 0
    for _ in range(runs):
        mine, others = rng.standard_normal(pool[0]) + shift, rng.standard_normal(pool[1])
        if rounded:
            mine, others = np.floor(mine), np.floor(others)
        estimate = exposure.auc_estimate(mine, others, "image")
        above, below = above + (estimate.low > truth), below + (estimate.high < truth)
    return above, below


def leakage_misses(pool: Pool, release_law: str, runs: int, seed: int) -> tuple[int, int, int]:
    """Runs whose leakage interval lies above the truth, below it, and runs in which leakage is defined."""
    rng = np.random.default_rng(seed)
    draw, tpr, _ = TPR_LAWS[release_law]
    originals = _mixture(0.5, 10.0, None)
    chance = exposure.chance_tpr(pool[1])
    truth = min(1.0, max(0.0, (tpr - chance) / (0.505 - chance)))
    above = below = defined = 0
    for _ in range(runs):
        released, raw = (tally(placements(f(rng, pool[0]), rng.standard_normal(pool[1]))) for f in (draw, originals))
        estimate = exposure.leakage(released, raw, "image")
        if estimate is not None:
            defined, above, below = defined + 1, above + (estimate.low > truth), below + (estimate.high < truth)
    return above, below, defined


def reach_misses(pool: Pool, k: int, copies: float, runs: int, seed: int) -> tuple[int, int]:
    """Runs whose interval of the hit share lies above and below the truth; each recovery is a copy with this chance."""
    rng = np.random.default_rng(seed)
    total = sum(pool)
    truth = copies + (1 - copies) * pool[0] / total
    above = below = 0
    for _ in range(runs):
        scores = rng.random(total)
        scores[: rng.binomial(k, copies)] += 1.0
        estimate, _ = reach.hits_at(scores[: pool[0]], scores[pool[0] :], k, "image")
        above, below = above + (estimate.low > truth), below + (estimate.high < truth)
    return above, below


def one_run_level(records: int, guesses: int, claim: float) -> float:
    """Exact probability that randomised response, which is exactly (claim, 0)-DP, is refuted at 95 %."""
    correct = np.arange(guesses + 1)
    refuted = np.array([epsilon.one_run_p_value(records, guesses, int(c), claim, 0.0) < ALPHA for c in correct])
    return float(stats.binom.pmf(correct, guesses, 1 / (1 + np.exp(-claim)))[refuted].sum())


def gaussian_refutations(records: int, guesses: int, claim: float, runs: int, seed: int) -> int:
    """Runs in which an honest Gaussian mechanism at (claim, 1e-5) is refuted from its `guesses` highest canaries."""
    rng = np.random.default_rng(seed)
    shift = 1.0 / epsilon.gaussian_noise(claim, 1e-5)

    @cache
    def refuted(correct: int) -> bool:
        return epsilon.one_run_gaussian_epsilon(records, guesses, correct) > claim

    total = 0
    for _ in range(runs):
        inside = rng.random(records) < 0.5
        order = np.argsort(rng.standard_normal(records) + shift * inside)
        total += refuted(int(inside[order[-guesses:]].sum()))
    return total


def _coverage(runs: int, seed: int) -> Iterator[dict[str, Any]]:
    def row(interval: str, pool: Pool, law: str, misses: tuple[int, int], nominal: float, of: int) -> dict[str, Any]:
        low, high = misses
        return {
            "interval": interval,
            "members": pool[0],
            "controls": pool[1],
            "law": law,
            "runs": of,
            "truth below interval": low,
            "truth above interval": high,
            "nominal per side": nominal,
            "allowed per side": allowed(of, nominal),
        }

    for pool in POOLS:
        for law, (_, _, nominal) in TPR_LAWS.items():
            yield row("TPR at 1 % FPR", pool, law, tpr_misses(pool, law, runs, seed), nominal, runs)
        for law in AUC_SHIFTS:
            for rounded in (False, True):
                misses = auc_misses(pool, law, rounded, runs, seed)
                yield row("AUC", pool, law + (", rounded" if rounded else ""), misses, TAIL, runs)
        for law in ("shift 1 sd", "5 % exposed"):
            above, below, defined = leakage_misses(pool, law, runs, seed)
            yield row("leakage", pool, law, (above, below), TAIL, defined)
        for copies in (0.0, 0.2, 0.5):
            k = min(64, min(pool) // 10)
            misses = reach_misses(pool, k, copies, runs, seed)
            yield row(f"hits at reach {k}", pool, f"{copies:.0%} copies", misses, TAIL, runs)


def main() -> None:
    """Run everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    runs, seed = options.runs, options.seed
    null = []
    for pool in POOLS:
        exact = exact_levels(pool)
        for scores in NULL_SCORES:
            for test, count in null_alarms(pool, scores, runs, seed).items():
                row = {"members": pool[0], "controls": pool[1], "scores": scores, "test": test, "runs": runs}
                row |= {"alarms": count, "allowed": allowed(runs, ALPHA)}
                null.append(row | ({"exact level": exact[test]} if scores == "normal" and test in exact else {}))
    rates = np.linspace(0.0005, 0.9995, 1000)
    proportions = {
        str(n): np.max([clopper_pearson_misses(n, p) for p in rates], axis=0).tolist() for n in (20, 64, 270, 1000)
    }
    claims = [(1000, 100, 1.0), (1000, 100, 3.0), (1000, 500, 3.0), (5000, 500, 3.0)]
    coverage = list(_coverage(runs, seed))
    refutations: list[dict[str, Any]] = [
        {
            "records": records,
            "guesses": guesses,
            "claim": claim,
            "exact level, randomised response": one_run_level(records, guesses, claim),
            "refuted honest Gaussian": gaussian_refutations(records, guesses, claim, runs, seed),
            "runs": runs,
            "allowed": allowed(runs, ALPHA),
        }
        for records, guesses, claim in claims
    ]
    sides = ("truth below interval", "truth above interval")
    over = [row for row in null if row["alarms"] > row["allowed"]]
    over += [row for row in coverage if max(row[side] for side in sides) > row["allowed per side"]]
    over += [row for row in refutations if row["refuted honest Gaussian"] > row["allowed"]]
    results = {
        "null": null,
        "coverage": coverage,
        "Clopper-Pearson: largest exact misses per side over 1,000 rates, by trials": proportions,
        "epsilon": refutations,
        "above the allowance": over,
    }
    command = f"python -m benchmarks.null_and_coverage --runs {runs} --seed {seed}"
    print(write_result("null_and_coverage", results, seeds=seed, command=command).name)
    for row in over:
        print("above the allowance:", row)


if __name__ == "__main__":
    main()
