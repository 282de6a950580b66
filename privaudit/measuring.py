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
from privaudit.piles import put_images
from privaudit.plan import Announce, Candidate, Measure, Plan, within
from privaudit.pools import Pools
from privaudit.record import Similarity, Statistic, without_paths
from privaudit.store import Arrays, Entry, Store
from privaudit.utility.record import UtilityRecord
from privaudit.weights import stored_backbones

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

    What the data do not allow is noted. Raises IncompleteError where a measurement failed; what finished is kept.
    """
    found = Measured()
    tasks: dict[str, Task] = {}
    asked: dict[str, list[tuple[Candidate, Measure]]] = {}  # candidates of the same images share a task
    controls = put_images(store, pools.controls.images.take(pools.scored_controls))
    members = put_images(store, plan_.members.images)
    for candidate in plan_.candidates:
        found.notes[candidate.name] = [f"{part}: left out by the plan" for part in _left_out(plan_)]
        released = put_images(store, candidate.release.images)
        for part in plan_.measure:
            if part == "similarity":
                task = _similarity(plan_, candidate, released, members, controls)
            else:
                task = _utility(plan_, candidate, released, members, pools, store)
            tasks.setdefault(task.key, task)
            asked.setdefault(task.key, []).append((candidate, part))
    new = {key: asked[key][0] for key in tasks if store.get(key) is None}
    trained = sum(part == "utility" for _, part in new.values())
    started = time.perf_counter()
    for done, (task, result) in enumerate(run(list(tasks.values()), store, plan_.workers, within(announce)), 1):
        for candidate, part in asked[task.key]:
            if isinstance(result, Failure) and result.is_input:
                found.notes[candidate.name].append(f"{part}: {without_paths(result.message)}")
            elif isinstance(result, Failure):
                raise _error(candidate, part, result)
            else:
                _read(result, candidate, part, store, found)
        announce(task.label, done, len(tasks))
        if task.key in new and isinstance(result, Entry):
            candidate, part = new[task.key]
            seconds = float(result.facts["seconds"])
            if part == "utility":  # its networks are tasks of their own
                seconds = (time.perf_counter() - started) * max(1, plan_.workers) / trained
            Speeds(store).learn(*measure_work(part, plan_, len(candidate.release.images)), seconds)
    return found


def _read(entry: Entry, candidate: Candidate, part: Measure, store: Store, found: Measured) -> None:
    arrays = store.load({name: entry.arrays[name] for name in ("record", "notes") if name in entry.arrays})
    texts = {name: array.tobytes() for name, array in arrays.items()}
    if part == "similarity":
        found.similarity[candidate.name] = _Laws.validate_json(texts["record"])
        found.notes[candidate.name] += [note for note in texts["notes"].decode().splitlines() if note]
    else:
        found.utility[candidate.name] = UtilityRecord.model_validate_json(texts["record"])


def _error(candidate: Candidate, part: Measure, failure: Failure) -> IncompleteError:
    return failure.incomplete(
        f"The {part} of '{candidate.name}' could not be measured: {failure.message.rstrip('.')}. Everything else is "
        f"kept; start again with --skip {part} and another --out to go without it."
    )


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
    facts = {"version": _VERSION, "backbones": stored_backbones(plan_.weights), **result_facts("cpu")}
    return Task(f"similarity of {candidate.name}", _SIMILARITY, arguments, inputs, facts)


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
    if candidate.release.views is not None:
        inputs["release"]["views"] = store.put_array(candidate.release.views)
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
