"""Tasks: finished once, failures told, nothing lost with a dying worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privaudit.execution import Failure, Task, run
from privaudit.store import Entry, Store

X = np.arange(4.0)
HERE = Path(__file__).parent


def task(store: Store, name: str, label: str = "a task", **arguments: Any) -> Task:
    return Task(label, f"task_functions:{name}", arguments, {"a": {"x": store.put_array(X)}}, {"version": 1})


def results(tasks: list[Task], store: Store, workers: int) -> dict[str, Entry | Failure]:
    return {task.key: result for task, result in run(tasks, store, workers)}


def message(result: Entry | Failure) -> str:
    assert isinstance(result, Failure), result
    return result.message


def test_key_holds_everything_but_the_label(tmp_path: Path) -> None:
    store = Store(tmp_path)
    base = task(store, "double")
    assert task(store, "double", label="other").key == base.key
    inputs = {"a": {"x": store.put_array(X + 1)}}
    changed = [
        task(store, "double", plus=1),
        task(store, "crash"),
        Task("", base.function, base.arguments, inputs, base.facts),
        Task("", base.function, base.arguments, {"b": base.inputs["a"]}, base.facts),
        Task("", base.function, base.arguments, base.inputs, {"version": 2}),
    ]
    assert len({one.key for one in (base, *changed)}) == 6


def test_equal_tasks_run_once_and_finished_ones_never_again(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), str(tmp_path / "log")
    tasks = [task(store, "double", label=str(number), log=log) for number in range(3)]
    found = [(one.label, result) for one, result in run(tasks, store, 0)]
    assert sorted(label for label, _ in found) == ["0", "1", "2"]
    assert Path(log).read_text() == "x"
    assert len({id(result) for _, result in found}) == 1
    again = results(tasks, store, 0)
    assert Path(log).read_text() == "x"
    entry = again[tasks[0].key]
    assert isinstance(entry, Entry)
    np.testing.assert_array_equal(store.load(entry.arrays)["y"], 2 * X)


def test_failures_are_told_and_leave_the_others_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = ["crash", "refuse", "leave", "nonsense", "write", "double"]
    tasks = {name: task(store, name) for name in names}
    tasks["objects"] = task(store, "nonsense", objects=True)
    found = results(list(tasks.values()), store, 0)
    said = {name: message(found[one.key]) for name, one in tasks.items() if name != "double"}
    assert said["crash"] == "ZeroDivisionError: nothing to divide by"
    assert said["refuse"] == "Give more images."
    assert said["leave"].startswith("SystemExit")
    assert said["nonsense"].startswith("TypeError")
    assert "must return arrays of numbers" in said["objects"]
    assert "read-only" in said["write"]
    assert isinstance(found[tasks["double"].key], Entry)
    assert all(store.get(one.key) is None for name, one in tasks.items() if name != "double")


def test_killed_worker_costs_its_own_task_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = [task(store, "double", plus=number) for number in range(3)]
    deadly = task(store, "die")
    found = results([good[0], deadly, *good[1:]], store, 2)
    assert "killed" in message(found[deadly.key])
    assert all(isinstance(found[one.key], Entry) for one in good)


def test_worker_and_driver_give_the_same_bytes(tmp_path: Path) -> None:
    keys = []
    for workers in (0, 1):
        store = Store(tmp_path / str(workers))
        one = task(store, "double")
        entry = results([one], store, workers)[one.key]
        assert isinstance(entry, Entry)
        keys.append(dict(entry.arrays))
    assert keys[0] == keys[1]


def test_damaged_result_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one = task(store, "double")
    first = results([one], store, 0)[one.key]
    assert isinstance(first, Entry)
    digest = first.arrays["y"]
    path = store.root / "blobs" / digest[:2] / f"{digest}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    second = results([one], store, 0)[one.key]
    assert isinstance(second, Entry)
    assert second.arrays == first.arrays
    np.testing.assert_array_equal(store.load(second.arrays)["y"], 2 * X)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_worker(tmp_path: Path) -> None:
    program = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
from pathlib import Path
from test_execution import task
from privaudit.execution import run
from privaudit.store import Store
if __name__ == "__main__":
    store = Store(Path({str(tmp_path)!r}))
    for one, _ in run([task(store, "double"), task(store, "wait", seconds=600)], store, 2):
        print(one.label, flush=True)
"""
    script = tmp_path / "driver.py"
    script.write_text(program)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        driver.send_signal(signal.SIGINT)
        started = time.monotonic()
        driver.wait(timeout=30)
    assert time.monotonic() - started < 20
    assert driver.returncode != 0
    store = Store(tmp_path)
    assert store.get(task(store, "double").key) is not None
