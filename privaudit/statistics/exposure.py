"""How many are exposed: bounds with the threshold's own uncertainty in them, lists with a false discovery rate."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from privaudit.errors import InputError
from privaudit.record import Estimate, ExposedShare, Unit
from privaudit.statistics.tally import FALSE_POSITIVE_RATE, Placements, Tally, tally, win_shares
from privaudit.statistics.units import ranked_last

_TAIL = 0.975


def _refuse_empty(n_members: int, n_controls: int) -> None:
    if not (n_members and n_controls):
        raise InputError(f"A rate needs members and controls; found {n_members} and {n_controls}.")


def clopper_pearson_low(successes: NDArray[np.int64], trials: int, level: float = _TAIL) -> NDArray[np.float64]:
    """One-sided exact lower bound of a proportion at this level; 0 for no success."""
    if trials == 0:
        return np.zeros(len(successes))
    low = stats.beta.ppf(1 - level, np.maximum(successes, 1), trials - successes + 1)
    return np.where(successes == 0, 0.0, low)


def clopper_pearson_high(successes: NDArray[np.int64], trials: int, level: float = _TAIL) -> NDArray[np.float64]:
    """One-sided exact upper bound of a proportion at this level; 1 for no failure."""
    if trials == 0:
        return np.ones(len(successes))
    high = stats.beta.ppf(level, successes + 1, np.maximum(trials - successes, 1))
    return np.where(successes == trials, 1.0, high)


@lru_cache(maxsize=64)
def upper_threshold_rank(n_controls: int, level: float = _TAIL, rate: float = FALSE_POSITIVE_RATE) -> int | None:
    """Smallest r for which the r-th highest control surely has at least this false positive rate."""
    ranks = np.arange(1, n_controls + 1)
    sure = stats.beta.sf(rate, ranks, n_controls - ranks + 1) >= level
    return int(ranks[np.argmax(sure)]) if sure.any() else None


@lru_cache(maxsize=64)
def lower_threshold_rank(n_controls: int, level: float = _TAIL, rate: float = FALSE_POSITIVE_RATE) -> int | None:
    """Largest r for which the r-th highest control surely has at most this false positive rate.

    None where there are too few controls: below 368 for 1 %, below 3,688 for 0.1 %.
    """
    ranks = np.arange(1, n_controls + 1)
    sure = stats.beta.cdf(rate, ranks, n_controls - ranks + 1) >= level
    return int(ranks[sure][-1]) if sure.any() else None


def tpr_bounds(
    members: NDArray[np.float64], controls: NDArray[np.float64], rate: float, level: float = _TAIL
) -> tuple[float, float] | None:
    """Bounds of the TPR at any FPR, of scores; None where there are too few controls for either."""
    count = len(controls)
    above, below = lower_threshold_rank(count, level, rate), upper_threshold_rank(count, level, rate)
    if above is None or below is None or not len(members):
        return None
    ordered = np.sort(controls)
    surely, perhaps = (members > ordered[count - above]).sum(), (members >= ordered[count - below]).sum()
    return (
        float(clopper_pearson_low(np.array([surely]), len(members), level)[0]),
        float(clopper_pearson_high(np.array([perhaps]), len(members), level)[0]),
    )


def tpr_low(counts: Tally, level: float = _TAIL) -> NDArray[np.float64]:
    """Lower bound of the TPR at 1 % FPR for each draw; 0 below 368 controls, which cannot fix the threshold."""
    rank = lower_threshold_rank(counts.n_controls, level)
    if rank is None:
        return np.zeros(len(counts.auc))
    return clopper_pearson_low(counts.strict[:, rank - 1], counts.n_members, level)


def tpr_high(counts: Tally, level: float = _TAIL) -> NDArray[np.float64]:
    """Upper bound of the TPR at 1 % FPR for each draw; 1 where no control fixes the threshold."""
    rank = upper_threshold_rank(counts.n_controls, level)
    if rank is None or rank > counts.loose.shape[1]:
        return np.ones(len(counts.auc))
    return clopper_pearson_high(counts.loose[:, rank - 1], counts.n_members, level)


def chance_tpr(n_controls: int) -> float:
    """What an innocent release gets on average by the exact-count definition."""
    return (int(FALSE_POSITIVE_RATE * n_controls) + 1) / (n_controls + 1)


def tpr_estimate(counts: Tally, unit: Unit, level: float = _TAIL) -> Estimate:
    """TPR at 1 % FPR by exact count: members above the (floor(.01 n) + 1)-th highest control, ties lost."""
    _refuse_empty(counts.n_members, counts.n_controls)
    rank = min(int(FALSE_POSITIVE_RATE * counts.n_controls), counts.strict.shape[1] - 1)
    estimate = float(counts.strict[0, rank]) / counts.n_members
    low, high = float(tpr_low(counts, level)[0]), float(tpr_high(counts, level)[0])
    return Estimate(
        estimate=estimate,
        low=min(low, estimate),
        high=max(high, estimate),
        n_members=counts.n_members,
        n_controls=counts.n_controls,
        unit=unit,
        method="exact count; each bound 95 %: Clopper-Pearson at a threshold surely above or below 1 % false positives",
        direction="lower is safer",
    )


def exposed_share(tpr: Estimate) -> ExposedShare:
    """Bounds of (TPR - FPR)/(1 - FPR) at 1 % FPR and the number of scored units they mean."""
    low, high = (
        min(1.0, max(0.0, (bound - FALSE_POSITIVE_RATE) / (1 - FALSE_POSITIVE_RATE))) for bound in (tpr.low, tpr.high)
    )
    return ExposedShare(
        low=low, high=high, persons=(int(np.floor(low * tpr.n_members)), int(np.ceil(high * tpr.n_members)))
    )


def auc_estimate(members: NDArray[np.float64], controls: NDArray[np.float64], unit: Unit) -> Estimate:
    """AUC with DeLong's interval (DeLong, DeLong, Clarke-Pearson 1988) on the logit scale; ties count half."""
    _refuse_empty(len(members), len(controls))
    members, controls = ranked_last(members), ranked_last(controls)
    wins = win_shares(members, controls)
    losses = win_shares(controls, members)
    auc = float(wins.mean())
    n_members, n_controls = len(members), len(controls)
    variance = 0.0
    if n_members > 1 and n_controls > 1:
        variance = float(wins.var(ddof=1) / n_members + losses.var(ddof=1) / n_controls)
    if 0 < auc < 1 and variance > 0:
        centre = np.log(auc / (1 - auc))
        half = stats.norm.ppf(_TAIL) * np.sqrt(variance) / (auc * (1 - auc))
        low, high = (float(special.expit(centre + sign * half)) for sign in (-1, 1))
    else:
        # Perfect separation: the exact bound of one-sided misses among the smaller pool.
        miss = 1 - (1 - _TAIL) ** (1 / max(1, min(n_members, n_controls)))
        low, high = (1 - miss, 1.0) if auc >= 1 else (0.0, miss) if auc <= 0 else (0.0, 1.0)
    return Estimate(
        estimate=auc,
        low=low,
        high=high,
        n_members=n_members,
        n_controls=n_controls,
        unit=unit,
        method="area under the ROC curve, ties half; DeLong on the logit scale",
        direction="lower is safer",
    )


