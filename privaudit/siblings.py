"""Siblings: other images of the persons in members, controls and fresh images, which no engine was fed.

Who holds another photograph of somebody may try to link it to the release. Members and controls must be treated alike:
one sibling per person, drawn by seed, and only of persons of whom two different images are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.attack import Attack, Ranked, ranks
from privaudit.identical import public_already
from privaudit.images import Dataset, Images, concatenate
from privaudit.pools import Pools

PARTS = ("members", "controls", "fresh")

FEWEST = 20
"""Members' persons with a sibling, and persons of the controls, with fewer of which nothing can be told."""

SHARE_NEEDS = 300
"""Persons on each side from which on a share found at 1 % false accusations is told."""


@dataclass(frozen=True, eq=False)
class Siblings:
    """One other image of each person that can be assessed, by part, sorted by person."""

    parts: Mapping[str, Dataset]

    def images(self, part: str) -> Images:
        """The siblings of 'members', 'controls' or 'fresh'."""
        return self.parts[part].images

    def units(self, part: str) -> NDArray[np.str_]:
        """The person on each."""
        return self.parts[part].units

    def count(self, *parts: str) -> int:
        """Persons in these parts together."""
        return sum(len(self.parts[part]) for part in parts)


def enough(n_members: int, n_controls: int, needed: int = FEWEST) -> bool:
    """Whether both sides hold so many persons."""
    return min(n_members, n_controls) >= needed


def shows_share(ranked: Ranked, n_members: int, n_controls: int) -> bool:
    """Whether so many persons show which share of them an attack exposes; always for attacks on suspects."""
    return ranked == "suspects" or enough(n_members, n_controls, SHARE_NEEDS)


def one_each(data: Dataset, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of one image of every person of whom the data hold another, different one; at random."""
    if data.groups is None:
        return np.zeros(0, dtype=np.int64)
    content = data.images.image_digests()
    first: dict[str, int] = {}
    chosen: dict[str, int] = {}
    for row in rng.permutation(_known(data)).tolist():
        person = str(data.units[row])
        if person not in first:
            first[person] = row
        elif person not in chosen and content[row] != content[first[person]]:
            chosen[person] = row
    return np.array(sorted(chosen.values()), dtype=np.int64)


def _known(data: Dataset) -> NDArray[np.int64]:
    """Rows of which it is known who is shown."""
    return np.flatnonzero(np.char.startswith(data.units, "group ")).astype(np.int64)


def set_aside(parts: Mapping[str, Dataset], seed: int) -> tuple[dict[str, Dataset], Dataset | None]:
    """Take one image of every person with two different ones out of each part: the parts without, and the siblings.

    The siblings come as one dataset; None, and the parts as they were, where too few persons have two images.
    """
    drawn = {name: one_each(part, seeds.generator(seed, "siblings", name)) for name, part in parts.items()}
    others = sum(len(rows) for name, rows in drawn.items() if name != "members")
    if not enough(len(drawn["members"]), others):
        return dict(parts), None
    taken = [parts[name].take(rows) for name, rows in drawn.items() if len(rows)]
    kept = {name: part.take(np.setdiff1d(np.arange(len(part)), drawn[name])) for name, part in parts.items()}
    return kept, _joined(taken)


def _joined(parts: list[Dataset]) -> Dataset:
    first = parts[0]
    groups = np.concatenate([part.groups for part in parts if part.groups is not None])
    names = tuple(name for part in parts for name in part.names)
    return Dataset(concatenate([part.images for part in parts]), first.class_names, groups, names, first.source)


def find_siblings(pools: Pools, given: Dataset | None, public: Images | None, seed: int) -> Siblings | None:
    """One sibling of every scored person who has one; None where persons are not known, or none was given.

    given: other images of persons in the members, and perhaps of persons in controls and fresh images. Where it shows
    none of these, an image of every such person with two is taken: no engine was fed any of theirs. It stays among the
    controls of the other attacks.
    """
    if given is None or given.groups is None or pools.unit != "person":
        return None
    found = {}
    given = given.take(_known(given))
    shown = bool(np.isin(given.units, np.concatenate([pools.units("controls"), pools.units("fresh")])).any())
    for part in PARTS:
        data: Dataset = getattr(pools, part)
        scored = data.take(getattr(pools, f"scored_{part}"))
        rng = seeds.generator(seed, "sibling of each", part)
        if part == "members" or shown:
            known = given.take(np.flatnonzero(np.isin(given.units, scored.units)))
            same = set(scored.images.image_digests())
            other = [row for row, digest in enumerate(known.images.image_digests()) if digest not in same]
            found[part] = _first_of_each(known.take(np.array(other, dtype=np.int64)), rng)
        else:
            found[part] = scored.take(one_each(scored, rng))
        hidden = ~public_already(found[part].images, public)
        found[part] = _sorted(found[part].take(np.flatnonzero(hidden)))
    return Siblings(found)


def _first_of_each(data: Dataset, rng: np.random.Generator) -> Dataset:
    order = rng.permutation(len(data))
    _, first = np.unique(data.units[order], return_index=True)
    return data.take(order[first])


def _sorted(data: Dataset) -> Dataset:
    return data.take(np.argsort(data.units, kind="stable"))


def lacking_siblings(attack: Attack, pools: Pools) -> str | None:
    """Why an attack that ranks siblings cannot be run on these data; None where it can, or ranks none."""
    if ranks(attack) != "siblings":
        return None
    start = f"{attack.name} was not run: "
    if pools.unit != "person":
        return f"{start}the data do not say which images show the same person (groups)"
    found = pools.siblings
    if found is None:
        return f"{start}no other images of the members' persons are known (--siblings)"
    members, others = found.count("members"), found.count("controls", "fresh")
    if enough(members, found.count("controls")):
        return None
    return (
        f"{start}another image is known of {members:,} {'person' if members == 1 else 'persons'} of the members and of "
        f"{others:,} of the controls; it needs {FEWEST} of each"
    )
