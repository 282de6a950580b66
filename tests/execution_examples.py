"""Tasks of `task_functions`, and what is asked of them wherever they run."""

from __future__ import annotations

from typing import Any

import numpy as np

from privaudit.execution import Failure, Task, run
from privaudit.store import Entry, Store

X = np.arange(4.0)

DOUBLE: tuple[str, dict[str, Any]] = ("double", {})


def task(store: Store, name: str, label: str = "a task", **arguments: Any) -> Task:
    return Task(label, f"task_functions:{name}", arguments, {"a": {"x": store.put_array(X)}}, {"version": 1})


def asking(store: Store, *rounds: list[tuple[str, dict[str, Any]]], **arguments: Any) -> Task:
    return task(store, "ask", rounds=[[list(call) for call in calls] for calls in rounds], **arguments)


def results(tasks: list[Task], store: Store, workers: int) -> dict[str, Entry | Failure]:
    return {task.key: result for task, result in run(tasks, store, workers)}


def message(result: Entry | Failure) -> str:
    assert isinstance(result, Failure), result
    return result.message


def check_failures(store: Store, workers: int) -> None:
    """Failures are told and leave the others alone."""
    names = ["crash", "refuse", "leave", "nonsense", "write", "double"]
    tasks = {name: task(store, name) for name in names}
    tasks["objects"] = task(store, "nonsense", objects=True)
    tasks["unknown"] = Task("unknown", "nowhere_at_all:work", {}, {}, {})
    found = results(list(tasks.values()), store, workers)
    said = {name: message(found[one.key]) for name, one in tasks.items() if name != "double"}
    assert said["crash"] == "ZeroDivisionError: nothing to divide by"
    assert said["refuse"] == "Give more images."
    assert said["leave"].startswith("SystemExit")
    assert said["nonsense"].startswith("TypeError")
    assert "must return arrays of numbers" in said["objects"]
    assert "read-only" in said["write"]
    assert "nowhere_at_all" in said["unknown"]
    refused = found[tasks["refuse"].key]
    assert isinstance(refused, Failure)
    assert refused.is_input
    assert "in refuse" in refused.trace
    assert isinstance(found[tasks["double"].key], Entry)
    assert all(store.get(one.key) is None for name, one in tasks.items() if name != "double")
