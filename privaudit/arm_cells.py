"""The runs that one candidate needs: every attack on every arm, and on planted members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privaudit import seeds
from privaudit.arms import arms_of, class_counts, like
from privaudit.artifacts import analogue, grown, lacking, put_artifacts
from privaudit.attack import Attack, EngineBound, Ranked, finds_plants, ranks
from privaudit.piles import Pile, put_images
from privaudit.plan import Plan
from privaudit.plants import Planting, plan, planted
from privaudit.pools import Pools
from privaudit.release import Release
from privaudit.siblings import lacking_siblings
from privaudit.store import Store

Piles = Mapping[tuple[Ranked, bool], Pile]
"""By what is ranked, and whether fresh images are in it."""

SHOWN = {
    "release": "the candidate",
    "raw": "the members themselves",
    "fresh": "images that nobody used",
    "positive": "members that the engine was run on, with the truth",
    "negative": "images that nobody used, after the engine",
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One attack on one arm of one release. arm: its name, or the number of a planting.

    beside: what the attack looks at beside the images, in the store. analogue: the same, to be made in this arm.
    bound: the attack with what it read off the candidate, where it is bound to an engine; sources: the images that
    the engine was fed in this arm.
    """

    release: str
    attack: str
    arm: str
    pile: Pile
    stored: dict[str, str]
    planting: Planting | None = None
    beside: Mapping[str, str] = field(default_factory=dict)
    analogue: Mapping[str, Any] = field(default_factory=dict)
    bound: Attack | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


def cells_of(
    candidate: str, shown: Release, plan_: Plan, attacks: Mapping[str, Attack], pools: Pools, piles: Piles, store: Store
) -> list[Cell]:
    """All runs that one candidate needs. candidate: its name. shown: what its attackers see."""
    usable = {
        name: attack
        for name, attack in attacks.items()
        if lacking(attack, shown) is None and lacking_siblings(attack, pools) is None
    }
    shape, raw, fresh = class_counts(shown.images), pools.images("members"), pools.fresh.images
    stored = (
        put_images(store, shown.images),
        put_images(store, raw.take(like(raw, shape, seeds.generator(plan_.seed, "raw")))),
        put_images(store, fresh.take(like(fresh, shape, seeds.generator(plan_.seed, "fresh")))),
    )
    bound = {name: attack.bound_to(shown) for name, attack in usable.items() if isinstance(attack, EngineBound)}
    fed = (put_images(store, pools.members.images) if bound else {}, *stored[1:])
    cells = [
        Cell(
            candidate,
            name,
            arm,
            piles[ranks(attack), arm == "release"],
            images,
            beside=put_artifacts(store, attack, shown) if arm == "release" else {},
            analogue={} if arm == "release" else analogue(attack, shown),
            bound=bound.get(name),
            sources=sources if name in bound else {},
        )
        for name, attack in usable.items()
        for arm, images, sources in zip(arms_of(attack), stored, fed, strict=True)
    ]
    finding = {name: attack for name, attack in usable.items() if finds_plants(attack)}
    for number, planting in enumerate(_plantings(plan_, pools, len(shown.images))):
        plants = planted(planting, pools.members.images, shown.images, seeds.generator(plan_.seed, "plants", number))
        places = seeds.generator(plan_.seed, "plant places", number)
        order = places.permutation(len(shown.images) + len(plants))
        mixed = grown(shown, plants, order, seeds.generator(plan_.seed, "plant soft labels", number))
        images, arm = put_images(store, mixed.images), f"plants {number + 1}"
        cells += [
            Cell(
                candidate, name, arm, piles[ranks(attack), True], images, planting, put_artifacts(store, attack, mixed)
            )
            for name, attack in finding.items()
        ]
    return cells


def _plantings(plan_: Plan, pools: Pools, n_release: int) -> list[Planting]:
    rows = pools.scored_members
    _, first = np.unique(pools.units("members"), return_index=True)
    one_each = [int(row) for row in rows[np.sort(first)]]
    return plan(one_each, n_release, seeds.generator(plan_.seed, "planting"), plan_.kinds)
