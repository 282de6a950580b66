"""Detection limits: how few planted members would have been found in this candidate, by the whole verdict rule.

The scores of some hundred planted members are known from a run in which they were added to the candidate. A draw puts
`dose` of these scores, drawn with replacement, in place of as many members of an innocent release, whose members are
exchangeable with the controls, and asks the verdict rule. One plant that no attack finds is added to the pool, so that
finding all of a hundred does not count as certainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.record import Estimate, Power, Unit
from privaudit.statistics.exposure import clopper_pearson_high, clopper_pearson_low
from privaudit.statistics.rule import Rule, apply_rule
from privaudit.statistics.tally import Placements, Tally, depth_of, histogram

REQUIRED_POWER = 0.95
LARGEST_SHARE = 0.2
_POOLS = 50
_DRAWS_PER_POOL = 20
_DRAWS = _POOLS * _DRAWS_PER_POOL


def doses(n_members: int) -> tuple[int, ...]:
    """Numbers of planted members that are tried: 5, 10, 1 %, 5 % and 20 % of those scored, up to 20 %."""
    shares = {round(share * n_members) for share in (0.01, 0.05, LARGEST_SHARE)}
    return tuple(sorted(dose for dose in {5, 10} | shares if 1 <= dose <= round(LARGEST_SHARE * n_members)))


@dataclass(frozen=True, eq=False)
class Innocent:
    """Draws of an innocent release without `dose` of its members: cumulative counts and sums of placements, by dose."""

    n_members: int
    n_controls: int
    counts: dict[int, NDArray[np.int64]]
    sums: dict[int, NDArray[np.float64]]


def innocent_draws(n_members: int, n_controls: int, rng: np.random.Generator) -> Innocent:
    """A thousand random orders of members and controls; shared by all attacks and kinds of plants of an audit."""
    depth, tried = depth_of(n_controls), doses(n_members)
    counts: dict[int, list[NDArray[np.int64]]] = {dose: [] for dose in tried}
    sums: dict[int, list[NDArray[np.float64]]] = {dose: [] for dose in tried}
    for _ in range(_POOLS):
        lost = np.empty((_DRAWS_PER_POOL, n_members), dtype=np.int64)
        for row in lost:
            spacings = np.cumsum(rng.standard_exponential(n_controls + 1))
            row[:] = np.searchsorted(spacings[:-1], rng.random(n_members) * spacings[-1])
        for dose in tried:
            kept = lost[:, dose:]
            counts[dose].append(histogram(kept, depth).cumsum(axis=1))
            sums[dose].append(kept.sum(axis=1, dtype=np.float64))
    return Innocent(
        n_members,
        n_controls,
        {dose: np.concatenate(parts) for dose, parts in counts.items()},
        {dose: np.concatenate(parts) for dose, parts in sums.items()},
    )


def power_curve(
    planted: Placements, innocent: Innocent, rule: Rule, unit: Unit, rng: np.random.Generator
) -> tuple[Power, ...]:
    """Power at every dose: the share of draws in which the rule answers fail or inconclusive.

    The interval carries the error of the draws (Clopper-Pearson) and of the planted members (bootstrap over pools).
    """
    depth = depth_of(innocent.n_controls)
    above = np.append(planted.above, innocent.n_controls // 2)
    lost = np.append(planted.above + planted.tied, innocent.n_controls // 2)
    pool = rng.integers(0, len(above), (_POOLS, len(above)))
    curve = []
    for dose in doses(innocent.n_members):
        places = rng.integers(0, len(above), (_POOLS, _DRAWS_PER_POOL, dose))
        chosen = np.take_along_axis(pool[:, None, :], places, axis=2).reshape(_DRAWS, dose)
        base = innocent.counts[dose]
        counts = Tally(
            base + histogram(lost[chosen], depth).cumsum(axis=1),
            base + histogram(above[chosen], depth).cumsum(axis=1),
            1
            - (innocent.sums[dose] + (above[chosen] + lost[chosen]).sum(axis=1) / 2)
            / (innocent.n_members * innocent.n_controls),
            innocent.n_members,
            innocent.n_controls,
            planted.tie_factor,
            planted.tie_skew,
        )
        reasons = apply_rule(counts, rule)
        alarms = (reasons.fail | reasons.inconclusive).reshape(_POOLS, _DRAWS_PER_POOL)
        power = float(alarms.mean())
        within = power * (1 - power) / _DRAWS_PER_POOL
        spread = 1.96 * np.sqrt(max(0.0, float(alarms.mean(axis=1).var(ddof=1)) - within))
        found = np.array([alarms.sum()])
        curve.append(
            Power(
                dose=dose,
                share=dose / innocent.n_members,
                power=Estimate(
                    estimate=power,
                    low=max(0.0, float(clopper_pearson_low(found, _DRAWS)[0]) - spread),
                    high=min(1.0, float(clopper_pearson_high(found, _DRAWS)[0]) + spread),
                    n_members=innocent.n_members,
                    n_controls=innocent.n_controls,
                    unit=unit,
                    method=f"{_DRAWS} draws of {len(planted.above)} plants; exact, plus bootstrap of the plants",
                    direction="higher is better",
                ),
            )
        )
    return tuple(curve)


def detection_limit(curve: tuple[Power, ...]) -> Power | None:
    """The smallest dose from which on power surely is at least 95 %; None: not found up to 20 %."""
    limit = None
    for point in reversed(curve):
        if point.power.low < REQUIRED_POWER:
            break
        limit = point
    return limit
