"""Tasks: finished once, failures told, nothing lost with a dying worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from execution_examples import DOUBLE, X, asking, check_failures, message, results, task

from privaudit import execution
from privaudit.calls import Call, Surroundings, compute, inside, surroundings
from privaudit.execution import Failure, Task, run
from privaudit.manifest import result_facts
from privaudit.processes import Processes
from privaudit.store import Entry, Store, array_digest
from privaudit.worker import Done, Needs, Result, work

HERE = Path(__file__).parent


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
    check_failures(Store(tmp_path), 0)


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


def step(store: Store, name: str, **arguments: Any) -> Task:
    """The task that `task_functions.ask` asks for."""
    return Task("", f"task_functions:{name}", arguments, {"a": {"x": store.put_array(X)}}, result_facts("cpu"))


def value(store: Store, result: Entry | Failure) -> list[float]:
    assert isinstance(result, Entry), result
    found: list[float] = store.load(result.arrays)["y"].tolist()
    return found


def silent(label: str, stage: str, share: float) -> None:
    """Hear nothing."""


def _parts(store: Store) -> list[float]:
    """What four parts were made from one draw, each less its own number."""
    parts = [asking(store, [("draw", {})], [("double", {"plus": number})]) for number in range(4)]
    found = results(parts, store, 2)
    entries = [found[part.key] for part in parts]
    return [value(store, entry)[0] - number for number, entry in enumerate(entries)]


@pytest.mark.parametrize("damaged", ["y.npy", "entry"])
def test_parts_made_from_a_lost_draw_are_made_again(tmp_path: Path, damaged: str) -> None:
    """A release never holds images of two models that were trained with secret noise of their own."""
    store = Store(tmp_path)
    first = _parts(store)
    assert len(set(first)) == 1
    assert _parts(store) == first
    (drawn,) = (entry for entry in (tmp_path / "entries").rglob("*.json") if '"the step draw"' in entry.read_text())
    record = json.loads(drawn.read_text())
    blob = store.root / "blobs" / record["arrays"]["y"][:2] / f"{record['arrays']['y']}.npy"
    (drawn if damaged == "entry" else blob).unlink()
    again = _parts(store)
    assert len(set(again)) == 1
    assert again != first


@pytest.mark.parametrize("workers", [0, 2])
def test_steps_are_computed_once_for_all_who_ask(tmp_path: Path, workers: int) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    once: tuple[str, dict[str, Any]] = ("double", {"log": str(log)})
    nested: tuple[str, dict[str, Any]] = ("ask", {"rounds": [[list(once)], [["double", {"plus": 5}]]]})
    tasks = {
        "one": asking(store, [once]),
        "several": asking(store, [once, ("double", {"plus": 1}), once]),
        "nested": asking(store, [nested, once], number=1),
        "one after the other": asking(store, [once], [nested], [("double", {"plus": 2})]),
        "nothing": asking(store, []),
        "the step itself": step(store, *once[:1], **once[1]),
    }
    asked = [*tasks.values(), asking(store, [once])]
    found = [(one.key, result) for one, result in run(asked, store, workers)]
    assert sorted(key for key, _ in found) == sorted(one.key for one in asked)  # what was asked for, and no steps
    values = {name: value(store, dict(found)[one.key]) for name, one in tasks.items() if name != "nothing"}
    assert log.read_text() == "x"
    two = 2 * X
    assert values["one"] == values["the step itself"] == two.tolist()
    assert values["several"] == (3 * two + 1).tolist()
    assert values["nested"] == (3 * two + 5).tolist()
    assert values["one after the other"] == (4 * two + 7).tolist()


def test_finished_steps_are_taken_from_the_store(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    call: tuple[str, dict[str, Any]] = ("double", {"log": str(log)})
    results([asking(store, [call])], store, 0)
    results([asking(store, [call], number=2)], store, 0)
    assert log.read_text() == "x"


@pytest.mark.parametrize("workers", [0, 2])
def test_a_failed_step_fails_those_who_asked(tmp_path: Path, workers: int) -> None:
    store = Store(tmp_path)
    tasks = {
        "crash": asking(store, [("crash", {})]),
        "refuse": asking(store, [DOUBLE, ("refuse", {})]),
        "nested": asking(store, [("ask", {"rounds": [[["refuse", {}]]]})]),
        "own": task(store, "ask_and_crash"),
        "leave": asking(store, [("leave", {})]),
        "good": asking(store, [DOUBLE]),
    }
    found = results(list(tasks.values()), store, workers)
    assert found.keys() == {one.key for one in tasks.values()}
    assert message(found[tasks["crash"].key]) == message(found[tasks["own"].key])
    assert message(found[tasks["crash"].key]) == "ZeroDivisionError: nothing to divide by"
    for name in ("refuse", "nested"):
        failure = found[tasks[name].key]
        assert message(failure) == "Give more images."
        assert isinstance(failure, Failure)
        assert failure.is_input
    assert message(found[tasks["leave"].key]).startswith("SystemExit")
    assert value(store, found[tasks["good"].key]) == (2 * X).tolist()


def test_a_step_that_failed_before_it_was_asked_for_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    early = asking(store, [("refuse", {})])
    late = asking(store, [DOUBLE], [("double", {"plus": 1})], [("refuse", {})])
    found = results([early, late], store, 0)
    assert [message(found[one.key]) for one in (early, late)] == ["Give more images."] * 2


def test_a_failure_that_reaches_a_task_on_two_ways(tmp_path: Path) -> None:
    """The second task waits for the failing step and for another one that waits for it, and began to wait last."""
    store = Store(tmp_path)
    failing: list[Any] = ["ask", {"rounds": [[["double", {"plus": 3}]], [["refuse", {}]]]}]
    between: tuple[str, dict[str, Any]] = ("ask", {"rounds": [[failing]]})
    first = asking(store, [between])
    second = asking(store, [DOUBLE], [between, (failing[0], failing[1])])
    found = results([first, second], store, 0)
    assert [message(found[one.key]) for one in (first, second)] == ["Give more images."] * 2


def test_a_step_whose_worker_is_killed(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "store"), tmp_path / "log"
    deadly: tuple[str, dict[str, Any]] = ("die", {"log": str(log)})
    bad = [asking(store, [deadly]), asking(store, [DOUBLE, deadly]), asking(store, [DOUBLE], [deadly], number=3)]
    good = [asking(store, [DOUBLE]), task(store, "double", plus=9), asking(store, [("double", {"plus": 4})])]
    asked = [good[0], *bad, *good[1:]]
    found = results(asked, store, 2)
    assert found.keys() == {one.key for one in asked}
    assert all("killed" in message(found[one.key]) for one in bad)
    assert all(isinstance(found[one.key], Entry) for one in good)
    assert log.read_text() == "xx"  # among others, and alone; once for all


def test_a_lost_step_that_was_asked_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is its turn to run alone, it is finished already, for the task before it has asked for it."""
    store, submit = Store(tmp_path), Processes.submit
    refused: list[Task] = []
    asked = [asking(store, [DOUBLE]), step(store, "double")]

    def broken_at_first(pool: Processes, one: Task) -> Future[Result]:
        if len(refused) < len(asked):
            refused.append(one)
            raise BrokenProcessPool
        return submit(pool, one)

    monkeypatch.setattr(Processes, "submit", broken_at_first)
    found = results(asked, store, 1)
    assert [value(store, found[one.key]) for one in asked] == [(2 * X).tolist()] * 2


