"""How long a run may take: what earlier runs on this machine took per unit of work, times the work to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from privaudit.arms import ARMS
from privaudit.images import Images
from privaudit.plan import Plan
from privaudit.plants import LARGEST_SHARE_OF_RELEASE
from privaudit.pools import CONTROL_SHARES
from privaudit.store import Store, atomic_file
from privaudit.synthesizer import Shard, Synthesizer

_FILE = "speeds.json"

REFERENCE: Mapping[str, float] = {
    "attack nearest-copy quick": 2.0e-10,
    "attack nearest-copy standard": 4.0e-10,
    "attack nearest-copy thorough": 4.0e-9,
    "attack density-ratio quick": 1.0e-10,
    "attack density-ratio standard": 1.0e-10,
    "attack density-ratio thorough": 1.0e-10,
    "synthesizer bn-matching convnet": 2.0e-6,
    "synthesizer bn-matching resnet20": 4.0e-6,
    "utility": 1.0e-6,
    "similarity": 1.0e-9,
}
"""Core-seconds per unit of work on a server core of 2025, for kinds that this machine has not done yet."""


@dataclass(frozen=True)
class Line:
    """A part of a run. done: pieces whose results are in the store. seconds: at most, None where nobody knows."""

    what: str
    pieces: int
    done: int
    seconds: float | None


class Speeds:
    """Core-seconds per unit of work by kind, learned from finished work; kept in the store."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / _FILE
        try:
            found = json.loads(self._path.read_text())
            self._learned = {str(kind): float(speed) for kind, speed in found.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            self._learned = {}

    def seconds(self, kind: str, units: float) -> float | None:
        """Core-seconds that so much work takes, None for a kind that was never done."""
        speed = self._learned.get(kind, REFERENCE.get(kind))
        return None if speed is None else speed * units

    def learn(self, kind: str, units: float, seconds: float) -> None:
        """Remember what work has taken, in core-seconds."""
        if units > 0:
            self._learned[kind] = seconds / units
            with atomic_file(self._path) as partial:
                partial.write_text(json.dumps(self._learned, sort_keys=True))


def synthesis_work(engine: Synthesizer, shards: Iterable[Shard], members: Images, effort: str) -> tuple[str, float]:
    """Kind and units of an engine's work. An engine may tell them itself (`work`); else a unit is a pixel made."""
    told = getattr(engine, "work", None)
    if told is not None:
        kind, units = told(shards, members, effort)
        return f"synthesizer {engine.name} {kind}", float(units)
    return f"synthesizer {engine.name}", float(sum(shard.count for shard in shards) * members.pixels[0].size)


def attack_work(name: str, effort: str, suspects: int, released: int, members: Images) -> tuple[str, float]:
    """Kind and units of one attack on one arm: pairs of a suspect and a released image, times their pixels."""
    return f"attack {name} {effort}", float(suspects * released * members.pixels[0].size)


def forecast(
    plan: Plan,
    released: Mapping[str, int],
    engines: Mapping[str, Synthesizer],
    finished: Mapping[str, tuple[int, int]],
    speeds: Speeds,
) -> list[Line]:
    """The parts of a run in their order.

    released: images of each candidate. finished: for each engine's candidate, shards in all and in the store.
    """
    lines = []
    members, cores = plan.members.images, max(1, plan.workers)

    def add(what: str, pieces: int, done: int, seconds: float | None) -> None:
        lines.append(Line(what, pieces, done, None if seconds is None else seconds / min(cores, max(1, pieces))))

    for name, engine in engines.items():
        total, done = finished[name]
        kind, units = synthesis_work(engine, engine.shards(members), members, plan.effort)
        seconds = speeds.seconds(kind, units)
        add(f"make {name} with {engine.name}", total, done, None if seconds is None else seconds * (1 - done / total))
    suspects = _suspects(plan)
    if suspects is None:
        return lines
    for attack in plan.attacks:
        seconds, pieces = 0.0, 0
        for count in released.values():
            growth = 1 + LARGEST_SHARE_OF_RELEASE
            plantings = min(len(plan.kinds), 4)
            pieces += len(ARMS) + plantings
            one = speeds.seconds(*attack_work(attack, plan.effort, suspects, count, members))
            seconds = None if one is None or seconds is None else seconds + one * (len(ARMS) + plantings * growth)
        add(f"attack with {attack}", pieces, 0, seconds)
    for part in plan.measure:
        units = float(len(released) * _measure_units(part, plan, max(released.values())))
        add(f"measure {part}", len(released), 0, speeds.seconds(part, units))
    return lines


def _suspects(plan: Plan) -> int | None:
    if plan.controls is None:
        return None
    share = CONTROL_SHARES["scored"] + CONTROL_SHARES["fresh"] if plan.fresh is None else 1.0
    others = share * len(plan.controls) + (0 if plan.fresh is None else len(plan.fresh))
    return int(min(len(plan.members), plan.max_suspects) + min(others, 2 * plan.max_suspects))


def _measure_units(part: str, plan: Plan, released: int) -> float:
    size = float(plan.members.images.pixels[0].size)
    if part == "similarity":
        return 2 * min(released, 2000) * len(plan.members) * size
    return 2 * plan.utility_seeds * min(3000 * 32, 30 * released) * size


def measure_work(part: str, plan: Plan) -> tuple[str, float]:
    """Kind and units of a measurement of all candidates."""
    released = [len(candidate.release.images) for candidate in plan.candidates]
    return part, float(len(released) * _measure_units(part, plan, max(released)))
