"""How long a run may take: what earlier work on this machine took per unit, times the work that is left to do."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from privaudit import plants, seeds
from privaudit.arms import ARMS
from privaudit.attack import Attack, finds_plants, holds_release, ranks
from privaudit.images import Images
from privaudit.manifest import result_facts
from privaudit.plan import Plan
from privaudit.plugins import make_attack
from privaudit.pools import CONTROL_SHARES
from privaudit.store import Store, atomic_file, key_of
from privaudit.synthesizer import Shard, Synthesizer

_FILE = "speeds.json"

REFERENCE: Mapping[str, float] = {
    "attack nearest-copy quick": 3.6e-10,
    "attack nearest-copy standard": 4.4e-10,
    "attack nearest-copy thorough": 4.0e-9,
    "attack copy-descriptor quick": 1.0e-9,
    "attack copy-descriptor standard": 4.0e-9,
    "attack copy-descriptor thorough": 2.0e-8,
    "attack density-ratio quick": 2.0e-11,
    "attack density-ratio standard": 2.0e-11,
    "attack density-ratio thorough": 2.0e-11,
    "attack gradient-matching quick": 1.6e-3,
    "attack gradient-matching standard": 4.0e-3,
    "attack gradient-matching thorough": 5.5e-2,
    "attack gradient-ranking quick": 4.0e-4,
    "attack gradient-ranking standard": 4.0e-4,
    "attack gradient-ranking thorough": 4.0e-4,
    "attack model-memorization quick": 5.0e-4,
    "attack model-memorization standard": 1.0e-3,
    "attack model-memorization thorough": 4.0e-3,
    "attack gan-inversion quick": 1.0e-3,
    "attack gan-inversion standard": 4.0e-3,
    "attack gan-inversion thorough": 1.0e-1,
    "attack gan-leaks quick": 2.5e-8,
    "attack gan-leaks standard": 1.0e-7,
    "attack gan-leaks thorough": 1.0e-6,
    "attack membership quick": 4.0e-8,
    "attack membership standard": 2.5e-7,
    "attack membership thorough": 2.5e-6,
    "attack soft-label-membership quick": 4.0e-8,
    "attack soft-label-membership standard": 2.5e-7,
    "attack soft-label-membership thorough": 2.5e-6,
    "attack teacher-membership quick": 1.0e-3,
    "attack teacher-membership standard": 1.0e-3,
    "attack teacher-membership thorough": 1.0e-3,
    "attack pipeline-shadows quick": 4.0e-7,
    "attack pipeline-shadows standard": 2.0e-6,
    "attack pipeline-shadows thorough": 1.5e-5,
    "attack linkage quick": 1.3e-9,
    "attack linkage standard": 4.5e-9,
    "attack linkage thorough": 2.7e-8,
    "synthesizer bn-matching convnet": 2.0e-6,
    "synthesizer bn-matching resnet20": 4.0e-6,
    "utility": 1.0e-6,
    "similarity": 1.0e-9,
}
"""Core-seconds per unit of work on a server core of 2025, for kinds that this machine has not done yet."""

_SHORT = 5.0
"""Seconds of work that say little about longer work: most of them are spent on starting."""
_STEP = 0.25
"""Core-seconds that every step takes, however little there is to do."""
_AROUND = 10.0
"""Seconds for what is done once: starting, checking the data, judging, writing the report."""


@dataclass(frozen=True)
class Line:
    """A part of a run. done: steps whose results are in the store. seconds: for the others, None: nobody knows."""

    what: str
    pieces: int
    done: int
    seconds: float | None


class Speeds:
    """Core-seconds per unit of work by kind, learned from the largest work that was done; kept in the store."""

    def __init__(self, store: Store) -> None:
        self._path = store.root / _FILE
        self._learned: dict[str, tuple[float, float]] = {}
        try:
            for kind, (units, seconds) in json.loads(self._path.read_text()).items():
                if 0 < float(units) < math.inf and 0 <= float(seconds) < math.inf:
                    self._learned[str(kind)] = float(units), float(seconds)
        except (OSError, ValueError, TypeError, AttributeError):
            self._learned = {}

    def seconds(self, kind: str, units: float) -> float | None:
        """Core-seconds that so much work takes, None for a kind that was never done."""
        if kind in self._learned:
            known, seconds = self._learned[kind]
            return units * seconds / known
        return units * REFERENCE[kind] if kind in REFERENCE else None

    def learn(self, kind: str, units: float, seconds: float) -> None:
        """Remember what work has taken, in core-seconds; not what is too short to tell, nor much less than before."""
        known, _ = self._learned.get(kind, (0.0, 0.0))
        if units <= 0 or units < known / 2 or (kind in REFERENCE and seconds < _SHORT):
            return
        self._learned[kind] = units, seconds
        with atomic_file(self._path) as partial:
            partial.write_text(json.dumps(self._learned, sort_keys=True))


def synthesis_work(engine: Synthesizer, shards: Iterable[Shard], members: Images, effort: str) -> tuple[str, float]:
    """Kind and units of an engine's work. An engine may tell them itself (`work`); else a unit is a pixel made."""
    told = getattr(engine, "work", None)
    if told is not None:
        kind, units = told(shards, members, effort)
        return f"synthesizer {engine.name} {kind}", float(units)
    return f"synthesizer {engine.name}", float(sum(shard.count for shard in shards) * members.pixels[0].size)


def attack_work(attack: Attack, effort: str, suspects: int, released: int, members: Images) -> tuple[str, float]:
    """Kind and units of one attack on one arm: pairs of a suspect and a released image, times their pixels.

    Of a mediated attack: the pixels that it may recover.
    """
    units = suspects * released
    if not holds_release(attack):
        units = attack.reach(released) or 0
    return f"attack {attack.name} {effort}", float(units * members.pixels[0].size)


