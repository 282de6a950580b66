"""What happens in a worker process: one task, with read access to the store."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.calls import Call, Surroundings, function_named, inside
from privaudit.errors import InputError
from privaudit.manifest import result_facts
from privaudit.store import Arrays, Store, array_digest, key_of

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


@dataclass(frozen=True)
class Done:
    """What a finished task returned."""

    arrays: Arrays
    seconds: float


@dataclass(frozen=True)
class Needs:
    """Tasks that must be finished before a task can go on. arrays: inputs of theirs that are not in the store yet."""

    tasks: tuple[Task, ...]
    arrays: Mapping[str, NDArray[Any]]


class _Stop(BaseException):
    """Unwinds a task that needs others first; no Exception, so that the task itself does not catch it."""

    def __init__(self, needs: Needs) -> None:
        super().__init__("the task needs others first")
        self.needs = needs


Report = Callable[[str, str, float], None]
"""Progress: the label of a task, a stage, a share in [0, 1]."""


class _WithStore(Surroundings):
    """Those of a task that runs for a store."""

    keeps = True

    def __init__(self, task: Task, store: Store, report: Report) -> None:
        self._task, self._store, self._report = task, store, report
        self._reported = 0.0

    @property
    def checkpoint(self) -> Path:  # type: ignore[override]
        return self._store.unfinished(self._task.key)

    def report(self, stage: str, share: float) -> None:
        if time.monotonic() - self._reported > _REPORT_EVERY:
            self._reported = time.monotonic()
            self._report(self._task.label, stage, share)

    def compute(self, calls: Sequence[Call]) -> list[Arrays]:
        new: dict[str, NDArray[Any]] = {}
        tasks = [self._as_task(call, new) for call in calls]
        entries = [self._store.get(task.key) for task in tasks]
        missing = tuple(task for task, entry in zip(tasks, entries, strict=True) if entry is None)
        if missing:
            used = {digest for task in missing for part in task.inputs.values() for digest in part.values()}
            raise _Stop(Needs(missing, {digest: array for digest, array in new.items() if digest in used}))
        return [self._store.load(entry.arrays) for entry in entries if entry is not None]

    def _as_task(self, call: Call, new: dict[str, NDArray[Any]]) -> Task:
        inputs: dict[str, dict[str, str]] = {}
        for part, arrays in call.inputs.items():
            inputs[part] = {}
            for name, array in arrays.items():
                digest = inputs[part][name] = array_digest(array)
                if digest not in new and not self._store.holds(digest):
                    new[digest] = array
        facts = dict(call.facts) | result_facts(str(call.arguments.get("device", "cpu")))
        return Task(call.label, call.function, call.arguments, inputs, facts)


def work(task: Task, root: Path, report: Report | None = None) -> Done | Needs:
    """Do a task, as far as it gets."""
    started = time.perf_counter()
    store = Store(root)
    inputs = {key: store.load(arrays) for key, arrays in task.inputs.items()}
    try:
        with inside(_WithStore(task, store, report or _tell_driver)):
            arrays = dict(function_named(task.function)(task.arguments, inputs))
    except _Stop as stop:
        return stop.needs
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise InputError(f"'{task.label}' must return arrays of numbers; '{key}' is {type(value).__name__}.")
    return Done(arrays, time.perf_counter() - started)


_to_driver: list[Any] = []
"""The queue that takes reports to the driver; set once in each worker process."""


def _tell_driver(label: str, stage: str, share: float) -> None:
    if _to_driver:
        _to_driver[0].put((label, stage, share))


def one_thread() -> None:
    """Let torch use one thread: two busy threads on shared cores collapse to a tenth."""
    import torch

    torch.set_num_threads(1)


def start_worker(parent: int, queue: Any) -> None:
    """Prepare a worker process: Ctrl-C is the driver's business, and it ends when the driver is gone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _to_driver.append(queue)
    one_thread()
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_parent(parent: int) -> None:
    """End this worker when the driver is gone, even if it was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


@contextlib.contextmanager
def no_interrupts() -> Iterator[None]:
    """Ctrl-C waits until the block ends; workers that start in it never hear of it, not even while they import."""
    import signal

    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
