"""From the sources that were named to data: places checked first, then images loaded and matched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.cli.terminal import Announcer
    from privaudit.configuration import Data
    from privaudit.images import Dataset

NAME = "candidate"
PARTS = ("members", "controls", "fresh", "reference", "test")
ALREADY = "already released"
SIBLINGS = "siblings"


@dataclass(frozen=True)
class Parts:
    """The data of a run. window: how deep pixels were read, for what is read later. public: what is public already.
    siblings: other images of the persons in them, which no engine is fed. split_notes: what was set aside, and why.
    """

    members: Dataset
    controls: Dataset | None
    fresh: Dataset | None
    reference: Dataset | None
    test: Dataset | None
    random_split: bool
    window: tuple[float, float] | None
    public: Dataset | None = None
    siblings: Dataset | None = None
    split_notes: tuple[str, ...] = ()

    @property
    def named(self) -> dict[str, Dataset]:
        """Those that there are, by name."""
        return {part: data for part in (*PARTS, SIBLINGS) if (data := getattr(self, part)) is not None}

    @property
    def notes(self) -> tuple[str, ...]:
        """What was converted, part by part."""
        if self.random_split:
            return (*self.members.notes, *self.split_notes)
        return tuple(f"{part}: {note}" for part, data in self.named.items() for note in data.notes)


def sources_of(data: Data) -> dict[str, str]:
    """The sources by the name of their part, without those that were left out."""
    return {part: source for part in (*PARTS, SIBLINGS, "source") if (source := getattr(data, part)) is not None}


def check_places(out: Path, store: Path, sources: Mapping[str, str], shared: str = "share") -> None:
    """Raise InputError where results would land among the data, or private work in what is passed on.

    shared: the part of `out` that is meant to be passed on.
    """
    from privaudit.data.loading import is_named

    folders = {
        option: Path(source).resolve()
        for option, source in sources.items()
        if not is_named(source) and Path(source).is_dir()
    }
    for wanted, place in (("--out", out), ("--store", store)):
        for option, folder in folders.items():
            if place.resolve().is_relative_to(folder):
                raise InputError(
                    f"{wanted} '{place}' lies in the folder of the {option}. Results must not land among the data: "
                    f"choose a place outside it with {wanted}."
                )
    if store.resolve().is_relative_to((out / shared).resolve()):
        raise InputError(
            f"--store '{store}' lies in '{out / shared}', which is meant to be passed on, but the store holds private "
            "images. Choose another place with --store."
        )


def load_parts(data: Data, seed: int, announce: Announcer, *, linked: Callable[[], bool] = lambda: False) -> Parts:
    """The images of a run; what was converted is announced as notes.

    linked: whether attacks rank siblings that must be set aside before an engine is fed; asked only where persons are
    known.
    """
    from privaudit.data.loading import load, match_classes

    if data.split is not None:
        parts = _split(data, seed, announce)
        return _with_siblings(parts, seed, announce) if parts.members.groups is not None and linked() else parts
    with named_part("members"):
        announce("reading the members")
        window = _window(data.window, str(data.members), announce)
        members = load(str(data.members), window=window, size=data.size, root=data.root)
        announce_notes("members", members, announce)

    def other(role: str) -> Dataset | None:
        source = getattr(data, role)
        if source is None:
            return None
        with named_part(role):
            announce(f"reading the {role}")
            found = match_classes(members, load(source, window=window, size=data.size, root=data.root), role)
            announce_notes(role, found, announce)
        return found

    parts = Parts(members, other("controls"), other("fresh"), other("reference"), other("test"), False, window)
    if data.siblings is not None:
        parts = replace(parts, siblings=_siblings(parts, other("siblings")))
    refuse_same(parts.named)
    return parts


def _siblings(parts: Parts, found: Dataset | None) -> Dataset | None:
    """Raise InputError for siblings that show nobody in the members, or nobody known."""
    import numpy as np

    if found is None:
        return None
    if parts.members.groups is None or found.groups is None:
        which = "members" if parts.members.groups is None else "siblings"
        raise InputError(
            f"--siblings needs to be told who is shown: the {which} have no groups. Give persons (groups) in the "
            "members, the controls and the siblings, or leave --siblings out."
        )
    if not np.isin(found.units, parts.members.units[np.char.startswith(parts.members.units, "group ")]).any():
        raise InputError(
            "The siblings show no person who is in the members: no group has the same name in both. Siblings are other "
            "images of the members' persons, never used to make the candidate."
        )
    return found


def _with_siblings(parts: Parts, seed: int, announce: Announcer) -> Parts:
    """The parts of a split without one image of every person with several, which becomes a sibling."""
    from privaudit.siblings import set_aside

    if parts.controls is None or parts.fresh is None:
        return parts
    split = {"members": parts.members, "controls": parts.controls, "fresh": parts.fresh}
    kept, siblings = set_aside(split, seed)
    if siblings is None:
        return parts
    taken = len(parts.members) - len(kept["members"])
    note = (
        f"{len(siblings):,} images, one of every person with several, were set aside and are fed to no engine: attacks "
        f"that link persons need them. {taken:,} of them are of the members' persons."
    )
    announce.note(note)
    return replace(
        parts,
        members=kept["members"],
        controls=kept["controls"],
        fresh=kept["fresh"],
        siblings=siblings,
        split_notes=(note,),
    )


def _split(data: Data, seed: int, announce: Announcer) -> Parts:
    from privaudit import seeds
    from privaudit.data.loading import load
    from privaudit.splits import random_split

    source, split = str(data.source), data.split
    if split is None:
        raise InputError("A 'source' needs a 'split': how many images go to each part.")
    with named_part("source"):
        announce("reading the source")
        window = _window(data.window, source, announce)
        found = load(source, window=window, size=data.size, root=data.root)
        for note in found.notes:
            announce.note(note)
        announce("splitting it at random")
        counts = [getattr(split, part) for part in PARTS]
        parts = random_split(found, counts, seeds.generator(seed, "split"))
        empty = [name for name, count, part in zip(PARTS, counts, parts, strict=True) if count and not len(part)]
        if empty:
            raise InputError(
                f"Nothing is left for {', '.join(empty)}: a person's images and near-duplicates stay together, and too "
                "many of these are alike. Give more different images, or ask for fewer in the other parts."
            )
    members, controls, fresh, reference, test = parts
    return Parts(members, controls, fresh, reference, test if len(test) else None, True, window)


def announce_notes(role: str, data: Dataset, announce: Announcer) -> None:
    """Say what was converted in a part of the data."""
    for note in data.notes:
        announce.note(f"{role}: {note}")


@contextlib.contextmanager
def named_part(part: str) -> Iterator[None]:
    """Say which part of the data an error is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{part}: {error}") from error


