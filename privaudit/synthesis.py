"""From members to a release: the shards of an engine as tasks, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.attack import Context, Effort
from privaudit.cells import context
from privaudit.compiling import has_compiler
from privaudit.errors import InputError, PrivauditError
from privaudit.execution import Failure, Task, run
from privaudit.forecast import Speeds, synthesis_work
from privaudit.images import Images
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.plan import Announce, settings_of, within
from privaudit.plugins import make_synthesizer
from privaudit.release import PrivacyClaim, Release
from privaudit.store import Arrays, Entry, Store, array_digest
from privaudit.synthesizer import BESIDE, Shard, Synthesizer, beside_members, told_classes

_SHARD = "privaudit.synthesis:make_task"
_FINISH = "privaudit.synthesis:finish_task"


def plan_shards(
    engine: Synthesizer,
    members: Images,
    *,
    seed: int,
    effort: Effort,
    device: str,
    beside: Mapping[str, Images] | None = None,
) -> list[Task]:
    """The tasks that make a release of these members, in the order of the plan; nothing is stored yet.

    beside: what the engine uses beside the members, where it was loaded already.
    """
    if len(members) == 0:
        raise InputError("There are no members to make a release from.")
    shards = engine.shards(members)
    if not shards or len({shard.name for shard in shards}) < len(shards):
        raise InputError(
            f"The synthesizer '{engine.name}' must plan parts with names of their own; found none or twins."
        )
    images = {"members": members, **(beside_members(engine, members) if beside is None else beside)}
    stored = {
        name: {"pixels": array_digest(part.pixels), "labels": array_digest(part.labels)}
        for name, part in images.items()
    }
    return [
        Task(
            f"{engine.name}: {shard.name}",
            _SHARD,
            _arguments(engine, seed, effort, device) | {"shard": asdict(shard)},
            stored,
            _facts(engine, device),
        )
        for shard in shards
    ]


def _arguments(engine: Synthesizer, seed: int, effort: Effort, device: str) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "settings": settings_of(engine),
        "seed": seed,
        "effort": effort,
        "device": device,
    }


def _facts(engine: Synthesizer, device: str) -> dict[str, Any]:
    kind = type(engine)
    return {
        "version": engine.version,
        "class": f"{kind.__module__}:{kind.__qualname__}",
        "compiler": has_compiler(device),
        **result_facts(device),
    }


def synthesize(
    engine: Synthesizer,
    members: Images,
    store: Store,
    *,
    seed: int,
    effort: Effort,
    device: str,
    workers: int,
    announce: Announce,
    classes: int = 0,
) -> Release:
    """Make a release of the members. Finished shards are taken from the store.

    classes: how many there are; soft labels get a column for each, also for the last ones without members.
    Raises InputError where the settings do not fit the members or the machine, IncompleteError where a shard failed.
    """
    engine = told_classes(engine, classes) if classes else engine
    beside = beside_members(engine, members)
    tasks = plan_shards(engine, members, seed=seed, effort=effort, device=device, beside=beside)
    shards = engine.shards(members)
    stored = {name: put_images(store, part) for name, part in {"members": members, **beside}.items()}
    before = sum(store.get(task.key) is not None for task in tasks)
    made: dict[str, Entry] = {}
    announce(f"making {sum(shard.count for shard in shards):,} images with {engine.name}", 0, len(tasks))
    started = time.perf_counter()
    for done, (task, result) in enumerate(run(tasks, store, workers, within(announce)), 1):
        if isinstance(result, Failure):
            raise _error(engine, result)
        made[task.key] = result
        announce(task.label, done, len(tasks))
    if before == 0:
        seconds = (time.perf_counter() - started) * min(max(1, workers), len(tasks))
        Speeds(store).learn(*synthesis_work(engine, shards, members, effort), seconds)
    parts = {f"{number:06d}": dict(made[task.key].arrays) for number, task in enumerate(tasks)}
    label = f"{engine.name}: putting the images together"
    inputs = {**stored, **parts}
    last = Task(label, _FINISH, _arguments(engine, seed, effort, device), inputs, _facts(engine, device))
    ((_, result),) = run([last], store, min(workers, 1))
    if isinstance(result, Failure):
        raise _error(engine, result)
    return _release(store.load(result.arrays), classes)


def _error(engine: Synthesizer, failure: Failure) -> PrivauditError:
    if failure.is_input:
        return InputError(failure.message)
    return failure.incomplete(
        f"The synthesizer '{engine.name}' failed: {failure.message.rstrip('.')}. Finished parts are kept; start the "
        "same command again to go on."
    )


def engine_context(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays], *names: str) -> Context:
    """The context of a part of an engine, with what of the inputs it uses beside the members."""
    public, masks = (Images.from_arrays(inputs[name]) if name in inputs else None for name in BESIDE)
    return context(arguments, arguments["engine"], *names, reference=public, masks=masks)


def make_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """One shard: inputs {'members'}, and what is used beside them, to pixels and labels."""
    engine = make_synthesizer(arguments["engine"], dict(arguments["settings"]))
    shard = Shard(**arguments["shard"])
    own = engine_context(arguments, inputs, "shard", shard.name)
    made = engine.make(shard, Images.from_arrays(inputs["members"]), own)
    if len(made) != shard.count:
        raise InputError(f"The synthesizer '{engine.name}' made {len(made)} images instead of {shard.count}.")
    return made.arrays()


def finish_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """All shards in order, and inputs {'members'}, and what is used beside them, to the arrays of a release."""
    engine = make_synthesizer(arguments["engine"], dict(arguments["settings"]))
    parts = [Images.from_arrays(inputs[name]) for name in sorted(inputs) if name not in ("members", *BESIDE)]
    own = engine_context(arguments, inputs, "finish")
    release = engine.finish(parts, Images.from_arrays(inputs["members"]), own)
    found: dict[str, NDArray[Any]] = release.images.arrays()
    if release.soft_labels is not None:
        found["soft_labels"] = release.soft_labels
    if release.views is not None:
        found["views"] = release.views
    unsupported = [name for name in release.artifacts if name != "soft_labels"]
    if unsupported:
        raise InputError(f"'{engine.name}' releases {', '.join(unsupported)}, which cannot be written yet.")
    about = {
        "claim": None if release.claim is None else vars(release.claim),
        "provenance": dict(release.provenance),
    }
    found["about"] = np.frombuffer(json.dumps(about, sort_keys=True).encode(), dtype=np.uint8)
    return found


def _release(arrays: Arrays, classes: int) -> Release:
    soft = arrays.get("soft_labels")
    if soft is not None:
        soft = np.pad(soft, [*[(0, 0)] * (soft.ndim - 1), (0, max(0, classes - soft.shape[-1]))])
    about = json.loads(arrays["about"].tobytes())
    claim = None if about["claim"] is None else PrivacyClaim(**about["claim"])
    return Release(
        Images.from_arrays(arrays),
        soft_labels=soft,
        views=arrays.get("views"),
        claim=claim,
        provenance=about["provenance"],
    )
