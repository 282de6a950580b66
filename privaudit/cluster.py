"""Workers on a Ray cluster (extra `cluster`). Nothing but `execution` knows of it.

Nodes need no folder in common: what a task reads is sent through Ray's object store, each array once, and what it
returns comes back to the driver, which alone writes the store. A task whose worker is lost runs again; where the nodes
see the driver's store, it goes on from its checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.optional import optional
from privaudit.errors import IncompleteError, InputError, PrivauditError
from privaudit.machine import ONE_THREAD
from privaudit.manifest import result_facts
from privaudit.store import Entry, Store
from privaudit.worker import Failure, Needs, Report, Result, Task, failure_of, one_thread, work

_RETRIES = 2
_LISTEN_SECONDS = 0.2
_KNOCK_SECONDS = 5.0
_MEMORY, _MEMORY_PER_BYTE = 3 * 2**29, 8
"""What a task is declared to hold: 1.5 GiB, and eight bytes for each byte of its inputs (pixels as float32, twice)."""

_START = "ray start --head --disable-usage-stats"


class Cluster:
    """A connection to a Ray cluster."""

    def __init__(self, ray: Any, address: str) -> None:
        self._ray = ray
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._cores, self._gpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("CPU", "GPU"))
        self._most_memory = int(max((node.get("memory", 0) for node in nodes if node.get("CPU", 0)), default=0))
        if self._cores < 1:
            raise InputError(f"The Ray cluster at '{address}' has no processor for tasks. Add a node with: ray start")
        self._function = ray.remote(num_cpus=1, max_retries=_RETRIES)(_work)
        self._sent: dict[str, tuple[Any, int]] = {}

    def slots(self, device: str) -> int:
        """How many tasks for this device run at a time."""
        return min(self._cores, self._gpus) if device == "cuda" else self._cores

    def start(self, task: Task, known: Mapping[str, Entry], store: Store, marker: Path, voice: Any) -> Any:
        """Run a task; `known`: the finished steps that it has asked for. Gives Ray's reference to what it returns."""
        if not self.slots(task.device):
            raise InputError("The Ray cluster has no GPU. Add a node that has one, or give --device cpu.")
        read = (*task.inputs.values(), *(entry.arrays for entry in known.values()))
        sent = {digest: self._send(digest, store) for arrays in read for digest in arrays.values()}
        size = sum(extent for _, extent in sent.values())
        function = self._function.options(
            name=task.label,
            num_gpus=1 if task.device == "cuda" else 0,
            memory=min(_MEMORY + _MEMORY_PER_BYTE * size, self._most_memory),
        )
        facts, references = result_facts(task.device), [reference for reference, _ in sent.values()]
        return function.remote(task, dict(known), facts, str(marker), voice, list(sent), *references)

    def _send(self, digest: str, store: Store) -> tuple[Any, int]:
        """A reference to an array, which is sent once, and its size in bytes."""
        if digest not in self._sent:
            array = store.load({digest: digest})[digest]
            self._sent[digest] = self._ray.put(np.asarray(array)), array.nbytes
        return self._sent[digest]

    def cancel(self, reference: Any) -> None:
        """End a task, whatever it does."""
        self._ray.cancel(reference, force=True)


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection for the block; at its end the cluster stops what still runs of it.

    Raises InputError where no cluster answers, or it has no processor.
    """
    ray = optional("ray", "cluster", "A Ray cluster")
    try:
        if address != "auto":
            _knock(address)
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            runtime_env={"env_vars": ONE_THREAD},
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"No Ray cluster answers at '{address}' ({reason}). Start one with: {_START}") from error
    try:
        yield Cluster(ray, address)
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself tries for minutes."""
    host, colon, port = address.rpartition(":")
    if not (colon and port.isdecimal() and "/" not in host):
        raise InputError(
            f"--cluster '{address}' is not 'auto' or HOST:PORT. Start privaudit on a node of the cluster, with "
            "--cluster auto."
        )
    with socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS):
        pass


