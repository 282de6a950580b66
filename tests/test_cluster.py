"""Tasks on a Ray cluster of several nodes on this machine: the same bits as here, and nothing lost with a worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from execution_examples import X, asking, check_failures, message, results, task

from benchmarks.cluster import OBJECTS
from benchmarks.cluster import nodes as cluster_of
from privaudit import cluster as cluster_module
from privaudit.errors import InputError
from privaudit.execution import Task, at_a_time, on_cluster, run
from privaudit.manifest import result_facts
from privaudit.store import Entry, Store

ray = pytest.importorskip("ray")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head without processors, and two nodes of one."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as open_:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent)]))
        try:
            found = open_.enter_context(cluster_of(2))
        except (OSError, RuntimeError, TimeoutError) as error:
            pytest.skip(f"no Ray cluster starts on this machine: {error}")
        yield found


@pytest.fixture
def connected(nodes: Any) -> Iterator[Any]:
    with on_cluster(nodes.address):
        yield nodes


def kept(store: Store) -> dict[str, Any]:
    """All finished tasks, without what they took."""
    return {path.name: json.loads(path.read_text())["arrays"] for path in (store.root / "entries").glob("*/*.json")}


def many(store: Store, log: str) -> list[Task]:
    """Tasks that ask for others, for the same ones, and with arrays of their own."""
    once: tuple[str, dict[str, Any]] = ("double", {"log": log})
    nested: tuple[str, dict[str, Any]] = ("ask", {"rounds": [[list(once)], [["double", {"plus": 5}]]]})
    return [
        asking(store, [once]),
        asking(store, [once, ("double", {"plus": 1}), once]),
        asking(store, [nested, once], number=1),
        asking(store, [once], [nested], [("double", {"plus": 2})]),
        asking(store, []),
        task(store, "ask_with_own"),
        *(task(store, "double", plus=number) for number in range(20)),
    ]


def test_the_cluster_gives_the_same_bits_and_does_nothing_twice(connected: Any, tmp_path: Path) -> None:
    there, here = Store(tmp_path / "there"), Store(tmp_path / "here")
    log = tmp_path / "log"
    assert at_a_time("cpu") == 2
    far = [run(many(store, str(log)), store, workers) for store, workers in ((there, 2), (here, 0))]
    found = [{one.key: result for one, result in pairs} for pairs in far]
    assert all(isinstance(result, Entry) for results in found for result in results.values())
    assert found[0].keys() == found[1].keys()
    assert kept(there) == kept(here)
    assert log.read_text() == "xx"  # once there, once here
    assert all(isinstance(result, Entry) for result in results(many(there, str(log)), there, 2).values())
    assert log.read_text() == "xx"


def test_failures_are_told_and_leave_the_others_alone(connected: Any, tmp_path: Path) -> None:
    check_failures(Store(tmp_path), at_a_time("cpu"))


@pytest.mark.slow
def test_a_task_that_kills_its_worker_is_tried_three_times(connected: Any, tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    deadly, good = task(store, "die", log=str(log)), [task(store, "double", plus=number) for number in range(4)]
    found = results([good[0], deadly, *good[1:]], store, 2)
    assert "lost 3 times" in message(found[deadly.key])
    assert log.read_text() == "xxx"
    assert all(isinstance(found[one.key], Entry) for one in good)


def test_a_lost_worker_s_task_goes_on_from_its_checkpoint(connected: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = task(store, "go_on")
    found = results([one], store, 2)[one.key]
    assert isinstance(found, Entry)
    assert bytes(store.load(found.arrays)["y"]).decode() == one.key
    assert not list((tmp_path / "unfinished").iterdir())


def test_nodes_that_do_not_see_the_store_keep_no_checkpoint(tmp_path: Path) -> None:
    store = Store(tmp_path)
    marker = store.unfinished("cluster-1")
    assert cluster_module._Sent({}, {}, marker).unfinished("key") is None
    marker.touch()
    assert cluster_module._Sent({}, {}, marker).unfinished("key") == store.unfinished("key")


@pytest.mark.slow
def test_a_lost_node_costs_time_only(connected: Any, tmp_path: Path) -> None:
    lost = connected.add_node(num_cpus=1, object_store_memory=OBJECTS)
    store = Store(tmp_path / "store")
    tasks = [task(store, "wait", seconds=2.0, number=number) for number in range(6)]
    closing = threading.Timer(1.0, lambda: connected.remove_node(lost, allow_graceful=False))
    closing.start()
    found = results(tasks, store, 2)
    closing.join()
    assert all(isinstance(result, Entry) for result in found.values())


@pytest.mark.slow
def test_progress_is_told(connected: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    told: list[tuple[str, str, float]] = []
    tasks = [task(store, "tell", label="a talker"), task(store, "wait", seconds=1.0)]
    for _ in run(tasks, store, 2, lambda *said: told.append(said)):
        pass
    assert told == [("a talker", "stage 0", 0.0)]  # the next are too soon


@pytest.mark.slow
def test_each_array_is_sent_once(connected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    put = ray.put

    def counting(array: Any) -> Any:
        sent.append(array.nbytes)
        return put(array)

    monkeypatch.setattr(ray, "put", counting)
    store = Store(tmp_path)
    results([task(store, "double", plus=number) for number in range(7)], store, 2)
    assert sent == [X.nbytes]


def test_a_node_that_would_give_other_bits_is_refused(
    connected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = result_facts("cpu")
    other = {**facts, "versions": {**facts["versions"], "torch": "1.0"}}
    monkeypatch.setattr(cluster_module, "result_facts", lambda device: other)
    store = Store(tmp_path)
    one = task(store, "double")
    said = message(results([one], store, 2)[one.key])
    assert f"torch {facts['versions']['torch']} instead of 1.0" in said
    assert "Install the same versions" in said


def test_work_for_a_gpu_needs_a_node_with_one(connected: Any, tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = task(store, "double", device="cuda")
    assert at_a_time("cuda") == 0
    found = {one.key: result for one, result in run([one], store, 2)}
    assert "has no GPU" in message(found[one.key])


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "127.0.0.1:1", "127.0.0.1:99999", "nonsense"])
def test_no_cluster_there(address: str) -> None:
    with pytest.raises(InputError, match=r"--cluster auto|ray start"), on_cluster(address):
        pass


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"privaudit\[cluster\]"), on_cluster("auto"):
        pass


@pytest.mark.slow
def test_the_command_line_works_on_a_cluster(nodes: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "members.npz", images=pixels, labels=np.arange(40) % 4)
    small = ("teacher.network=convnet", "teacher.epochs=1", "images_per_class=4", "steps=5", "batch_size=5")
    settings = [word for setting in small for word in ("--set", setting)]

    def synthesize(name: str, *options: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "privaudit",
            "synthesize",
            "bn-matching",
            "--members",
            "members.npz",
            *settings,
        ]
        places = ["--out", name, "--store", f"store {name}"]
        return subprocess.run(
            [*command, *places, *options], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
        )

    there, here = synthesize("there", "--cluster", nodes.address), synthesize("here")
    assert there.returncode == here.returncode == 0, there.stderr + here.stderr
    assert "Traceback" not in there.stderr
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "there").iterdir())
    for path in (tmp_path / "here").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes()
    both = synthesize("both", "--cluster", nodes.address, "--workers", "2")
    assert both.returncode == 2
    assert "leave out --cluster" in both.stderr