@pytest.mark.parametrize("name", ["ask_for_ever", "ask_deeper"])
def test_steps_without_end(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_MOST_ROUNDS", 5)
    store = Store(tmp_path)
    endless, good = task(store, name), asking(store, [DOUBLE], [("double", {"plus": 1})])
    found = results([endless, good], store, 0)
    assert "ever new steps" in message(found[endless.key])
    assert isinstance(found[good.key], Entry)


@pytest.mark.parametrize("alone", [False, True])
def test_steps_that_wait_for_each_other(tmp_path: Path, alone: bool) -> None:
    store = Store(tmp_path)
    circle, good = task(store, "ask_itself"), task(store, "double")
    if alone:
        failure = execution._alone(circle, store, lambda *_: None, {})
        assert "wait for each other" in message(failure)
        return
    found = results([circle, good], store, 0)
    assert "wait for each other" in message(found[circle.key])
    assert isinstance(found[good.key], Entry)


def test_arrays_are_sent_only_where_the_store_has_none(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, own = task(store, "ask_with_own"), np.arange(5.0)
    sent = work(one, store, silent)
    assert isinstance(sent, Needs)
    assert {digest: array.tolist() for digest, array in sent.arrays.items()} == {array_digest(own): own.tolist()}
    digest = store.put_array(own)
    known = work(one, store, silent)
    assert isinstance(known, Needs)
    assert not known.arrays
    assert [other.key for other in known.tasks] == [other.key for other in sent.tasks]
    path = store.root / "blobs" / digest[:2] / f"{digest}.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    damaged = work(one, store, silent)
    assert isinstance(damaged, Needs)
    assert list(damaged.arrays) == [digest]
    for workers in (0, 1):
        store = Store(tmp_path / str(workers))
        entry = results([task(store, "ask_with_own")], store, workers)[one.key]
        assert value(store, entry) == [*(2 * own), *(2 * X + 1)]


def test_a_step_that_is_half_there_is_asked_for_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    results([asking(store, [DOUBLE])], store, 0)
    needs = work(asking(store, [DOUBLE, ("double", {"plus": 1})]), store, silent)
    assert isinstance(needs, Needs)
    assert [other.arguments for other in needs.tasks] == [{"plus": 1}]
    assert not needs.arrays
    assert isinstance(work(asking(store, [DOUBLE]), store, silent), Done)


@pytest.mark.parametrize("workers", [0, 2])
def test_progress_is_told(tmp_path: Path, workers: int) -> None:
    store = Store(tmp_path)
    told: list[tuple[str, str, float]] = []
    telling = task(store, "tell", label="a talker")
    for _ in run([telling, asking(store, [("tell", {"number": 1})])], store, workers, lambda *said: told.append(said)):
        pass
    assert sorted(told) == [("a talker", "stage 0", 0.0), ("the step tell", "stage 0", 0.0)]  # the next are too soon


def test_a_listener_that_fails_costs_nothing(tmp_path: Path) -> None:
    def hear(label: str, stage: str, share: float) -> None:
        raise BrokenPipeError

    store = Store(tmp_path)
    tasks = [task(store, "tell", number=number) for number in range(3)]
    assert all(isinstance(result, Entry) for _, result in run(tasks, store, 1, hear))


def test_a_worker_killed_in_mid_sentence_does_not_hold_up_the_end(tmp_path: Path) -> None:
    pool = Processes(1, Store(tmp_path), lambda *_: None)
    assert pool._queue is not None
    lock: Any = pool._queue._wlock  # type: ignore[attr-defined]
    with lock:  # as a worker does that is killed while it reports
        pool.stop()
    assert not pool._listener.is_alive()


def test_a_killed_task_finds_its_checkpoint(tmp_path: Path) -> None:
    store = Store(tmp_path)
    one, asker = task(store, "go_on"), asking(store, [("go_on", {"number": 2})])
    for asked, key in ((one, one.key), (asker, step(store, "go_on", number=2).key)):
        found = value(store, results([asked], store, 1)[asked.key])
        assert bytes(int(number) for number in found).decode() == key
    assert not list((store.root / "unfinished").iterdir())


def test_outside_of_a_task_steps_are_simply_done() -> None:
    call = Call("", "task_functions:double", {"plus": 1}, {"a": {"x": X}})
    first, second = compute(call, call)
    assert first["y"].tolist() == second["y"].tolist() == (2 * X + 1).tolist()
    assert surroundings().checkpoint is None
    surroundings().report("stage", 0.5)
    mine = Surroundings()
    with inside(mine):
        assert surroundings() is mine
    assert surroundings() is not mine


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


@pytest.mark.parametrize("workers", [0, 1])
def test_numerical_libraries_use_one_thread(tmp_path: Path, workers: int) -> None:
    """Whatever the environment says: the bits of a sum depend on it."""
    script = f"""
import numpy
from pathlib import Path
from execution_examples import results, task
from privaudit.store import Store
if __name__ == "__main__":
    store = Store(Path({str(tmp_path)!r}))
    (result,) = results([task(store, "threads")], store, {workers}).values()
    print(store.load(result.arrays)["y"].tolist())
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment |= {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    path = tmp_path / "script.py"
    path.write_text(script)
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    most, torch_threads, pools = json.loads(done.stdout)
    assert (most, torch_threads) == (1, 1)
    assert pools >= 3
