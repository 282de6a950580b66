"""Attacks that recover k images: the endpoint is the share of members among their k best-scored suspects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from privaudit.errors import InputError
from privaudit.record import Estimate, Unit
from privaudit.statistics.exposure import clopper_pearson_high, clopper_pearson_low
from privaudit.statistics.units import ranked_last

SMALLEST_REACH = 20
LARGEST_SHARE_OF_POOL = 0.1


def endpoint(reach: int | None, n_members: int, n_controls: int) -> int | None:
    """The k that is judged: at least 20 and at most a tenth of the smaller pool, else None (unlimited endpoint)."""
    if reach is None or reach < SMALLEST_REACH or reach > LARGEST_SHARE_OF_POOL * min(n_members, n_controls):
        return None
    return reach


def hits_at(
    members: NDArray[np.float64], controls: NDArray[np.float64], reach: int, unit: Unit
) -> tuple[Estimate, float]:
    """Share of members among the `reach` best-scored suspects, and its exact p value.

    Ties across the boundary: the share takes the expectation, p counts tied controls first, and each end of the
    interval breaks them its own way.
    """
    total = len(members) + len(controls)
    if total < reach:
        raise InputError(f"A reach of {reach} needs as many suspects; found {total}.")
    members, controls = ranked_last(members), ranked_last(controls)
    boundary = np.sort(np.concatenate([members, controls]))[total - reach]
    sure, tied = int((members > boundary).sum()), int((members == boundary).sum())
    tied_controls = int((controls == boundary).sum())
    places = reach - sure - int((controls > boundary).sum())
    fewest, most = sure + max(0, places - tied_controls), sure + min(places, tied)
    estimate = Estimate(
        estimate=(sure + places * tied / (tied + tied_controls)) / reach,
        low=float(clopper_pearson_low(np.array([fewest]), reach)[0]),
        high=float(clopper_pearson_high(np.array([most]), reach)[0]),
        n_members=len(members),
        n_controls=len(controls),
        unit=unit,
        method=f"members among the {reach} best-scored suspects; Clopper-Pearson",
        direction="lower is safer",
    )
    return estimate, float(stats.hypergeom.sf(fewest - 1, total, len(members), reach))


def detectable_share(
    reach: int, n_members: int, n_controls: int, alpha: float = 0.01, success: float = 1.0, power: float = 0.95
) -> float | None:
    """Smallest share of verbatim copies in the release that the hits among `reach` recoveries would reveal with this
    power; None where not even a release of copies alone would.

    success: probability that a used image is recovered. A recovered copy is a hit for sure; anything else is a hit by
    chance.
    """
    total = n_members + n_controls
    hits = np.arange(reach + 1)
    critical = int(np.argmax(stats.hypergeom.sf(hits - 1, total, n_members, reach) <= alpha))
    if stats.hypergeom.sf(critical - 1, total, n_members, reach) > alpha:
        return None
    return _smallest_share(lambda found: found + (1 - found) * n_members / total, critical, reach, success, power)


def detectable_share_by_rank(
    reach: int, n_members: int, n_controls: int, alpha: float = 0.01, success: float = 1.0, power: float = 0.95
) -> float | None:
    """The same where R0 judges at `alpha`: only recovered copies, which are ahead of every control, are counted."""
    ahead = np.arange(min(reach, n_members) + 1)
    # All of the first so many places are taken by members.
    p = np.exp(np.cumsum(np.log(np.append(1.0, (n_members - ahead[:-1]) / (n_members + n_controls - ahead[:-1])))))
    if p[-1] > alpha:
        return None
    return _smallest_share(lambda found: found, int(np.argmax(p <= alpha)), reach, success, power)


def _smallest_share(
    hit: Callable[[float], float], critical: int, reach: int, success: float, power: float
) -> float | None:
    for share in np.arange(1, 101) / 100:
        if stats.binom.sf(critical - 1, reach, hit(share * success)) >= power:
            return float(share)
    return None
