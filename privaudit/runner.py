"""The blind runner: it builds the arms and plants, shuffles the suspects, keeps the answer, and collects the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.arms import arms_of, class_counts, like
from privaudit.artifacts import analogue, grown, lacking, put_artifacts
from privaudit.attack import Attack, EngineBound, Ranked, ReleaseAttack, holds_release, ranks, trains
from privaudit.attribution import attributable, attribution_of
from privaudit.cells import ATTACK, EXPOSE
from privaudit.evidence import PAIRS, Scores
from privaudit.execution import Failure, Task, run
from privaudit.forecast import Speeds, attack_work
from privaudit.halves import Means, backbones_for, half, handed
from privaudit.pairs import pairs
from privaudit.piles import Pile, put_images, shuffled
from privaudit.plan import Announce, Candidate, Plan
from privaudit.plants import Planting, plan, planted
from privaudit.plugins import make_attack
from privaudit.pools import Pools
from privaudit.record import Attribution, Recovery
from privaudit.recovery import measurable, read_recovery, recovery
from privaudit.release import Release
from privaudit.siblings import FEWEST, Siblings, lacking_siblings
from privaudit.statistics.units import unit_scores
from privaudit.store import Arrays, Entry, Store

_SHOWN = {
    "release": "the candidate",
    "raw": "the members themselves",
    "fresh": "images that nobody used",
    "positive": "members that the engine was run on, with the truth",
    "negative": "images that nobody used, after the engine",
}


@dataclass(frozen=True, eq=False)
class _Cell:
    """One attack on one arm of one release. part: 'release', 'raw', 'fresh', or a planting.

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


