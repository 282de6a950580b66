"""The blind runner: it builds the arms and plants, shuffles the suspects, keeps the answer, and collects the scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.arm_cells import SHOWN, Cell, cells_of
from privaudit.attack import Attack, Ranked, ReleaseAttack, holds_release, ranks
from privaudit.attribution import attributable, attribution_of, read_attribution
from privaudit.cells import ATTACK, EXPOSE
from privaudit.evidence import PAIRS, Scores
from privaudit.execution import Failure, Task, run
from privaudit.forecast import Speeds, attack_work
from privaudit.halves import Means, backbones_for, half, handed
from privaudit.pairs import PICTURED, pairs
from privaudit.piles import put_images, shuffled
from privaudit.plan import Announce, Candidate, Plan
from privaudit.plugins import make_attack
from privaudit.pools import Pools
from privaudit.record import Attribution, Recovery
from privaudit.recovery import measurable, read_recovery, recovery
from privaudit.release import Release
from privaudit.siblings import FEWEST, Siblings
from privaudit.statistics.units import unit_scores
from privaudit.store import Arrays, Entry, Store

Measured = tuple[Cell, Entry | Failure]


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

    def cells(self, candidate: Candidate) -> list[Cell]:
        """All runs that one candidate needs."""
        shown = self.shown[candidate.name] = self.plan.shown(candidate.release)
        return cells_of(candidate.name, shown, self.plan, self.attacks, self.pools, self.piles, self.store)

    def _task(self, cell: Cell, function: str, inputs: dict[str, dict[str, str]]) -> Task:
        label = f"{cell.attack} on {SHOWN.get(cell.arm, cell.arm.replace('plants', 'planted members, part'))}"
        # Asked for only where pairs are pictured; stored results without it have another key.
        asked: dict[str, Any] = {"nearest": True} if function == ATTACK and self._pictured(cell) else {}
        if function == EXPOSE and cell.analogue:
            asked["analogue"] = dict(cell.analogue)
        if function == EXPOSE and cell.bound is not None and cell.arm != "release":
            asked["arm"] = cell.arm
        return half(function, label, cell.bound or self.attacks[cell.attack], self.means, inputs, asked)

    def _pictured(self, cell: Cell) -> bool:
        attack = self.attacks[cell.attack]
        return cell.arm == "release" and holds_release(attack) and ranks(attack) == "suspects"

    def _own(self, cell: Cell) -> dict[str, str]:
        """The attacker's own images; with the persons in them for attacks that rank siblings."""
        if ranks(self.attacks[cell.attack]) == "suspects" or self.pools.reference.groups is None:
            return self.reference
        return self.reference | {"units": self.store.put_array(self.pools.reference.units)}

    def run(self, cells: list[Cell]) -> dict[tuple[str, str], Outcome]:
        """Both halves of every cell, and what was recovered: by release and attack."""
        exposures = self._exposures(cells)
        seen = {cell: shown for cell, shown in zip(cells, exposures, strict=True) if isinstance(shown, Entry)}
        failures: dict[tuple[str, str], Failure] = {}
        tasks: dict[str, list[Cell]] = {}
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
        evidence: dict[Cell, Entry] = {}
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
                pictured = self._pictured(cell)
                wanted = PICTURED if pictured else ("scores",)
                found = self.store.load({name: result.arrays[name] for name in wanted if name in result.arrays})
                scores.setdefault(place, {}).update(self._by_unit(cell, np.asarray(found["scores"])))
                if pictured:
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
            measured = read_attribution(self.store.load(result.arrays))
            if measured is not None:
                attributions.setdefault(place, {})[cell.arm] = measured
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

    def _exposures(self, cells: list[Cell]) -> list[Entry | Failure]:
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

    def _recoveries(self, evidence: Mapping[Cell, Entry], seen: Mapping[Cell, Entry]) -> Iterator[Measured]:
        """Measure what each mediated attack recovered."""
        members, controls = (put_images(self.store, self.pools.images(part)) for part in ("members", "controls"))
        asked: list[tuple[Cell, Task]] = []
        for cell, entry in evidence.items():
            inputs = {
                "released": cell.stored,
                "reference": self.reference,
                "members": members,
                "controls": controls,
                **measurable(entry.arrays, seen[cell].arrays),
            }
            if "kept" in inputs:
                label = f"what {cell.attack} recovered from {SHOWN[cell.arm]}"
                asked.append((cell, recovery(label, inputs, self.plan.seed, self.plan.weights)))
        return self._measured(asked)

    def _attributions(self, evidence: Mapping[Cell, Entry], seen: Mapping[Cell, Entry]) -> Iterator[Measured]:
        """Measure how well mixed images were put together again."""
        asked: list[tuple[Cell, Task]] = []
        for cell, entry in evidence.items():
            put_together = attributable(entry.arrays)
            if put_together and cell.sources:
                inputs = {"evidence": put_together, "seen": handed(seen[cell]), "sources": dict(cell.sources)}
                label = f"what {cell.attack} put together of {SHOWN[cell.arm]}"
                asked.append((cell, attribution_of(label, inputs, self.plan.seed)))
        return self._measured(asked)

    def _measured(self, asked: Sequence[tuple[Cell, Task]]) -> Iterator[Measured]:
        """The result for each cell; what several ask for is done once."""
        cells: dict[str, list[Cell]] = {}
        for cell, task in asked:
            cells.setdefault(task.key, []).append(cell)
        tasks = {task.key: task for _, task in asked}
        for task, result in run(list(tasks.values()), self.store, self.plan.workers, self._hear):
            for cell in cells[task.key]:
                yield cell, result

    def _hear(self, label: str, stage: str, share: float) -> None:
        self.announce(f"{label}, {stage} {100 * share:.0f} %", 0, 0)

    def _learn(self, cell: Cell, seconds: float) -> None:
        if cell.arm == "release":
            suspects, members = len(cell.pile.order), self.pools.members.images
            released = len(self.shown[cell.release].images)
            work = attack_work(self.attacks[cell.attack], self.plan.effort, suspects, released, members)
            Speeds(self.store).learn(*work, seconds)

    def _by_unit(self, cell: Cell, shuffled: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
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
