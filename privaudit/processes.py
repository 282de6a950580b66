"""Workers on this machine: processes of one thread each, or a thread of this process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

from privaudit.store import Store
from privaudit.worker import Report, Result, Task, one_thread, work

_LISTEN_SECONDS = 0.1


class Processes:
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
            workers, mp_context=context, initializer=_start, initargs=(os.getpid(), self._queue)
        )
        self._stopped = threading.Event()
        self._listener = threading.Thread(target=self._listen, args=(self._queue,), daemon=True)
        self._listener.start()

    def submit(self, task: Task) -> Future[Result]:
        """Hand out a task. Raises BrokenProcessPool where a worker has died."""
        with no_interrupts():
            if self._queue is None:
                return self._executor.submit(work, task, self._store, self._hear)
            return self._executor.submit(_work, task, self._store.root)

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


_to_driver: list[Any] = []
"""The queue that takes reports to the driver; set once in each worker process."""


def _work(task: Task, root: Path) -> Result:
    """Do a task in a worker process."""
    return work(task, Store(root), lambda *message: _to_driver[0].put(message))


def _start(parent: int, queue: Any) -> None:
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