def refuse_same(parts: Mapping[str, Dataset | None]) -> None:
    """Raise InputError where two parts got the same images.

    Members in what is released are a leak, no mistake; and a release may repeat what is public already.
    """
    known = {role: set(part.images.image_digests()) for role, part in parts.items() if part is not None}
    for first, second in combinations(known, 2):
        smaller = min(len(known[first]), len(known[second]))
        same = len(known[first] & known[second])
        allowed = all(role in ("members", "release") or role.startswith(ALREADY) for role in (first, second))
        if not allowed and 2 * same > smaller and ALREADY in f"{first} {second}":
            raise InputError(
                f"{same:,} images of the {first if second.startswith(ALREADY) else second} are public already, pixel "
                "by pixel. Controls, fresh, reference and test images must not be: give others."
            )
        if not allowed and 2 * same > smaller:
            raise InputError(
                f"The {first} and the {second} have {same:,} images in common, pixel by pixel. Each part needs images "
                "of its own: controls, fresh and reference images are those that were never used for the candidate."
            )


def _window(text: str | None, source: str, announce: Announcer) -> tuple[float, float] | None:
    from privaudit.data.loading import members_window

    if text is None:
        return None
    if text == "auto":
        found = members_window(source)
        shown = "the members have no more than 8 bits, so it has no effect" if found is None else "{:g},{:g}"
        announce.note(f"--window auto: {shown.format(*(found or ()))}")
        return found
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"A window is 'auto' or two numbers LOW,HIGH; found '{text}'.") from None
    if not low < high:
        raise InputError(f"A window needs LOW below HIGH; found '{text}'.")
    return low, high


def attack_names(names: str | None) -> list[str]:
    """Names of the attacks to run, sorted; all installed ones by default. Unknown ones are refused unloaded."""
    from privaudit.plugins import ATTACKS, installed

    chosen = installed(ATTACKS) if names is None else [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise InputError("No attack is named by --attacks; leave it out to run all installed ones.")
    check_attacks(chosen)
    return sorted(set(chosen))


def check_attacks(names: Iterable[str]) -> None:
    """Raise InputError for an attack that is not installed; none is loaded."""
    from privaudit.errors import suggestion
    from privaudit.plugins import ATTACKS, installed

    points = installed(ATTACKS)
    for name in names:
        if name not in points:
            raise InputError(f"There is no attack '{name}'. {suggestion(name, points)} See: privaudit plugins")


def find_device(choice: str) -> str:
    """The device of this name; 'auto': a GPU of CUDA where there is one, else the CPU."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if choice == "auto":
        return "cuda" if available["cuda"] else "cpu"
    if not available[choice]:
        found = ", ".join(device for device in available if available[device])
        raise InputError(f"This machine has no device '{choice}'; found: {found}. Leave --device out.")
    return choice


@contextlib.contextmanager
def working_on(cluster: str | None, workers: int | None) -> Iterator[None]:
    """Within the block, tasks run on this Ray cluster; None: on this machine.

    Raises InputError where no cluster answers, or processes were asked for beside it.
    """
    if cluster is None:
        yield
        return
    from privaudit.execution import on_cluster

    if workers is not None:
        raise InputError("--workers is for the processes of this machine; leave it out, or leave out --cluster.")
    with on_cluster(cluster):
        yield


def workers_for(device: str, given: int | None) -> int:
    """How many tasks run at a time: as many as cores, but one where they would share a GPU; those of a cluster."""
    from privaudit.execution import at_a_time

    return at_a_time(find_device(device)) if given is None else given


def measures(skip: str | None) -> tuple[str, ...]:
    """What is measured beside the attacks, without what --skip names."""
    from privaudit.errors import suggestion
    from privaudit.plan import MEASURES

    left_out = [] if skip is None else [name.strip() for name in skip.split(",") if name.strip()]
    for name in left_out:
        if name not in MEASURES:
            raise InputError(f"--skip '{name}' is not known. {suggestion(name, MEASURES)}")
    return tuple(name for name in MEASURES if name not in left_out)
