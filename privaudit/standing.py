"""The worst member beside the averages, and the fewest exposed members that a ranking of this size can show."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privaudit.record import WorstMember
from privaudit.statistics.detection import r0_probability
from privaudit.statistics.rule import ALPHA_INCONCLUSIVE
from privaudit.statistics.tally import Placements


def worst_member(placed: Placements, ids: Sequence[str]) -> WorstMember | None:
    """The member with the fewest controls above it (of several the first); None without members or controls.

    placed: members among the controls of the release arm. ids: neutral id of each member.
    """
    if not len(placed.above) or not placed.n_controls:
        return None
    row = int(np.lexsort((placed.tied, placed.above))[0])
    above, tied = int(placed.above[row]), int(placed.tied[row])
    n_members, n_controls = len(placed.above), placed.n_controls
    return WorstMember(
        id=ids[row],
        above=above,
        tied=tied,
        among=n_controls,
        chance=n_controls / (n_members + 1),
        p=_at_most_above_the_best(above + tied, n_members, n_controls),
    )


def _at_most_above_the_best(count: int, n_members: int, n_controls: int) -> float:
    """Probability that at most `count` controls stand above the best member in a random order of all."""
    if count >= n_controls:
        return 1.0
    places = np.arange(count + 1)
    all_controls = np.log(n_controls - places) - np.log(n_members + n_controls - places)
    return float(-np.expm1(all_controls.sum()))


def fewest_visible(n_members: int, n_controls: int) -> int | None:
    """The smallest number of members which, standing above every control, chance explains in at most 5 % of audits.

    A rank test that finds every one of fewer exposed members still cannot tell them from chance. None: no number can.
    """
    counts = np.arange(1, n_members + 1)
    p = r0_probability(counts, n_members, n_controls)
    enough = np.flatnonzero(p <= ALPHA_INCONCLUSIVE)
    return int(counts[enough[0]]) if len(enough) else None