def measure_work(part: str, plan: Plan, released: int) -> tuple[str, float]:
    """Kind and units of a measurement of one candidate of so many images.

    Similarity: pairs of images, times their pixels. Utility: the pixels that all its networks are shown.
    """
    size = float(plan.members.images.pixels[0].size)
    if part == "similarity":
        return part, 2 * min(released, 2000) * len(plan.members) * size
    from privaudit.utility.recipes import FEWEST_STEPS, MOST_EPOCHS, MOST_STEPS

    shown = 32 * min(MOST_STEPS, max(FEWEST_STEPS, released))
    return part, _networks(plan) * max(released, min(shown, MOST_EPOCHS * released)) * size


def _networks(plan: Plan) -> int:
    return 2 * plan.utility_seeds + 1


def part_key(facts: Mapping[str, Any], device: str, part: str, release: Any) -> str:
    """Key under which the store remembers that a part of a run ('attack NAME', 'utility', 'similarity') is finished.

    facts: those of the plan. release: what tells the candidate apart.
    """
    settings = facts["measure"]["utility_seeds"] if part == "utility" else None
    if part.startswith("attack "):
        settings = facts["family"][part.removeprefix("attack ")]
    kept = {name: facts[name] for name in ("data", "effort", "seed", "max_suspects", "plants")}
    return key_of({"finished": part, "settings": settings, "release": release, **kept, **result_facts(device)})


def forecast(
    plan: Plan,
    released: Mapping[str, int],
    engines: Mapping[str, Synthesizer],
    made: Mapping[str, tuple[int, int]],
    finished: Iterable[tuple[str, str]],
    speeds: Speeds,
    attacked: bool = True,
) -> list[Line]:
    """The parts of a run in their order. attacked: whether there is enough to judge.

    released: images of each candidate. made: for each engine's candidate, shards in all and in the store.
    finished: parts and candidates that are done (see `part_key`).
    """
    lines = []
    members, over = plan.members.images, set(finished)
    for name, engine in engines.items():
        lines.append(making(name, engine, members, plan.effort, made[name], plan.workers, speeds))
    if attacked:
        attacks = [make_attack(name, dict(settings)) for name, settings in plan.attacks.items()]
        known = [one for one in attacks if ranks(one) == "suspects" or plan.siblings is not None]
        lines += [_attack_line(plan, attack, released, over, speeds) for attack in known]
        lines += [_measure_line(plan, part, released, over, speeds) for part in plan.measure]
    lines.append(Line("check the data, judge and report", 1, 0, _AROUND))
    return lines


def making(
    name: str,
    engine: Synthesizer,
    members: Images,
    effort: str,
    shards: tuple[int, int],
    workers: int,
    speeds: Speeds,
) -> Line:
    """The making of a candidate. shards: in all, and in the store."""
    total, done = shards
    kind, units = synthesis_work(engine, engine.shards(members), members, effort)
    whole, left = speeds.seconds(kind, units), total - done
    seconds = None if whole is None else (whole * left / total + _STEP * left) / min(max(1, workers), max(1, left))
    return Line(f"make {name} with {engine.name}", total, done, seconds if left else 0.0)


def _attack_line(
    plan: Plan, attack: Attack, released: Mapping[str, int], over: set[tuple[str, str]], speeds: Speeds
) -> Line:
    """Of candidates of one size, all but the first share the arms `raw` and `fresh`."""
    pieces, done, units = 0, 0, 0.0
    shared: set[int] = set()
    kind = ""
    for name, count in released.items():
        arms = 1 if count in shared else len(ARMS)
        shared.add(count)
        plantings = _plantings(plan, count) if finds_plants(attack) else 0
        pieces += arms + plantings
        seen = count + (0 if plan.also_released is None else len(plan.also_released))
        kind, one = attack_work(attack, plan.effort, sum(suspects(plan)), seen, plan.members.images)
        if (f"attack {attack.name}", name) in over:
            done += arms + plantings
        else:
            units += one * (arms + plantings * (1 + plants.LARGEST_SHARE_OF_RELEASE))
    seconds, left = speeds.seconds(kind, units), pieces - done
    if seconds is not None:
        seconds = (seconds + _STEP * left) / min(max(1, plan.workers), max(1, left))
    return Line(f"attack with {attack.name}", pieces, done, seconds if left else 0.0)


def _plantings(plan: Plan, released: int) -> int:
    scored = range(min(len(plan.members), plan.max_suspects))
    return len(plants.plan(scored, released, seeds.generator(plan.seed, "planting"), plan.kinds))


def _measure_line(
    plan: Plan, part: str, released: Mapping[str, int], over: set[tuple[str, str]], speeds: Speeds
) -> Line:
    left = [count for name, count in released.items() if (part, name) not in over]
    at_once = len(left) * (_networks(plan) if part == "utility" else 1)
    seconds = speeds.seconds(part, sum(measure_work(part, plan, count)[1] for count in left))
    if seconds is not None:
        seconds = (seconds + _STEP * at_once) / min(max(1, plan.workers), max(1, at_once))
    return Line(f"measure {part}", len(released), len(released) - len(left), seconds if left else 0.0)


def suspects(plan: Plan) -> tuple[int, int]:
    """Members and others that are scored, at most."""
    if plan.controls is None:
        return min(len(plan.members), plan.max_suspects), 0
    share = CONTROL_SHARES["scored"] + CONTROL_SHARES["fresh"] if plan.fresh is None else 1.0
    others = int(share * len(plan.controls)) + (0 if plan.fresh is None else len(plan.fresh))
    return min(len(plan.members), plan.max_suspects), min(others, 2 * plan.max_suspects)
