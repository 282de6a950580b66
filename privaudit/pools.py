"""Who is scored against whom: members and controls made comparable, suspects chosen, units of counting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.duplicates import Pairs, Thresholds, linked, straddling, surplus
from privaudit.errors import InputError
from privaudit.identical import public_already
from privaudit.images import Dataset, Images, concatenate
from privaudit.record import Unit
from privaudit.splits import share_out

if TYPE_CHECKING:
    from privaudit.siblings import Siblings

CONTROL_SHARES = {"scored": 0.6, "fresh": 0.2, "reference": 0.2}

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pools:
    """The data of an audit.

    scored_*: rows of the suspects. straddling_members: rows not assessed, because a control is nearly the same image
    or shows the same person, or because they are beside one that is public already; public_members: rows not assessed
    because these very images are public already. left_out_controls: controls and fresh images left out likewise.
    siblings: other images of these persons; None: not looked for.
    """

    members: Dataset
    controls: Dataset
    fresh: Dataset
    reference: Dataset
    scored_members: Rows
    scored_controls: Rows
    scored_fresh: Rows
    straddling_members: Rows
    left_out_controls: int
    near_duplicate_thresholds: Thresholds | tuple[None, None]
    unit: Unit
    public_members: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    siblings: Siblings | None = None

    def units(self, part: str) -> NDArray[np.str_]:
        """Unit of each scored row of 'members', 'controls' or 'fresh'."""
        data: Dataset = getattr(self, part)
        rows: Rows = getattr(self, f"scored_{part}")
        return data.units[rows]

    def images(self, part: str) -> Images:
        """The scored images of 'members', 'controls' or 'fresh'."""
        data: Dataset = getattr(self, part)
        rows: Rows = getattr(self, f"scored_{part}")
        return data.images.take(rows)

    def count(self, *parts: str) -> int:
        """Scored units in these parts together."""
        return sum(len(np.unique(self.units(part))) for part in parts)


def _sample(data: Dataset, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    """At most `most` rows: whole units in random order, dealt class by class in proportion."""
    if len(rows) <= most:
        return rows
    units = data.units[rows]
    names, first, number = np.unique(units, return_index=True, return_inverse=True)
    label = data.images.labels[rows][first]
    order = rng.permutation(len(names))
    # Place of each unit within its class, as a share of the class: equal shares of all classes come first.
    place = np.empty(len(names))
    for value in np.unique(label):
        own = order[label[order] == value]
        place[own] = (np.arange(len(own)) + rng.random()) / len(own)
    sizes = np.bincount(number)
    chosen = np.argsort(place, kind="stable")
    kept = chosen[np.cumsum(sizes[chosen]) <= most]
    return rows[np.isin(number, kept)]


def split_controls(controls: Dataset, fresh: Dataset | None, reference: Dataset | None, seed: int) -> list[Dataset]:
    """Controls, fresh and reference: what is not given is split off the controls once, by seed and by unit."""
    needed = {
        name: share
        for name, share in CONTROL_SHARES.items()
        if name == "scored" or (name == "fresh" and fresh is None) or (name == "reference" and reference is None)
    }
    if len(needed) == 1:
        parts = [controls]
    else:
        total = sum(needed.values())
        rng = seeds.generator(seed, "split of the controls")
        parts = share_out(controls, [share / total for share in needed.values()], rng)
    named = dict(zip(needed, parts, strict=True))
    return [named["scored"], named.get("fresh", fresh), named.get("reference", reference)]  # type: ignore[list-item]


def make_pools(
    members: Dataset,
    controls: Dataset,
    fresh: Dataset | None,
    reference: Dataset | None,
    *,
    max_suspects: int,
    seed: int,
    random_split: bool = False,
    public: Images | None = None,
    link: Callable[[Images], tuple[Pairs, Thresholds]] = linked,
) -> Pools:
    """Split the controls, leave out straddling pairs from both sides, and choose the suspects.

    random_split: near-duplicates were kept together by the split, so that no pair straddles. Reference images that are
    nearly a suspect, or show the same person, are dropped: they would hide that suspect. link: finds near-duplicates.

    public: images that are public already, which the attackers see too. A member that is among them pixel by pixel
    would rank on top of every attack for a reason that is not the candidate's: it is no suspect. Nor are its
    near-duplicates and the other images of its person, which lie close to it: these are not assessed. Controls are
    left out by the same rule, so that neither side is thinned alone. Members that are public in a changed form stay:
    whether they are recognised there is what the attacks try.
    """
    parts = split_controls(controls, fresh, reference, seed)
    if min(len(part) for part in parts) == 0:
        raise InputError(
            f"{len(controls)} controls are too few to be shared out into controls, fresh and reference images. Give "
            "more, or give --fresh and --reference."
        )
    scored, fresh_part, own = parts
    for name, part in (("controls", scored), ("fresh images", fresh_part)):
        if (part.groups is None) != (members.groups is None):
            raise InputError(
                f"Persons (groups) are known for the members but not for the {name}, or the other way round. A person "
                "with many images scores higher than one image, so they cannot be compared: give groups for both, or "
                "for neither."
            )
    if own.images.size != members.images.size:
        raise InputError(f"Reference images are {own.images.size}, members {members.images.size}: give one size.")
    everything = [("m", members), ("c", scored), ("f", fresh_part), ("r", own)]
    published = np.concatenate([public_already(data.images, public) for _, data in everything[:3]])
    pairs: Pairs = np.zeros((0, 2), dtype=np.int64)
    thresholds: Thresholds | tuple[None, None] = (None, None)
    if not random_split or published.any():
        pairs, thresholds = link(concatenate([data.images for _, data in everything]))
    all_units = [units_of_side(name, data) for name, data in everything]
    n_suspects = len(members) + len(scored) + len(fresh_part)
    crossing = pairs[:0] if random_split else pairs
    known = straddling(all_units, crossing, n_suspects)[n_suspects:]
    own = own.take(np.flatnonzero(~known))
    if len(own) == 0:
        raise InputError("All reference images are nearly the same as members or controls; give others.")
    pairs, all_units = pairs[(pairs < n_suspects).all(axis=1)], all_units[:3]
    crossing = pairs[:0] if random_split else pairs
    out = straddling(all_units, crossing, len(members)) | _beside(all_units, pairs, published)
    out |= surplus(all_units, pairs, len(members), out, seeds.generator(seed, "surplus of near-duplicates"))
    ends = np.cumsum([len(members), len(scored), len(fresh_part)])
    out_members, out_controls, out_fresh = np.split(out, ends[:-1])

    def suspects(name: str, data: Dataset, left_out: NDArray[np.bool_], most: int) -> Rows:
        rows = np.flatnonzero(~left_out)
        return _sample(data, rows, most, seeds.generator(seed, "suspects", name))

    controls_rows = suspects("controls", scored, out_controls, max_suspects)
    return Pools(
        members,
        scored,
        fresh_part,
        own,
        suspects("members", members, out_members, max_suspects),
        controls_rows,
        suspects("fresh", fresh_part, out_fresh, max_suspects),
        np.flatnonzero(out_members & ~published[: len(members)]),
        int(out_controls.sum() + out_fresh.sum()),
        (None, None) if random_split else thresholds,
        "image" if members.groups is None else "person",
        np.flatnonzero(published[: len(members)]),
    )


def _beside(units: list[NDArray[np.str_]], pairs: Pairs, published: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of the units in which a row is public already, or is linked to one that is."""
    pooled = np.concatenate(units)
    touching = pairs[published[pairs].any(axis=1)]
    return np.isin(pooled, np.concatenate([pooled[published], pooled[touching.ravel()]]))


def units_of_side(name: str, data: Dataset) -> NDArray[np.str_]:
    """Units that agree between datasets exactly where the group is the same."""
    named = np.char.add(f"{name} ", data.units)
    return named if data.groups is None else np.where(np.char.startswith(data.units, "group "), data.units, named)