class OnCluster:
    """Workers on a cluster, for one store. Their progress goes to `hear`."""

    def __init__(self, cluster: Cluster, store: Store, hear: Report) -> None:
        from ray.util.queue import Queue

        self._cluster, self._store, self._hear = cluster, store, hear
        self._asked: dict[str, set[str]] = {}
        self._running: dict[Future[Result], Any] = {}
        self._marker = store.unfinished(f"cluster-{secrets.token_hex(8)}").absolute()
        self._marker.touch(mode=0o600)
        self._voice = Queue(actor_options={"num_cpus": 0})
        self._stopped = threading.Event()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def submit(self, task: Task) -> Future[Result]:
        """Hand out a task."""
        future: Future[Result] = Future()
        found = {key: self._store.get(key) for key in sorted(self._asked.get(task.key, ()))}
        known = {key: entry for key, entry in found.items() if entry is not None}
        try:
            reference = self._cluster.start(task, known, self._store, self._marker, self._voice)
        except PrivauditError as error:
            future.set_result(failure_of(error))
            return future
        self._running[future] = reference
        reference.future().add_done_callback(lambda answer: self._answered(task, future, answer))
        return future

    def _answered(self, task: Task, future: Future[Result], answer: Future[Result]) -> None:
        """Pass on what came back."""
        self._running.pop(future, None)
        error = answer.exception()
        if error is not None:
            future.set_result(_lost(error))
            return
        result = answer.result()
        if isinstance(result, Needs):
            self._asked.setdefault(task.key, set()).update(other.key for other in result.tasks)
        future.set_result(result)

    def _listen(self) -> None:
        """Until the end, or until the queue is lost: progress is then no longer told."""
        from ray.exceptions import RayError
        from ray.util.queue import Empty

        with contextlib.suppress(RayError):
            while not self._stopped.is_set():
                with contextlib.suppress(Empty):
                    self._hear(*self._voice.get(timeout=_LISTEN_SECONDS))

    def stop(self) -> None:
        """End all that runs."""
        self._stopped.set()
        self._listener.join()
        for reference in list(self._running.values()):
            self._cluster.cancel(reference)
        self._voice.shutdown(force=True)
        self._marker.unlink(missing_ok=True)


def _lost(error: BaseException) -> Failure:
    """What became of a task that did not come back."""
    from ray.exceptions import NodeDiedError, OutOfMemoryError, RayTaskError, WorkerCrashedError

    if isinstance(error, NodeDiedError | OutOfMemoryError | WorkerCrashedError):
        return failure_of(IncompleteError(f"its worker was lost {_RETRIES + 1} times, perhaps for lack of memory"))
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return failure_of(error.cause)
    return failure_of(error)


class _Sent:
    """What was sent to this worker of the store."""

    def __init__(self, known: Mapping[str, Entry], arrays: Mapping[str, NDArray[Any]], marker: Path) -> None:
        self._known, self._arrays, self._marker = known, arrays, marker

    def get(self, key: str) -> Entry | None:
        return self._known.get(key)

    def load(self, arrays: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        return {name: self._arrays[digest] for name, digest in arrays.items()}

    def holds(self, digest: str) -> bool:
        return digest in self._arrays

    def unfinished(self, key: str) -> Path | None:
        """Beside the marker, where this node sees the driver's store."""
        return self._marker.with_name(key) if self._marker.exists() else None


def _work(
    task: Task,
    known: Mapping[str, Entry],
    facts: Mapping[str, Any],
    marker: str,
    voice: Any,
    digests: Sequence[str],
    *arrays: NDArray[Any],
) -> Result:
    """Do a task on a node."""
    from ray.exceptions import RayError

    def report(*message: Any) -> None:
        with contextlib.suppress(RayError):
            voice.put(message)

    one_thread()
    try:
        _check_alike(facts, result_facts(task.device))
    except InputError as error:
        return failure_of(error)
    read_only = dict(zip(digests, arrays, strict=True))
    for array in arrays:
        array.flags.writeable = False
    return work(task, _Sent(known, read_only, Path(marker)), report)


def _check_alike(driver: Mapping[str, Any], node: Mapping[str, Any]) -> None:
    """Raises InputError where a node would give other bits than the driver."""
    here, there = ({**facts, **facts["versions"]} for facts in (driver, node))
    differs = [name for name in here if name != "versions" and here[name] != there.get(name)]
    if differs:
        told = ", ".join(f"{name} {there.get(name)} instead of {here[name]}" for name in differs)
        raise InputError(
            f"The node '{os.uname().nodename}' differs from the one where privaudit was started: {told}. Results would "
            "differ in their last bits. Install the same versions on nodes of one kind."
        )
