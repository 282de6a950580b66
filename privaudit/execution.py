"""Where work runs: tasks over one-thread processes on this machine's cores. Nothing else knows about processes.

A task names a function, its arguments and its inputs in the store; its key is the hash of all that. Finished tasks are
taken from the store. Workers only read the store (beside a checkpoint of unfinished work); the driver writes what they
return. A task may ask for others (see `calls`): they run first, and it starts again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue

from privaudit.errors import IncompleteError, PrivauditError
from privaudit.machine import PARSING, cores
from privaudit.store import Entry, Store
from privaudit.worker import Done, Needs, Report, Task, no_interrupts, one_thread, start_worker, work

__all__ = ["Failure", "Task", "cores", "run"]

_MOST_ROUNDS = 1000
"""How often a task, and those that wait for it, may ask for others before they are taken to ask for ever."""

_ENDLESS = "it asks for ever new steps before it starts"
_CIRCLE = "the steps that it asks for wait for each other"
_LISTEN_SECONDS = 0.1


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


def _failure(error: BaseException) -> Failure:
    with PARSING:
        trace = "".join(traceback.format_exception(error))
    if isinstance(error, PrivauditError):
        return Failure(str(error), trace, error.exit_code == PrivauditError.exit_code)
    if isinstance(error, BrokenProcessPool):
        return Failure("its process was killed, perhaps for lack of memory", trace)
    return Failure(f"{type(error).__name__}: {error}", trace)


def _ignore(label: str, stage: str, share: float) -> None:
    """Ignore progress."""


class _Pool:
    """Workers: processes, or for 0 workers a thread of this one. Their progress goes to `hear`."""

    def __init__(self, workers: int, store: Store, hear: Report) -> None:
        self._store, self._hear = store, hear
        self._queue: SimpleQueue[tuple[str, str, float]] | None = None
        if workers == 0:
            self._executor: Executor = ThreadPoolExecutor(1, initializer=one_thread)
            return
        context = multiprocessing.get_context("spawn")
        self._queue = context.SimpleQueue()
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=start_worker, initargs=(os.getpid(), self._queue)
        )
        self._stopped = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(self._queue,), daemon=True)
        self._listener.start()

    def submit(self, task: Task) -> Future[Done | Needs]:
        """Hand out a task. Raises BrokenProcessPool where a worker has died."""
        with no_interrupts():
            if self._queue is None:
                return self._executor.submit(work, task, self._store.root, self._hear)
            return self._executor.submit(work, task, self._store.root)

    def _listen(self, queue: SimpleQueue[tuple[str, str, float]]) -> None:
        """Until the end. It looks from time to time: a last message would wait for ever for a worker that was killed
        while it held the queue.
        """
        stopped = False
        while not stopped:
            stopped = self._stopped.wait(_LISTEN_SECONDS)
            while not queue.empty():
                message = queue.get()
                with contextlib.suppress(Exception):  # workers would wait for ever for a listener that has died
                    self._hear(*message)

    def stop(self) -> None:
        """End all workers, whatever they do."""
        if isinstance(self._executor, ProcessPoolExecutor):
            for process in list((self._executor._processes or {}).values()):
                process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._queue is not None:
            self._stopped.set()
            self._listener.join(timeout=1.0)


class _Schedule:
    """Tasks in work, and those that wait for others. Every task ends in `results` or in `lost`."""

    def __init__(self, tasks: Sequence[Task], store: Store, pool: _Pool) -> None:
        self.store, self.pool = store, pool
        self.results: list[tuple[Task, Entry | Failure]] = []
        self.lost: list[Task] = []
        self._futures: dict[Future[Done | Needs], Task] = {}
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
            task, error = self._futures.pop(future), future.exception()
            if isinstance(error, BrokenProcessPool):
                self._end(task, None)
            elif error is not None:
                self._end(task, _failure(error))
            elif isinstance(result := future.result(), Needs):
                self._wait_for(task, result)
            else:
                self._end(task, _keep(task, self.store, result))

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
    pool = _Pool(workers, store, hear)
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
        pool = _Pool(1, store, hear)
        try:
            result = pool.submit(task).result()
        except (Exception, SystemExit) as error:  # noqa: BLE001 (whatever the task raised)
            return _failure(error)
        finally:
            pool.stop()
        if isinstance(result, Done):
            return _keep(task, store, result)
        for array in result.arrays.values():
            store.put_array(array)
        for other in result.tasks:
            if isinstance(failure := _alone(other, store, hear, failed, number), Failure):
                return failure
    return Failure(_ENDLESS, "")


def _keep(task: Task, store: Store, done: Done) -> Entry:
    store.put(task.key, done.arrays, {"seconds": done.seconds, "label": task.label})
    entry = store.get(task.key)
    if entry is None:
        raise OSError(f"The result of '{task.label}' could not be read back from the store.")
    return entry


def run(
    tasks: Sequence[Task], store: Store, workers: int, hear: Report = _ignore
) -> Iterator[tuple[Task, Entry | Failure]]:
    """Finish all tasks, in any order; equal tasks once. `workers` processes; 0: inside this one.

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
