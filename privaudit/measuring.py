"""What is measured beside the attacks: similarity and utility of each candidate, as tasks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from privaudit import seeds
from privaudit.errors import IncompleteError
from privaudit.execution import Failure, Task, run
from privaudit.forecast import Speeds, measure_work
from privaudit.images import Images
from privaudit.manifest import result_facts
from privaudit.plan import Announce, Candidate, Plan
from privaudit.pools import Pools
from privaudit.record import Similarity, Statistic
from privaudit.runner import put_images
from privaudit.store import Arrays, Store
from privaudit.utility.record import UtilityRecord

_SIMILARITY = "privaudit.measuring:similarity_task"
_UTILITY = "privaudit.utility:utility_task"
_VERSION = 1

_Laws = TypeAdapter(dict[Statistic, Similarity | None])


class Measured:
    """What was found about each candidate by name. notes: what was not assessed, and why."""

    def __init__(self) -> None:
        self.similarity: dict[str, dict[Statistic, Similarity | None]] = {}
        self.utility: dict[str, UtilityRecord] = {}
        self.notes: dict[str, list[str]] = {}


def measure(plan_: Plan, pools: Pools, store: Store, announce: Announce) -> Measured:
    """Similarity and utility of every candidate, as far as the plan asks for them.

    Raises IncompleteError where a measurement failed; what finished is kept.
    """
    found = Measured()
    tasks: dict[str, tuple[str, str]] = {}
    todo: list[Task] = []
    controls = pools.controls.images.take(pools.scored_controls)
    members = put_images(store, plan_.members.images)
    for candidate in plan_.candidates:
        found.notes[candidate.name] = [f"{part}: left out by the plan" for part in _left_out(plan_)]
        released = put_images(store, candidate.release.images)
        for part in plan_.measure:
            task = (
                _similarity(plan_, candidate, released, members, put_images(store, controls))
                if part == "similarity"
                else _utility(plan_, candidate, released, members, pools, store)
            )
            todo.append(task)
            tasks[task.key] = candidate.name, part

    def hear(label: str, stage: str, share: float) -> None:
        announce(f"{label}, {stage} {100 * share:.0f} %", 0, 0)

    started = time.perf_counter()
    is_new = all(store.get(task.key) is None for task in todo)
    for done, (task, result) in enumerate(run(todo, store, plan_.workers, hear), 1):
        name, measured = tasks[task.key]
        if isinstance(result, Failure):
            raise IncompleteError(f"The {measured} of '{name}' could not be measured: {result.message}.")
        announce(task.label, done, len(todo))
        record = store.load({"record": result.arrays["record"]})["record"].tobytes()
        if measured == "similarity":
            found.similarity[name] = _Laws.validate_json(record)
            notes = store.load({"notes": result.arrays["notes"]})["notes"].tobytes().decode()
            found.notes[name] += [note for note in notes.splitlines() if note]
        else:
            found.utility[name] = UtilityRecord.model_validate_json(record)
    if is_new and len(plan_.measure) == 1:
        seconds = (time.perf_counter() - started) * max(1, plan_.workers)
        Speeds(store).learn(*measure_work(plan_.measure[0], plan_), seconds)
    return found


def _left_out(plan_: Plan) -> list[str]:
    return [
        text
        for part, text in (("similarity", "similarity (SSIM, PSNR, LPIPS)"), ("utility", "utility"))
        if part not in plan_.measure
    ]


def _similarity(
    plan_: Plan,
    candidate: Candidate,
    released: dict[str, str],
    members: dict[str, str],
    controls: dict[str, str],
) -> Task:
    arguments = {"seed": plan_.seed, "weights": None if plan_.weights is None else str(plan_.weights)}
    inputs = {"release": released, "members": members, "controls": controls}
    facts = {"version": _VERSION, "backbones": _backbones(plan_.weights), **result_facts("cpu")}
    return Task(f"similarity of {candidate.name}", _SIMILARITY, arguments, inputs, facts)


def _backbones(weights: Path | None) -> dict[str, str]:
    from privaudit import weights as store

    if weights is None:
        return {}
    return {name: found.sha256 for name in store.KNOWN if (found := store.stored(name, weights)) is not None}


def _utility(
    plan_: Plan,
    candidate: Candidate,
    released: dict[str, str],
    members: dict[str, str],
    pools: Pools,
    store: Store,
) -> Task:
    from privaudit.utility import student_recipe

    inputs = {"release": dict(released), "members": members}
    if candidate.release.soft_labels is not None:
        inputs["release"]["soft_labels"] = store.put_array(candidate.release.soft_labels)
    if plan_.test is None:
        inputs["test"] = put_images(store, pools.controls.images.take(pools.scored_controls))
        if pools.unit == "person":
            inputs["test"]["units"] = store.put_array(pools.units("controls"))
    else:
        inputs["test"] = put_images(store, plan_.test.images)
        if plan_.test.groups is not None:
            inputs["test"]["units"] = store.put_array(plan_.test.units)
    arguments = {
        "recipe": student_recipe(candidate.release.images).model_dump(mode="json"),
        "classes": len(plan_.members.class_names),
        "seeds": plan_.utility_seeds,
        "seed": plan_.seed,
        "device": plan_.device,
    }
    return Task(
        f"utility of {candidate.name}", _UTILITY, arguments, inputs, {"version": _VERSION, **result_facts(plan_.device)}
    )


def similarity_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'release', 'members', 'controls'} to 'record' (JSON of the laws) and 'notes' (lines), both as bytes."""
    from privaudit.similarity import similarity

    release, members, controls = (
        Images(inputs[part]["pixels"], inputs[part]["labels"]) for part in ("release", "members", "controls")
    )
    weights = None if arguments["weights"] is None else Path(arguments["weights"])
    found = similarity(release, members, controls, weights, seeds.generator(arguments["seed"], "similarity"))
    laws = {
        name: None
        if one is None
        else Similarity(name=one.name, release=one.release_law, controls=one.controls_law, place=one.place)
        for name, one in found.compared.items()
    }
    notes = [f"{name.upper()}: {reason.removeprefix('not assessed: ')}" for name, reason in found.not_assessed.items()]
    texts = {"record": _Laws.dump_json(laws), "notes": "\n".join(notes).encode()}
    return {name: np.frombuffer(text, dtype=np.uint8) for name, text in texts.items()}
