"""Is one release leakier than another? Paired tests on the same members and controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privaudit.statistics.tally import FALSE_POSITIVE_RATE, win_shares
from privaudit.statistics.units import ranked_last

DEEP_RATE = 0.001


@dataclass(frozen=True)
class Change:
    """A paired comparison: values of both runs, the difference with its 95 % interval, one-sided p that it is worse."""

    metric: str
    baseline: float
    run: float
    low: float
    high: float
    p_worse: float
    p_better: float


Sides = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Scores of members and of controls, in the same order of units in both runs."""


def auc_change(baseline: Sides, run: Sides) -> Change:
    """Difference of AUCs with DeLong's paired variance (DeLong, DeLong, Clarke-Pearson 1988)."""
    before, after = ((win_shares(m, c), 1 - win_shares(c, m)) for m, c in (baseline, run))
    gain = after[0] - before[0], after[1] - before[1]
    difference = float(gain[0].mean())
    variance = float(sum(part.var(ddof=1) / len(part) for part in gain))
    error = float(np.sqrt(variance))
    z = difference / error if error > 0 else 0.0
    return Change(
        "auc",
        float(before[0].mean()),
        float(after[0].mean()),
        difference - 1.96 * error,
        difference + 1.96 * error,
        float(stats.norm.sf(z)),
        float(stats.norm.cdf(z)),
    )


def _exposed(sides: Sides, rate: float) -> NDArray[np.bool_]:
    members, controls = sides
    threshold = np.sort(controls)[::-1][min(int(rate * len(controls)), len(controls) - 1)]
    exposed: NDArray[np.bool_] = members > threshold
    return exposed


def exposure_change(baseline: Sides, run: Sides, rate: float = FALSE_POSITIVE_RATE) -> Change:
    """Difference of the share of members above the threshold of this false positive rate; exact McNemar test.

    Only members exposed in one run and not in the other tell anything; under equal leakage either way is as likely.
    """
    before, after = _exposed(baseline, rate), _exposed(run, rate)
    worse, better = int(np.sum(after & ~before)), int(np.sum(before & ~after))
    count, total = worse + better, len(before)
    difference = (worse - better) / total
    error = float(np.sqrt(max(0.0, count / total - difference**2) / total))
    return Change(
        _name(rate),
        float(before.mean()),
        float(after.mean()),
        difference - 1.96 * error,
        difference + 1.96 * error,
        float(stats.binom.sf(worse - 1, count, 0.5)) if count else 1.0,
        float(stats.binom.sf(better - 1, count, 0.5)) if count else 1.0,
    )


def _name(rate: float) -> str:
    return f"tpr_at_{100 * rate:g}pct_fpr".replace(".", "_")


def levels(sides: Sides) -> dict[str, float]:
    """The values of one run that `changes` compares, by metric."""
    members, controls = (ranked_last(part) for part in sides)
    rates = [FALSE_POSITIVE_RATE] + ([DEEP_RATE] if len(controls) >= 1 / DEEP_RATE else [])
    shares = {_name(rate): float(_exposed((members, controls), rate).mean()) for rate in rates}
    return {"auc": float(win_shares(members, controls).mean()), **shares}


def changes(baseline: Sides, run: Sides) -> list[Change]:
    """AUC, exposure at 1 % and, with at least 1,000 controls, at 0.1 % false positives."""
    pairs = [(ranked_last(members), ranked_last(controls)) for members, controls in (baseline, run)]
    found = [auc_change(pairs[0], pairs[1]), exposure_change(pairs[0], pairs[1])]
    if len(pairs[0][1]) >= 1 / DEEP_RATE:
        found.append(exposure_change(pairs[0], pairs[1], DEEP_RATE))
    return found
