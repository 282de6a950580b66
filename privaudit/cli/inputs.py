"""From the sources on the command line to an audit: places checked first, then data loaded and matched."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.audit import Plan
    from privaudit.cli.terminal import Announcer
    from privaudit.images import Dataset

NAME = "candidate"
_NAME = re.compile(r"\w[\w .+-]{0,59}")


@dataclass(frozen=True)
class Sources:
    """What the user pointed at, as written, and how it is to be read."""

    members: str
    controls: str | None
    release: str
    fresh: str | None = None
    reference: str | None = None
    size: int | None = None
    window: str | None = None
    root: Path | None = None

    def given(self) -> dict[str, str]:
        """The sources by option name, without those that were left out."""
        parts = ("members", "controls", "fresh", "reference", "release")
        return {part: source for part in parts if (source := getattr(self, part)) is not None}


def check_places(out: Path, store: Path, sources: Mapping[str, str]) -> None:
    """Raise InputError where results would land among the data, or private work in what is passed on."""
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
                    f"{wanted} '{place}' lies in the folder of --{option}. Results must not land among the data: "
                    f"choose a place outside it with {wanted}."
                )
    if store.resolve().is_relative_to((out / "share").resolve()):
        raise InputError(
            f"--store '{store}' lies in '{out / 'share'}', which is meant to be passed on, but the store holds private "
            "images. Choose another place with --store."
        )


def check_name(name: str) -> str:
    """The name of the candidate in the report. Raises InputError for one that would not be readable everywhere."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name '{name}' is not usable. A name has 1 to 60 letters, digits, spaces or . + - _ and begins with a "
            "letter or digit."
        )
    return name


def load_plan(sources: Sources, name: str, announce: Announcer) -> Plan:
    """An audit of the candidate that lies in the sources; what was converted is announced as notes."""
    from privaudit.audit import Candidate, Plan
    from privaudit.data.filescan import scan
    from privaudit.data.loading import load, load_release, match_classes, match_release

    with _named("members"):
        announce("reading the members")
        window = _window(sources, announce)
        members = load(sources.members, window=window, size=sources.size, root=sources.root)
        _announce_notes("members", members, announce)

    def other(role: str, source: str | None) -> Dataset | None:
        if source is None:
            return None
        with _named(role):
            announce(f"reading the {role}")
            data = match_classes(members, load(source, window=window, size=sources.size, root=sources.root), role)
            _announce_notes(role, data, announce)
        return data

    parts = {role: other(role, getattr(sources, role)) for role in ("controls", "fresh", "reference")}
    with _named("release"):
        announce("reading the release")
        published, data = load_release(sources.release, window=window, size=sources.size, root=sources.root)
        published, data = match_release(members, published, data)
        _announce_notes("release", data, announce)
    _refuse_same({"members": members, **parts, "release": data})
    announce("looking for traces in the released files")
    candidate = Candidate(name, published, data, scan(sources.release, members, data))
    loaded = {"members": members, **parts, "release": data}
    notes = tuple(f"{role}: {note}" for role, part in loaded.items() if part is not None for note in part.notes)
    return Plan(members, [candidate], {}, parts["controls"], parts["fresh"], parts["reference"], notes=notes)


def _announce_notes(role: str, data: Dataset, announce: Announcer) -> None:
    for note in data.notes:
        announce.note(f"{role}: {note}")


@contextlib.contextmanager
def _named(option: str) -> Iterator[None]:
    """Say which option an error is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"--{option}: {error}") from error


def _refuse_same(parts: Mapping[str, Dataset | None]) -> None:
    """Raise InputError where two options got the same images; members in the release are a leak, no mistake."""
    known = {role: set(part.images.image_digests()) for role, part in parts.items() if part is not None}
    for first, second in combinations(known, 2):
        smaller = min(len(known[first]), len(known[second]))
        same = len(known[first] & known[second])
        if {first, second} != {"members", "release"} and 2 * same > smaller:
            raise InputError(
                f"--{first} and --{second} have {same:,} images in common, pixel by pixel. Each option needs images of "
                "its own: controls, fresh and reference images are those that were never used for the candidate."
            )


def _window(sources: Sources, announce: Announcer) -> tuple[float, float] | None:
    from privaudit.data.loading import members_window

    text = sources.window
    if text is None:
        return None
    if text == "auto":
        found = members_window(sources.members)
        shown = "the members have no more than 8 bits, so it has no effect" if found is None else "{:g},{:g}"
        announce.note(f"--window auto: {shown.format(*(found or ()))}")
        return found
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--window is 'auto' or two numbers LOW,HIGH; found '{text}'.") from None
    if not low < high:
        raise InputError(f"--window needs LOW below HIGH; found '{text}'.")
    return low, high


def attack_names(names: str | None) -> list[str]:
    """Names of the attacks to run, sorted; all installed ones by default. Unknown ones are refused unloaded."""
    from privaudit.errors import suggestion
    from privaudit.plugins import ATTACKS, installed

    points = installed(ATTACKS)
    chosen = list(points) if names is None else [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise InputError("No attack is named by --attacks; leave it out to run all installed ones.")
    for name in chosen:
        if name not in points:
            raise InputError(f"There is no attack '{name}'. {suggestion(name, points)} See: privaudit plugins")
    return sorted(set(chosen))


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
