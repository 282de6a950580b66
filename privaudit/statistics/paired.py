"""Is one release leakier than another? Paired tests on the same members and controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privaudit.statistics.exposure import clopper_pearson_high
from privaudit.statistics.tally import FALSE_POSITIVE_RATE, win_shares
from privaudit.statistics.units import ranked_last

DEEP_RATE = 0.001
DRAWS = 1999
"""Resamples behind a p value and an interval."""

Floats = NDArray[np.float64]


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


Sides = tuple[Floats, Floats]
"""Scores of members and of controls, in the same order of units in both runs."""


def auc_change(baseline: Sides, run: Sides) -> Change:
    """Difference of AUCs with DeLong's paired variance (DeLong, DeLong, Clarke-Pearson 1988)."""
    before, after = ((win_shares(m, c), 1 - win_shares(c, m)) for m, c in (baseline, run))
    gain = after[0] - before[0], after[1] - before[1]
    difference = float(gain[0].mean())
    variance = float(sum(part.var(ddof=1) / len(part) for part in gain))
    error = float(np.sqrt(variance))
    z = difference / error if error > 0 else float(np.sign(difference)) * np.inf if difference else 0.0
    return Change(
        "auc",
        float(before[0].mean()),
        float(after[0].mean()),
        difference - 1.96 * error,
        difference + 1.96 * error,
        float(stats.norm.sf(z)),
        float(stats.norm.cdf(z)),
    )


def _share(members: Floats, controls: Floats, rate: float) -> float:
    """Share of members above the threshold that this share of the controls exceeds."""
    place = len(controls) - 1 - min(int(rate * len(controls)), len(controls) - 1)
    return float(np.mean(members > np.partition(controls, place)[place]))


def exposure_change(baseline: Sides, run: Sides, rng: np.random.Generator, rate: float = FALSE_POSITIVE_RATE) -> Change:
    """Difference of the share of members above the threshold of this false positive rate.

    The threshold is itself estimated from the controls, and its error moves all members together: tests that take it
    as known raise false alarms. So members and controls are drawn again with replacement, the same ones in both runs
    (a paired bootstrap, which needs no common scale of the two), for p values and the interval. Where no member differs
    the interval is as wide as so many members leave open.
    """
    values = [_share(*side, rate) for side in (baseline, run)]
    difference = values[1] - values[0]
    found = np.empty(DRAWS)
    for place in range(DRAWS):
        members, controls = (rng.integers(0, len(part), len(part)) for part in baseline)
        found[place] = _share(run[0][members], run[1][controls], rate) - _share(
            baseline[0][members], baseline[1][controls], rate
        )
    low, high = np.quantile(found, (0.025, 0.975))
    least = float(clopper_pearson_high(np.array([0]), len(baseline[0]))[0])
    return Change(
        _name(rate),
        values[0],
        values[1],
        min(float(low), difference - least),
        max(float(high), difference + least),
        float((1 + np.sum(found <= 0)) / (1 + DRAWS)),
        float((1 + np.sum(found >= 0)) / (1 + DRAWS)),
    )


def _name(rate: float) -> str:
    return f"tpr_at_{100 * rate:g}pct_fpr".replace(".", "_")


def levels(sides: Sides) -> dict[str, float]:
    """The values of one run that `changes` compares, by metric; and the share of members above every control."""
    members, controls = (ranked_last(part) for part in sides)
    rates = [FALSE_POSITIVE_RATE] + ([DEEP_RATE] if len(controls) >= 1 / DEEP_RATE else [])
    shares = {_name(rate): _share(members, controls, rate) for rate in rates}
    return {"auc": float(win_shares(members, controls).mean()), **shares, "r0": _share(members, controls, 0.0)}


def changes(baseline: Sides, run: Sides, rng: np.random.Generator) -> list[Change]:
    """AUC, exposure at 1 % and, with at least 1,000 controls, at 0.1 % false positives."""
    pairs = [(ranked_last(members), ranked_last(controls)) for members, controls in (baseline, run)]
    found = [auc_change(pairs[0], pairs[1]), exposure_change(pairs[0], pairs[1], rng)]
    if len(pairs[0][1]) >= 1 / DEEP_RATE:
        found.append(exposure_change(pairs[0], pairs[1], rng, DEEP_RATE))
    return found
