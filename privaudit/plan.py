"""What is asked of an audit: the data, the candidates, the attacks; written down before anything is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from privaudit.attack import Attack, Effort
from privaudit.images import Dataset, Images
from privaudit.plants import KINDS
from privaudit.plugins import make_attack
from privaudit.record import ScanFinding
from privaudit.release import Release, together, without_views
from privaudit.store import array_digest, key_of
from privaudit.synthesizer import Synthesizer

Measure = Literal["utility", "similarity"]
MEASURES: tuple[Measure, ...] = ("utility", "similarity")

Announce = Callable[[str, int, int], None]
"""Progress: what was done, how many steps are done, how many there are; 0: progress within a step."""


def within(announce: Announce) -> Callable[[str, str, float], None]:
    """What hears of progress within tasks, and announces it."""

    def hear(label: str, stage: str, share: float) -> None:
        announce(f"{label}, {'' if stage in label else f'{stage} '}{100 * share:.0f} %", 0, 0)

    return hear


@dataclass(frozen=True, eq=False)
class Candidate:
    """A release to be judged. data: its images with names and notes. scan: findings in its files; None: not scanned.

    notes: what is to be known about what it publishes beside the images.
    """

    name: str
    release: Release
    data: Dataset
    scan: tuple[ScanFinding, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """An audit before anything is attacked. attacks: names with settings; the declared family of tests.

    test: for the utility; None: the scored controls serve. measure: what is measured beside the attacks.
    weights: folder of the weight store. utility_seeds: students on each side.
    kinds: kinds of plants that are tried. max_suspects: images scored per side at most.
    random_split: members and controls were split at random by privaudit.
    also_released: images that are public already, whatever becomes of the candidates; of the members' size.
    siblings: other images of persons in the members (and perhaps in controls and fresh images), never fed to an engine.
    """

    members: Dataset
    candidates: Sequence[Candidate]
    attacks: Mapping[str, Mapping[str, Any]]
    controls: Dataset | None = None
    fresh: Dataset | None = None
    reference: Dataset | None = None
    test: Dataset | None = None
    measure: tuple[Measure, ...] = ()
    weights: Path | None = None
    utility_seeds: int = 3
    effort: Effort = "standard"
    device: str = "cpu"
    seed: int = 0
    max_suspects: int = 10_000
    random_split: bool = False
    notes: tuple[str, ...] = ()
    workers: int = 0
    kinds: tuple[str, ...] = tuple(KINDS)
    also_released: Images | None = None
    siblings: Dataset | None = None

    def shown(self, release: Release) -> Release:
        """What the attackers of this release see: it, and what is public already.

        A teacher is shown only where it is known what it was trained on: one that saw the controls too cannot tell
        members from them, so that its silence would say nothing. Of soft labels for views, those of the images as they
        are: students of these tell more about members than students of all views.
        """
        if release.teacher is not None and release.trained_on == "unknown":
            release = replace(release, teacher=None)
        return together(without_views(release), self.also_released)

    def facts(self, releases: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the result depends on, JSON-able, without paths: written down before anything is scored.

        releases: what tells the candidates apart by name; default: their hashes.
        """
        data = {
            name: part.images.digest
            if part.groups is None
            else key_of({"images": part.images.digest, "units": array_digest(part.units)})
            for name in ("members", "controls", "fresh", "reference", "test", "siblings")
            if (part := getattr(self, name)) is not None
        }
        if self.also_released is not None:
            data["also_released"] = self.also_released.digest
        attacks = {name: make_attack(name, dict(settings)) for name, settings in self.attacks.items()}
        return {
            "data": data,
            "releases": dict(releases)
            if releases is not None
            else {candidate.name: candidate.release.digest for candidate in self.candidates},
            "family": {
                name: {"version": attack.version, "settings": settings_of(attack)} for name, attack in attacks.items()
            },
            "effort": self.effort,
            "seed": self.seed,
            "max_suspects": self.max_suspects,
            "plants": list(self.kinds),
            "measure": {"parts": list(self.measure), "utility_seeds": self.utility_seeds},
        }


def settings_of(plugin: Attack | Synthesizer) -> dict[str, Any]:
    """All settings of an attack or engine, defaults included, JSON-able."""
    dump = getattr(plugin, "model_dump", None)
    return dict(dump(mode="json")) if dump is not None else {}


def member_id(row: int) -> str:
    """Neutral id of a member."""
    return f"m-{row:06d}"


def release_id(row: int) -> str:
    """Neutral id of a released image."""
    return f"r-{row:06d}"
