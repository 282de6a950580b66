"""True matches beside phantom matches: how many members a list names, and how many strangers stand as high.

A match with a member may be true; one with a stranger, who was never used, cannot be. Only both numbers together tell
what a list is worth (Amin et al. 2026, arXiv 2606.16952).
"""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.record import Matches
from privaudit.statistics.tally import Placements


def matches(placed: Placements, rows: Sequence[int]) -> Matches | None:
    """Members and strangers that score at or above the lowest of these members; None without any.

    placed: members among the controls. rows: of members in it. Strangers with the same score count, and so do members
    between whom and the lowest of these no stranger stands.
    """
    if not len(rows):
        return None
    chosen = list(rows)
    members = int((placed.above <= placed.above[chosen].max()).sum())
    return Matches(members=members, strangers=int((placed.above + placed.tied)[chosen].max()))


def in_words(found: Matches) -> str:
    """Both numbers in a clause."""
    members, strangers = (
        f"{number:,} {one if number == 1 else one + 's'}"
        for number, one in ((found.members, "member"), (found.strangers, "stranger"))
    )
    return f"{members} and {strangers} score at or above"
