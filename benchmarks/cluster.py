"""A Ray cluster beside this machine's processes: the same bits, what the cluster costs, a lost worker, scaling.

100 cells, each the training of a small network on 600 digits (some seconds on a core), whose images all share. They run
in one process, in processes, and on clusters of one, two and four nodes of one processor each, simulated on this
machine; on that of four once more while a worker is killed and a node lost. All in one run, an arm's stores anew.

    python -m benchmarks.cluster
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.recording import write_result
from benchmarks.tasks import entries
from privaudit.data.builtin import load_digits
from privaudit.execution import Task, on_cluster
from privaudit.images import Images
from privaudit.learning import Recipe
from privaudit.learning.training import train
from privaudit.manifest import result_facts
from privaudit.piles import put_images
from privaudit.store import Arrays, Store

IMAGES = 600
RECIPE = Recipe(network="convnet", epochs=4, batch_size=50)
OBJECTS = 200 * 2**20


def cell(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images'} to the weights of a network."""
    images = Images.from_arrays(inputs["images"])
    return dict(train(RECIPE, images, 10, arguments["seed"]).arrays())


def finished(tasks: list[Task], store: Store, workers: int) -> tuple[float, float, dict[str, Any]]:
    """Seconds, seconds of work in the cells, and hashes of the results by key."""
    started, work, found = time.perf_counter(), 0.0, {}
    for task, entry in entries(tasks, store, workers):
        work += entry.facts["seconds"]
        found[task.key] = dict(entry.arrays)
    return time.perf_counter() - started, work, found


@contextmanager
def nodes(count: int) -> Iterator[Any]:
    """A Ray cluster of a head without processors and so many nodes of one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    made: Any = importlib.import_module("ray.cluster_utils").Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": OBJECTS},
    )
    for _ in range(count):
        made.add_node(num_cpus=1, object_store_memory=OBJECTS)
    try:
        yield made
    finally:
        made.shutdown()


def processes_titled(start: bytes) -> list[int]:
    """Processes on this machine whose command line starts so; Ray names a worker by what it does."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes().startswith(start):
                found.append(int(path.parent.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    options = parser.parse_args()
    images = load_digits().images.take(slice(0, IMAGES))
    arms: dict[str, dict[str, Any]] = {}
    bits: dict[str, Any] = {}

    def arm(name: str, workers: int, beside: Callable[[], None] | None = None) -> None:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            stored = {"images": put_images(store, images)}
            facts = result_facts("cpu")
            tasks = [
                Task("a cell", "benchmarks.cluster:cell", {"seed": seed}, stored, facts)
                for seed in range(options.cells)
            ]
            thread = None if beside is None else threading.Timer(20.0, beside)
            if thread is not None:
                thread.start()
            seconds, work, bits[name] = finished(tasks, store, workers)
            if thread is not None:
                thread.join()
        arms[name] = {"workers": workers, "seconds": round(seconds, 2), "seconds_in_cells": round(work, 2)}
        print(name, arms[name], flush=True)

    arm("in this process", 0)
    for count in (1, 2):
        arm(f"{count} processes", count)
    for count in (1, 2, 4):
        with nodes(count) as cluster, on_cluster(cluster.address):
            arm(f"cluster of {count}", count)
    with nodes(4) as cluster, on_cluster(cluster.address):
        killed: list[int] = []

        def harm() -> None:
            killed.extend(processes_titled(b"ray::a cell")[:1])
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
            cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)

        arm("cluster of 4, a worker killed, a node lost", 4, harm)
    arms["cluster of 4, a worker killed, a node lost"]["workers_killed"] = len(killed)
    identical = all(found == bits["in this process"] for found in bits.values())
    overhead = {
        str(count): round(arms[f"cluster of {count}"]["seconds"] / arms[f"{count} processes"]["seconds"] - 1, 4)
        for count in (1, 2)
    }
    results = {
        "cells": options.cells,
        "images": IMAGES,
        "arms": arms,
        "identical": identical,
        "cluster_over_processes": overhead,
    }
    print(identical, overhead)
    print(write_result("cluster", results, seeds=list(range(options.cells)), command="python -m benchmarks.cluster"))


if __name__ == "__main__":
    main()
