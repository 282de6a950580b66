"""Groups of members against the controls of the same group: by class, and by images per person. Described, not judged.

An average can hide a class whose images are few and therefore well remembered. Each group of at least `FEWEST` members
and controls is ranked on its own; Holm's correction over all groups of an attack tells which one stands out.
Smaller classes, and those that the release does not show, are told together and without names: a name that stands only
among the members, or a count of one, would give something away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.evidence import AuditFacts, Part, Scores, UnitFacts
from privaudit.images import Dataset
from privaudit.pools import Pools
from privaudit.record import Estimate, Stratum, Unit
from privaudit.statistics.detection import detect, holm
from privaudit.statistics.exposure import auc_estimate, clopper_pearson_high, clopper_pearson_low
from privaudit.statistics.rule import ALPHA_INCONCLUSIVE
from privaudit.statistics.tally import FALSE_POSITIVE_RATE, placements, tally

FEWEST = 20
"""Members and controls, each, with fewer of which a group is not assessed."""

SEVERAL = -1
"""Class of a unit whose images belong to several classes."""

OTHERS = "other classes"
"""All classes that are too small to be told one by one, or not released."""

_PARTS: tuple[Part, ...] = ("members", "controls", "fresh")
_NUMBERS = ((1, 1, "1 image"), (2, 3, "2 to 3 images"), (4, 9, "4 to 9 images"), (10, None, "10 images or more"))


def unit_facts(pools: Pools) -> dict[Part, UnitFacts]:
    """Class and number of images of each scored unit, in the order of its scores."""
    found: dict[Part, UnitFacts] = {}
    for part in _PARTS:
        data: Dataset = getattr(pools, part)
        labels = data.images.labels[getattr(pools, f"scored_{part}")]
        _, number, images = np.unique(pools.units(part), return_inverse=True, return_counts=True)
        lowest = np.full(len(images), np.iinfo(np.int64).max)
        highest = np.full(len(images), -1)
        np.minimum.at(lowest, number, labels)
        np.maximum.at(highest, number, labels)
        classes = np.where(lowest == highest, lowest, SEVERAL)
        found[part] = UnitFacts(classes=tuple(classes.tolist()), images=tuple(images.tolist()))
    return found


def strata(scores: Scores, facts: AuditFacts, released: Collection[str]) -> tuple[Stratum, ...]:
    """Every group of an attack's ranking in the release arm; empty where the evidence does not tell groups.

    released: names of the classes that the release shows.
    """
    controls = [part for part in ("controls", "fresh") if f"release {part}" in scores]
    if not all(_fits(scores, facts, part) for part in ("members", *controls)):
        return ()
    members = scores["release members"]
    others = np.concatenate([scores[f"release {part}"] for part in controls])
    placed = placements(members, others)
    above = placed.above + placed.tied <= int(FALSE_POSITIVE_RATE * len(others))
    found: list[Stratum] = []
    p_values: list[float] = []
    for kind, name, mine, theirs in _groups(facts, controls, released):
        if not mine.any():
            continue
        if min(mine.sum(), theirs.sum()) < FEWEST:
            found.append(_too_few(kind, name, int(mine.sum()), int(theirs.sum())))
            continue
        one, p = _stratum(kind, name, members[mine], others[theirs], above[mine], facts.data.unit)
        found.append(one)
        p_values.append(p)
    adjusted = iter(holm(p_values))
    return tuple(one if one.auc is None else _marked(one, next(adjusted)) for one in found)


def _fits(scores: Scores, facts: AuditFacts, part: str) -> bool:
    units = facts.units.get(part)  # type: ignore[call-overload]
    return units is not None and len(units.classes) == len(scores[f"release {part}"])


Kind = Literal["class", "images per person"]
Mask = NDArray[np.bool_]


def _groups(
    facts: AuditFacts, controls: Sequence[str], released: Collection[str]
) -> list[tuple[Kind, str, Mask, Mask]]:
    """Kind and name of each group, and which members and which controls belong to it."""
    classes, images = (_of(facts.units, name, controls) for name in ("classes", "images"))
    found: list[tuple[Kind, str, Mask, Mask]] = []
    rest = [np.zeros(len(side), dtype=np.bool_) for side in classes]
    for place, name in (*enumerate(facts.class_names), (SEVERAL, "several classes")):
        mine, theirs = (side == place for side in classes)
        if (place == SEVERAL or name in released) and min(mine.sum(), theirs.sum()) >= FEWEST:
            found.append(("class", name, mine, theirs))
        else:
            rest = [rest[0] | mine, rest[1] | theirs]
    found.append(("class", OTHERS, rest[0], rest[1]))
    if facts.data.unit == "person":
        for low, high, name in _NUMBERS:
            within = [(side >= low) & (side <= (high or side.max(initial=low))) for side in images]
            found.append(("images per person", name, within[0], within[1]))
    return found


def _of(units: Mapping[Part, UnitFacts], name: str, controls: Sequence[str]) -> tuple[NDArray[np.int64], ...]:
    mine = np.asarray(getattr(units["members"], name), dtype=np.int64)
    theirs = [np.asarray(getattr(units[part], name), dtype=np.int64) for part in controls]  # type: ignore[index]
    return mine, np.concatenate(theirs)


def _too_few(kind: Kind, name: str, members: int, controls: int) -> Stratum:
    return Stratum(
        kind=kind,
        name=name,
        members=members,
        controls=controls,
        auc=None,
        above_threshold=None,
        p_holm=None,
        stands_out=False,
    )


def _stratum(
    kind: Kind,
    name: str,
    members: NDArray[np.float64],
    controls: NDArray[np.float64],
    above: Mask,
    unit: Unit,
) -> tuple[Stratum, float]:
    hits, n = np.array([above.sum()]), len(members)
    share = Estimate(
        estimate=float(above.mean()),
        low=float(clopper_pearson_low(hits, n)[0]),
        high=float(clopper_pearson_high(hits, n)[0]),
        n_members=n,
        n_controls=len(controls),
        unit=unit,
        method="exact count above the threshold of all controls; Clopper-Pearson",
        direction="descriptive",
    )
    found = _too_few(kind, name, n, len(controls)).model_copy(
        update={"auc": auc_estimate(members, controls, unit), "above_threshold": share}
    )
    return found, float(detect(tally(placements(members, controls))).p[0])


def _marked(one: Stratum, p_holm: float) -> Stratum:
    return one.model_copy(update={"p_holm": p_holm, "stands_out": p_holm <= ALPHA_INCONCLUSIVE})
