"""Where work runs: tasks over one-thread processes on this machine's cores. Nothing else knows about processes.

A task names a function, its arguments and its inputs in the store; its key is the hash of all that. Finished tasks are
taken from the store. Workers only read the store; the driver writes what they return.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.errors import InputError, PrivauditError
from privaudit.store import Arrays, Entry, Store, key_of


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
class Failure:
    """A task that raised: a sentence for people, and the traceback (without values) for the private folder."""

    message: str
    trace: str


def _watch_parent(parent: int) -> None:
    """End this worker when the driver is gone, even if it was killed."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _start_worker(parent: int) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_thread()
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
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


def _work(task: Task, root: Path) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    module, name = task.function.split(":")
    store = Store(root)
    inputs = {key: store.load(arrays) for key, arrays in task.inputs.items()}
    arrays = dict(getattr(importlib.import_module(module), name)(task.arguments, inputs))
    for key, value in arrays.items():
        if not isinstance(value, np.ndarray) or value.dtype.hasobject:
            raise InputError(f"'{task.label}' must return arrays of numbers; '{key}' is {type(value).__name__}.")
    return arrays, time.perf_counter() - started


def _failure(error: BaseException) -> Failure:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, PrivauditError):
        return Failure(str(error), trace)
    if isinstance(error, BrokenProcessPool):
        return Failure("its process was killed, perhaps for lack of memory", trace)
    return Failure(f"{type(error).__name__}: {error}", trace)


def _executor(workers: int) -> Executor:
    if workers == 0:
        return ThreadPoolExecutor(1, initializer=_one_thread)
    return ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(os.getpid(),)
    )


def _compute(tasks: Sequence[Task], store: Store, workers: int) -> Iterator[tuple[Task, Entry | Failure]]:
    """Run tasks; those lost with a dying worker are run again, each alone."""
    lost: list[Task] = []
    pool = _executor(workers)
    try:
        futures: dict[Future[tuple[dict[str, Any], float]], Task] = {}
        for task in tasks:
            try:
                with _no_interrupts():
                    futures[pool.submit(_work, task, store.root)] = task
            except BrokenProcessPool as broken:  # a worker died while tasks were still being handed out
                if len(tasks) == 1:
                    yield task, _failure(broken)
                lost.append(task)
        if len(tasks) == 1 and lost:
            return
        for future in as_completed(futures):
            task, error = futures[future], future.exception()
            if isinstance(error, BrokenProcessPool) and len(tasks) > 1:
                lost.append(task)
            elif error is not None:
                yield task, _failure(error)
            else:
                yield task, _keep(task, store, *future.result())
    finally:
        _stop(pool)
    for task in lost:
        yield from _compute([task], store, workers)


def _stop(pool: Executor) -> None:
    if isinstance(pool, ProcessPoolExecutor):
        for process in list((pool._processes or {}).values()):
            process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


def _keep(task: Task, store: Store, arrays: Arrays, seconds: float) -> Entry:
    store.put(task.key, arrays, {"seconds": seconds, "label": task.label})
    entry = store.get(task.key)
    if entry is None:
        raise OSError(f"The result of '{task.label}' could not be read back from the store.")
    return entry


def run(tasks: Sequence[Task], store: Store, workers: int) -> Iterator[tuple[Task, Entry | Failure]]:
    """Finish all tasks, in any order; equal tasks once. `workers` processes; 0: inside this one."""
    missing: dict[str, Task] = {}
    same: dict[str, list[Task]] = {}
    for task in tasks:
        entry = None if task.key in missing else store.get(task.key)
        if entry is not None:
            yield task, entry
        else:
            missing.setdefault(task.key, task)
            same.setdefault(task.key, []).append(task)
    if missing:
        for task, result in _compute(list(missing.values()), store, min(workers, len(missing))):
            for twin in same[task.key]:
                yield twin, result


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
