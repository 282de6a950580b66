"""What happens where a task runs: one task, with read access to what is stored."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from privaudit.calls import Call, Surroundings, function_named, inside
from privaudit.errors import IncompleteError, InputError, PrivauditError
from privaudit.machine import ONE_THREAD, PARSING
from privaudit.manifest import result_facts
from privaudit.store import Arrays, Entry, array_digest, key_of

_REPORT_EVERY = 0.5


@dataclass(frozen=True)
class Task:
    """A piece of work: idempotent, pure, one thread.

    function: 'module:name' of a function (arguments, inputs) -> arrays. arguments: JSON-able.
    inputs: for each input a mapping from array names to hashes in the store.
    facts: what else the result depends on (versions, device model); part of the key only.
    """

    label: str
    function: str
    arguments: Mapping[str, Any]
    inputs: Mapping[str, Mapping[str, str]]
    facts: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Hash of everything the result depends on."""
        return key_of(
            {"function": self.function, "arguments": self.arguments, "inputs": self.inputs, "facts": self.facts}
        )

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda or mps."""
        return str(self.arguments.get("device", "cpu"))


@dataclass(frozen=True)
class Done:
    """What a finished task returned. made_from: the entries that it used, digests by key."""

    arrays: Arrays
    seconds: float
    made_from: Mapping[str, str]


@dataclass(frozen=True)
class Needs:
    """Tasks that must be finished before a task can go on. arrays: inputs of theirs that are not in the store yet."""

    tasks: tuple[Task, ...]
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Failure:
    """A task that raised: a sentence for people, and the traceback (without values) for the private folder.

    is_input: whether what was given is at fault, and not the work itself.
    """

    message: str
    trace: str
    is_input: bool = False

    def incomplete(self, sentence: str) -> IncompleteError:
        """The error that says this sentence, with the traceback as its note."""
        error = IncompleteError(sentence)
        error.add_note(self.trace)
        return error


def failure_of(error: BaseException) -> Failure:
    """What is told of an error."""
    with PARSING:
        trace = "".join(traceback.format_exception(error))
    if isinstance(error, PrivauditError):
        return Failure(str(error), trace, error.exit_code == PrivauditError.exit_code)
    return Failure(f"{type(error).__name__}: {error}", trace)


Result = Done | Needs | Failure
"""What becomes of a task that was handed out."""


class _Stop(BaseException):
    """Unwinds a task that needs others first; no Exception, so that the task itself does not catch it."""

    def __init__(self, needs: Needs) -> None:
        super().__init__("the task needs others first")
        self.needs = needs


Report = Callable[[str, str, float], None]
"""Progress: the label of a task, a stage, a share in [0, 1]."""


class Shelf(Protocol):
    """What a worker reads: the store itself, or what was sent of it to another machine (see `Store`)."""

    def get(self, key: str) -> Entry | None:
        """The finished task of this key."""

    def load(self, arrays: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        """Read arrays by their hashes."""

    def holds(self, digest: str) -> bool:
        """Whether the array of this hash is there."""

    def unfinished(self, key: str) -> Path | None:
        """A file for the unfinished work of the task of this key; None where there is no lasting place."""


class _WithShelf(Surroundings):
    """Those of a task whose results are kept."""

    keeps = True

    def __init__(self, task: Task, shelf: Shelf, report: Report) -> None:
        self._task, self._shelf, self._report = task, shelf, report
        self._reported = 0.0
        self.made_from: dict[str, str] = {}

    @property
    def checkpoint(self) -> Path | None:  # type: ignore[override]
        return self._shelf.unfinished(self._task.key)

    def report(self, stage: str, share: float) -> None:
        if time.monotonic() - self._reported > _REPORT_EVERY:
            self._reported = time.monotonic()
            self._report(self._task.label, stage, share)

    def compute(self, calls: Sequence[Call]) -> list[Arrays]:
        new: dict[str, NDArray[Any]] = {}
        digests: dict[int, str] = {}  # of arrays that many calls share
        tasks = [self._as_task(call, new, digests) for call in calls]
        entries = [self._shelf.get(task.key) for task in tasks]
        missing = tuple(task for task, entry in zip(tasks, entries, strict=True) if entry is None)
        if missing:
            used = {digest for task in missing for part in task.inputs.values() for digest in part.values()}
            raise _Stop(Needs(missing, {digest: array for digest, array in new.items() if digest in used}))
        found = [entry for entry in entries if entry is not None]
        self.made_from |= {task.key: entry.digest for task, entry in zip(tasks, found, strict=True)}
        return [self._shelf.load(entry.arrays) for entry in found]

    def _as_task(self, call: Call, new: dict[str, NDArray[Any]], digests: dict[int, str]) -> Task:
        inputs: dict[str, dict[str, str]] = {}
        for part, arrays in call.inputs.items():
            inputs[part] = {}
            for name, array in arrays.items():
                if id(array) not in digests:
                    digest = digests[id(array)] = array_digest(array)
                    if digest not in new and not self._shelf.holds(digest):
                        new[digest] = array
                inputs[part][name] = digests[id(array)]
        facts = dict(call.facts) | result_facts(str(call.arguments.get("device", "cpu")))
        return Task(call.label, call.function, call.arguments, inputs, facts)


def work(task: Task, shelf: Shelf, report: Report) -> Result:
    """Do a task, as far as it gets. Whatever it raises is told, not raised."""
    try:
        return _work(task, shelf, report)
    except _Stop as stop:
        return stop.needs
    except BaseException as error:  # noqa: BLE001 (whatever the task raised; interrupts go to the driver)
        return failure_of(error)


def _work(task: Task, shelf: Shelf, report: Report) -> Done:
    started = time.perf_counter()
    inputs = {key: shelf.load(arrays) for key, arrays in task.inputs.items()}
    with inside(around := _WithShelf(task, shelf, report)):
        arrays = dict(function_named(task.function)(task.arguments, inputs))
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise InputError(f"'{task.label}' must return arrays of numbers; '{key}' is {type(value).__name__}.")
    return Done(arrays, time.perf_counter() - started, around.made_from)


def one_thread() -> None:
    """Let this thread's numerical libraries use no others: two busy threads on shared cores collapse to a tenth, and
    sums come out different in their last bits.
    """
    import torch
    from threadpoolctl import threadpool_limits

    os.environ.update(ONE_THREAD)
    threadpool_limits(1)
    torch.set_num_threads(1)