def _only_holds(attack: Attack) -> bool:
    """Whether all the attacker sees is the release as it is."""
    return isinstance(attack, ReleaseAttack) and type(attack).expose is ReleaseAttack.expose


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one attack on one release came to. scores: None where it failed. galleries: pictures by arm, private.

    An attack that holds the release has pairs among its galleries.
    """

    scores: Scores | None
    seconds: float
    failure: Failure | None
    recoveries: Mapping[str, Recovery]
    galleries: Mapping[str, Arrays]
    attributions: Mapping[str, Attribution]

    @property
    def pairs(self) -> int:
        """How many pairs are pictured."""
        return len(self.galleries[PAIRS]["rank"]) if PAIRS in self.galleries else 0


class Runner:
    """The state of one audit while it runs."""

    def __init__(self, plan_: Plan, pools: Pools, store: Store, announce: Announce) -> None:
        self.plan, self.pools, self.store, self.announce = plan_, pools, store, announce
        self.attacks = {name: make_attack(name, dict(settings)) for name, settings in plan_.attacks.items()}
        self.shown: dict[str, Release] = {}
        self.reference = put_images(store, pools.reference.images)
        backbones = backbones_for(self.attacks.values(), plan_.weights)
        self.means = Means(plan_.seed, plan_.effort, plan_.device, plan_.weights, backbones)
        self.ranked: dict[Ranked, Pools | Siblings] = {"suspects": pools}
        if pools.siblings is not None:
            self.ranked["siblings"] = pools.siblings
        self.piles = {
            (which, len(parts) == 3): shuffled(store, {part: side.images(part) for part in parts}, plan_.seed)
            for which, side in self.ranked.items()
            for parts in (("members", "controls", "fresh"), ("members", "controls"))
        }

    def cells(self, candidate: Candidate) -> list[_Cell]:
        """All runs that one candidate needs."""
        pools, seed = self.pools, self.plan.seed
        shown = self.shown[candidate.name] = self.plan.shown(candidate.release)
        attacks = {
            name: attack
            for name, attack in self.attacks.items()
            if lacking(attack, shown) is None and lacking_siblings(attack, pools) is None
        }
        shape = class_counts(shown.images)
        raw_pool = pools.images("members")
        fresh_pool = pools.fresh.images
        stored = (
            put_images(self.store, shown.images),
            put_images(self.store, raw_pool.take(like(raw_pool, shape, seeds.generator(seed, "raw")))),
            put_images(self.store, fresh_pool.take(like(fresh_pool, shape, seeds.generator(seed, "fresh")))),
        )
        bound = {name: attack.bound_to(shown) for name, attack in attacks.items() if isinstance(attack, EngineBound)}
        fed = (put_images(self.store, pools.members.images) if bound else {}, *stored[1:])
        cells = [
            _Cell(
                candidate.name,
                name,
                arm,
                self.piles[ranks(attack), arm == "release"],
                images,
                beside=put_artifacts(self.store, attack, shown) if arm == "release" else {},
                analogue={} if arm == "release" else analogue(attack, shown),
                bound=bound.get(name),
                sources=sources if name in bound else {},
            )
            for name, attack in attacks.items()
            for arm, images, sources in zip(arms_of(attack), stored, fed, strict=True)
        ]
        for number, planting in enumerate(self._plantings(len(shown.images))):
            rng = seeds.generator(seed, "plants", number)
            plants = planted(planting, pools.members.images, shown.images, rng)
            order = seeds.generator(seed, "plant places", number).permutation(len(shown.images) + len(plants))
            mixed = grown(shown, plants, order, seeds.generator(seed, "plant soft labels", number))
            grown_images = put_images(self.store, mixed.images)
            cells += [
                _Cell(
                    candidate.name,
                    name,
                    f"plants {number + 1}",
                    self.piles[ranks(attack), True],
                    grown_images,
                    planting,
                    put_artifacts(self.store, attack, mixed),
                )
                for name, attack in attacks.items()
                if holds_release(attack) and not trains(attack) and not isinstance(attack, EngineBound)
            ]
        return cells

    def _plantings(self, n_release: int) -> list[Planting]:
        rows = self.pools.scored_members
        _, first = np.unique(self.pools.units("members"), return_index=True)
        one_each = [int(row) for row in rows[np.sort(first)]]
        return plan(one_each, n_release, seeds.generator(self.plan.seed, "planting"), self.plan.kinds)

    def _task(self, cell: _Cell, function: str, inputs: dict[str, dict[str, str]]) -> Task:
        label = f"{cell.attack} on {_SHOWN.get(cell.arm, cell.arm.replace('plants', 'planted members, part'))}"
        # Asked for only where pairs are pictured; stored results without it have another key.
        asked: dict[str, Any] = {"nearest": True} if function == ATTACK and self._pictured(cell) else {}
        if function == EXPOSE and cell.analogue:
            asked["analogue"] = dict(cell.analogue)
        if function == EXPOSE and cell.bound is not None and cell.arm != "release":
            asked["arm"] = cell.arm
        return half(function, label, cell.bound or self.attacks[cell.attack], self.means, inputs, asked)

    def _pictured(self, cell: _Cell) -> bool:
        attack = self.attacks[cell.attack]
        return cell.arm == "release" and holds_release(attack) and ranks(attack) == "suspects"

    def _own(self, cell: _Cell) -> dict[str, str]:
        """The attacker's own images; with the persons in them for attacks that rank siblings."""
        if ranks(self.attacks[cell.attack]) == "suspects" or self.pools.reference.groups is None:
            return self.reference
        return self.reference | {"units": self.store.put_array(self.pools.reference.units)}

    def run(self, cells: list[_Cell]) -> dict[tuple[str, str], Outcome]:
        """Both halves of every cell, and what was recovered: by release and attack."""
        exposures = self._exposures(cells)
        seen = {cell: shown for cell, shown in zip(cells, exposures, strict=True) if isinstance(shown, Entry)}
        failures: dict[tuple[str, str], Failure] = {}
        tasks: dict[str, list[_Cell]] = {}
        todo: list[Task] = []
        for cell, shown in zip(cells, exposures, strict=True):
            if isinstance(shown, Failure):
                failures[cell.release, cell.attack] = shown
                continue
            inputs = {"seen": handed(shown), "suspects": cell.pile.stored, "reference": self._own(cell)}
            task = self._task(cell, ATTACK, inputs)
            if task.key not in tasks:
                todo.append(task)
            tasks.setdefault(task.key, []).append(cell)
        scores: dict[tuple[str, str], dict[str, NDArray[np.float64]]] = {}
        seconds: dict[tuple[str, str], float] = {}
        evidence: dict[_Cell, Entry] = {}
        galleries: dict[tuple[str, str], dict[str, Arrays]] = {}
        done = 0
        for task, result in run(todo, self.store, self.plan.workers, self._hear):
            done += 1
            self.announce(task.label, done, len(todo))
            for cell in tasks[task.key]:
                place = cell.release, cell.attack
                if isinstance(result, Failure):
                    failures[place] = result
                    continue
                evidence[cell] = result
                spent = float(result.facts["seconds"]) + float(seen[cell].facts["seconds"])
                seconds[place] = seconds.get(place, 0.0) + spent
                self._learn(cell, spent)
                told = {name: result.arrays[name] for name in ("scores", "nearest") if name in result.arrays}
                found = self.store.load(told)
                scores.setdefault(place, {}).update(self._by_unit(cell, np.asarray(found["scores"])))
                if self._pictured(cell):
                    mine = self.shown[cell.release].images
                    rng = seeds.generator(self.plan.seed, "pairs", cell.attack)
                    galleries.setdefault(place, {})[PAIRS] = pairs(self.pools, mine, cell.pile, found, rng)
        recoveries: dict[tuple[str, str], dict[str, Recovery]] = {}
        for cell, result in self._recoveries(evidence, seen):
            place = cell.release, cell.attack
            if isinstance(result, Failure):
                failures[place] = result
                continue
            record, gallery = read_recovery(self.store.load(result.arrays))
            recoveries.setdefault(place, {})[cell.arm] = record
            galleries.setdefault(place, {})[cell.arm] = gallery
        attributions: dict[tuple[str, str], dict[str, Attribution]] = {}
        for cell, result in self._attributions(evidence, seen):
            place = cell.release, cell.attack
            if isinstance(result, Failure):
                failures[place] = result
                continue
            text = np.asarray(self.store.load(result.arrays)["record"]).tobytes()
            attributions.setdefault(place, {})[cell.arm] = Attribution.model_validate_json(text)
        return {
            place: Outcome(
                None if place in failures else dict(sorted(scores[place].items())),
                round(seconds.get(place, 0.0), 2),
                failures.get(place),
                {} if place in failures else recoveries.get(place, {}),
                {} if place in failures else galleries.get(place, {}),
                {} if place in failures else attributions.get(place, {}),
            )
            for place in sorted({(cell.release, cell.attack) for cell in cells})
        }

    def _exposures(self, cells: list[_Cell]) -> list[Entry | Failure]:
        """The victim's half of every cell."""
        tasks = [self._task(cell, EXPOSE, {"release": {**cell.stored, **cell.beside}}) for cell in cells]
        found: dict[str, Entry | Failure] = {}
        # An attacker who holds the release needs no victim; no process is started for that.
        plain: list[Task] = []
        victims: list[Task] = []
        for cell, task in zip(cells, tasks, strict=True):
            (plain if cell.bound is None and _only_holds(self.attacks[cell.attack]) else victims).append(task)
        for task, result in (*run(plain, self.store, 0), *run(victims, self.store, self.plan.workers, self._hear)):
            found[task.key] = result
        return [found[task.key] for task in tasks]

    def _recoveries(
        self, evidence: Mapping[_Cell, Entry], seen: Mapping[_Cell, Entry]
    ) -> Iterator[tuple[_Cell, Entry | Failure]]:
        """Measure what each mediated attack recovered."""
        members, controls = (put_images(self.store, self.pools.images(part)) for part in ("members", "controls"))
        tasks: list[Task] = []
        asked: dict[str, list[_Cell]] = {}
        for cell, entry in evidence.items():
            inputs = {
                "released": cell.stored,
                "reference": self.reference,
                "members": members,
                "controls": controls,
                **measurable(entry.arrays, seen[cell].arrays),
            }
            if "kept" in inputs:
                label = f"what {cell.attack} recovered from {_SHOWN[cell.arm]}"
                tasks.append(recovery(label, inputs, self.plan.seed, self.plan.weights))
                asked.setdefault(tasks[-1].key, []).append(cell)
        for task, result in run(tasks, self.store, self.plan.workers, self._hear):
            while asked[task.key]:
                yield asked[task.key].pop(), result

    def _attributions(
        self, evidence: Mapping[_Cell, Entry], seen: Mapping[_Cell, Entry]
    ) -> Iterator[tuple[_Cell, Entry | Failure]]:
        """Measure how well mixed images were put together again."""
        asked: dict[str, tuple[Task, list[_Cell]]] = {}
        for cell, entry in evidence.items():
            put_together = attributable(entry.arrays)
            if put_together and cell.sources:
                inputs = {"evidence": put_together, "seen": handed(seen[cell]), "sources": dict(cell.sources)}
                label = f"what {cell.attack} put together of {_SHOWN[cell.arm]}"
                task = attribution_of(label, inputs, self.plan.seed)
                asked.setdefault(task.key, (task, []))[1].append(cell)
        for task, result in run([task for task, _ in asked.values()], self.store, self.plan.workers, self._hear):
            for cell in asked[task.key][1]:
                yield cell, result

    def _hear(self, label: str, stage: str, share: float) -> None:
        self.announce(f"{label}, {stage} {100 * share:.0f} %", 0, 0)

    def _learn(self, cell: _Cell, seconds: float) -> None:
        if cell.arm == "release":
            suspects, members = len(cell.pile.order), self.pools.members.images
            released = len(self.shown[cell.release].images)
            work = attack_work(self.attacks[cell.attack], self.plan.effort, suspects, released, members)
            Speeds(self.store).learn(*work, seconds)

    def _by_unit(self, cell: _Cell, shuffled: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        side = self.ranked[ranks(self.attacks[cell.attack])]
        by_part = {part: unit_scores(cell.pile.scores(shuffled, part), side.units(part)) for part in cell.pile.parts}
        if cell.planting is None:
            return {f"{cell.arm} {part}": scores for part, (scores, _, _) in by_part.items()}
        by_unit, names, _ = by_part.pop("members")
        # Plants are compared with the controls of their own run: scores of two runs need not be on one scale.
        strangers = np.concatenate([scores for scores, _, _ in by_part.values()])
        found: dict[str, NDArray[np.float64]] = {}
        for kind, rows in cell.planting.rows.items():
            units = self.pools.members.units[rows]
            scored = units[np.isin(units, names)]  # of persons without a sibling there is no score
            if len(scored) >= min(len(units), FEWEST):  # of a handful no power can be told
                found[f"plant {kind}"] = by_unit[np.searchsorted(names, scored)]
                found[f"plant {kind} controls"] = strangers
        return found
