"""Where work runs: tasks over one-thread processes on this machine's cores, or on a Ray cluster. Nothing else knows.

A task names a function, its arguments and its inputs in the store; its key is the hash of all that. Finished tasks are
taken from the store. Workers only read the store (beside a checkpoint of unfinished work); the driver writes what they
return. A task may ask for others (see `calls`): they run first, and it starts again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from privaudit.machine import cores
from privaudit.processes import Processes
from privaudit.store import Entry, Store
from privaudit.worker import Done, Failure, Needs, Report, Result, Task, failure_of

if TYPE_CHECKING:
    from privaudit.cluster import Cluster

__all__ = ["Failure", "Task", "at_a_time", "cores", "on_cluster", "run"]

_MOST_ROUNDS = 1000
"""How often a task, and those that wait for it, may ask for others before they are taken to ask for ever."""

_KILLED = "its process was killed, perhaps for lack of memory"
_ENDLESS = "it asks for ever new steps before it starts"
_CIRCLE = "the steps that it asks for wait for each other"


def _ignore(label: str, stage: str, share: float) -> None:
    """Ignore progress."""


class _Pool(Protocol):
    """Workers."""

    def submit(self, task: Task) -> Future[Result]: ...
    def stop(self) -> None: ...


_cluster: ContextVar[Cluster | None] = ContextVar("cluster", default=None)


@contextmanager
def on_cluster(address: str) -> Iterator[None]:
    """Within the block, what would run in processes runs on this Ray cluster.

    Raises InputError where no cluster answers (see `cluster.connected`).
    """
    from privaudit.cluster import connected

    with connected(address) as cluster:
        token = _cluster.set(cluster)
        try:
            yield
        finally:
            _cluster.reset(token)


def at_a_time(device: str) -> int:
    """How many tasks for this device run at a time: on this machine one per core, or one for its GPU."""
    cluster = _cluster.get()
    if cluster is not None:
        return cluster.slots(device)
    return cores() if device == "cpu" else 1


def _pool(workers: int, store: Store, hear: Report) -> _Pool:
    cluster = _cluster.get()
    if cluster is None or workers == 0:
        return Processes(workers, store, hear)
    from privaudit.cluster import OnCluster

    return OnCluster(cluster, store, hear)


class _Schedule:
    """Tasks in work, and those that wait for others. Every task ends in `results` or in `lost`."""

    def __init__(self, tasks: Sequence[Task], store: Store, pool: _Pool) -> None:
        self.store, self.pool = store, pool
        self.results: list[tuple[Task, Entry | Failure]] = []
        self.lost: list[Task] = []
        self._futures: dict[Future[Result], Task] = {}
        self._waiting: dict[str, tuple[Task, set[str]]] = {}
        self._open: set[str] = set()
        self._gone: dict[str, Failure | None] = {}  # failed, or lost (None)
        self._rounds: dict[str, int] = {}
        for task in tasks:
            self._start(task)

    @property
    def is_open(self) -> bool:
        """Whether there is still something to wait for."""
        return bool(self._open)

    def _start(self, task: Task) -> None:
        self._open.add(task.key)
        try:
            self._futures[self.pool.submit(task)] = task
        except BrokenProcessPool:  # a worker died while tasks were still being handed out
            self._end(task, None)

    def step(self) -> None:
        """Wait until a task is done with, and see to what follows."""
        if not self._futures:
            for task, _ in list(self._waiting.values()):
                self._end(task, Failure(_CIRCLE, ""))
            return
        done, _ = wait(self._futures, return_when=FIRST_COMPLETED)
        for future in done:
            task = self._futures.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                self._end(task, None)
            elif isinstance(result := future.result(), Needs):
                self._wait_for(task, result)
            else:
                self._end(task, _kept(task, self.store, result))

    def _wait_for(self, task: Task, needs: Needs) -> None:
        rounds = self._rounds[task.key] = self._rounds.get(task.key, 0) + 1
        if rounds > _MOST_ROUNDS:
            self._end(task, Failure(_ENDLESS, ""))
            return
        for array in needs.arrays.values():
            self.store.put_array(array)
        missing = {other.key: other for other in needs.tasks if self.store.get(other.key) is None}
        gone = [self._gone[key] for key in missing if key in self._gone]
        if gone:
            self._end(task, gone[0])
        elif not missing:
            self._start(task)
        else:
            self._waiting[task.key] = task, set(missing)
            for key, other in missing.items():
                if key not in self._open:
                    self._rounds.setdefault(key, rounds)  # so that a chain of tasks ends too
                    self._start(other)

    def _end(self, task: Task, result: Entry | Failure | None) -> None:
        """Note what became of a task (None: lost); those that wait for it go on, or share its fate."""
        ended = [task]
        for task in ended:
            self._open.discard(task.key)
            self._waiting.pop(task.key, None)
            if result is None:
                self.lost.append(task)
            else:
                self.results.append((task, result))
            waiters = [waiter for waiter, others in self._waiting.values() if task.key in others]
            if not isinstance(result, Entry):
                self._gone[task.key] = result
                ended += [waiter for waiter in waiters if waiter not in ended]
                continue
            for waiter in waiters:
                others = self._waiting[waiter.key][1]
                others.discard(task.key)
                if not others:
                    del self._waiting[waiter.key]
                    self._start(waiter)


def _compute(tasks: Sequence[Task], store: Store, workers: int, hear: Report) -> Iterator[tuple[Task, Entry | Failure]]:
    """Run tasks; those lost with a dying worker are run again, each alone."""
    pool = _pool(workers, store, hear)
    try:
        schedule = _Schedule(tasks, store, pool)
        while schedule.is_open or schedule.results:
            while schedule.results:
                yield schedule.results.pop(0)
            if schedule.is_open:
                schedule.step()
    finally:
        pool.stop()
    failed: dict[str, Failure] = {}
    for task in schedule.lost:
        yield task, _alone(task, store, hear, failed)


def _alone(task: Task, store: Store, hear: Report, failed: dict[str, Failure], rounds: int = 0) -> Entry | Failure:
    """Finish a task in a process of its own, and before it, one by one, what it asks for.

    failed: tasks that are known to fail; those that fail here are added.
    """
    if task.key in failed:
        return failed[task.key]
    if (entry := store.get(task.key)) is not None:
        return entry
    failed[task.key] = Failure(_CIRCLE, "")  # for those that it asks for
    result = _steps(task, store, hear, failed, rounds)
    if isinstance(result, Failure):
        failed[task.key] = result
    else:
        del failed[task.key]
    return result


def _steps(task: Task, store: Store, hear: Report, failed: dict[str, Failure], rounds: int) -> Entry | Failure:
    for number in range(rounds + 1, _MOST_ROUNDS + 1):
        pool = Processes(1, store, hear)
        try:
            result = pool.submit(task).result()
        except BrokenProcessPool as error:
            return Failure(_KILLED, failure_of(error).trace)
        finally:
            pool.stop()
        if not isinstance(result, Needs):
            return _kept(task, store, result)
        for array in result.arrays.values():
            store.put_array(array)
        for other in result.tasks:
            if isinstance(failure := _alone(other, store, hear, failed, number), Failure):
                return failure
    return Failure(_ENDLESS, "")


def _kept(task: Task, store: Store, result: Done | Failure) -> Entry | Failure:
    if isinstance(result, Failure):
        return result
    store.put(task.key, result.arrays, {"seconds": result.seconds, "label": task.label}, result.made_from)
    entry = store.get(task.key)
    if entry is None:
        raise OSError(f"The result of '{task.label}' could not be read back from the store.")
    return entry


def run(
    tasks: Sequence[Task], store: Store, workers: int, hear: Report = _ignore
) -> Iterator[tuple[Task, Entry | Failure]]:
    """Finish all tasks, in any order; equal tasks once. `workers` processes, or a cluster; 0: inside this process.

    hear: told of progress within tasks, from another thread.
    """
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
        for task, result in _compute(list(missing.values()), store, workers, hear):
            for twin in same.get(task.key, []):
                yield twin, result