def list_depths(counts: Tally, q: float) -> NDArray[np.int64]:
    """For each draw, how many controls deep the suspected list goes at this false discovery rate; -1: empty.

    FDR(v) = (1 + v) (n_members / n_controls) / R(v), R(v) members that beat all but v controls.
    """
    depths = np.arange(counts.strict.shape[1])
    ratio = counts.n_members / max(1, counts.n_controls)
    within = ((1 + depths)[None] * ratio <= q * counts.strict) & (counts.strict > 0)
    deepest = within.shape[1] - 1 - np.argmax(within[:, ::-1], axis=1)
    return np.where(within.any(axis=1), deepest, -1)


def suspected_list(placed: Placements, q: float) -> list[tuple[int, float]]:
    """Members suspected at false discovery rate q: (row, smallest rate at which it is listed), surest first."""
    counts = tally(placed)
    depth = int(list_depths(counts, q)[0])
    if depth < 0:
        return []
    ratio = counts.n_members / counts.n_controls
    rate = (1 + np.arange(depth + 1)) * ratio / np.maximum(1, counts.strict[0, : depth + 1])
    smallest = np.minimum.accumulate(rate[::-1])[::-1]
    lost = placed.above + placed.tied
    rows = np.flatnonzero(lost <= depth)
    order = rows[np.argsort(lost[rows], kind="stable")]
    return [(int(row), float(min(1.0, smallest[lost[row]]))) for row in order]


def leakage(release: Tally, raw: Tally, unit: Unit) -> Estimate | None:
    """(TPR_release - c)/(TPR_raw - c): 0 like strangers' photographs, 1 like the originals. Descriptive only.

    Interval by boxes, each bound at .9875. None unless the originals' lower bound exceeds chance by .2.
    """
    level = 0.9875
    chance = chance_tpr(release.n_controls)
    mine, originals = tpr_estimate(release, unit, level), tpr_estimate(raw, unit, level)
    if originals.low - chance < 0.2:
        return None
    estimate = (mine.estimate - chance) / (originals.estimate - chance)
    return Estimate(
        estimate=min(1.0, max(0.0, estimate)),
        low=min(1.0, max(0.0, (mine.low - chance) / (originals.high - chance))),
        high=min(1.0, max(0.0, (mine.high - chance) / (originals.low - chance))),
        n_members=release.n_members,
        n_controls=release.n_controls,
        unit=unit,
        method="TPR at 1 % FPR on the scale from chance to the originals; box of bounds at .9875 each",
        direction="descriptive",
    )
