"""Work for tests/test_execution.py, importable in worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.calls import Call, compute, surroundings
from privaudit.errors import InputError
from privaudit.store import Arrays


def _note(arguments: Mapping[str, Any]) -> None:
    if "log" in arguments:
        with Path(arguments["log"]).open("a") as log:
            log.write("x")


def double(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    _note(arguments)
    return {"y": 2 * np.asarray(inputs["a"]["x"]) + arguments.get("plus", 0)}


def draw(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Something else each time, as a task with secret noise."""
    return {"y": np.frombuffer(os.urandom(16), dtype=np.uint32).astype(float)}


def threads(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The most threads that a numerical library of this process would use; one that is loaded late, too."""
    import scipy.linalg  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import torch
    from threadpoolctl import threadpool_info

    pools = [int(pool["num_threads"]) for pool in threadpool_info()]
    return {"y": np.array([max(pools), torch.get_num_threads(), len(pools)], dtype=float)}


def crash(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise ZeroDivisionError("nothing to divide by")


def refuse(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise InputError("Give more images.")


def leave(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise SystemExit(0)


def die(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    _note(arguments)
    os.kill(os.getpid(), 9)
    return {}


def nonsense(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Any:
    return {"objects": np.array([{}], dtype=object)} if arguments.get("objects") else [1, 2]


def write(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    inputs["a"]["x"][0] = 9
    return {}


def wait(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    time.sleep(arguments["seconds"])
    return {"y": np.zeros(1)}


def _call(name: str, arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Call:
    return Call(f"the step {name}", f"task_functions:{name}", arguments, inputs)


def ask(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """The sum of what it asks for: rounds of calls, each a name and arguments."""
    found: list[Arrays] = []
    for calls in arguments["rounds"]:
        found += compute(*(_call(name, further, inputs) for name, further in calls))
    _note(arguments)
    return {"y": np.asarray(sum(np.asarray(arrays["y"]) for arrays in found))}


def ask_and_crash(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    compute(_call("double", {"plus": 77}, inputs))
    raise ZeroDivisionError("nothing to divide by")


def ask_for_ever(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    number = 0
    while True:
        compute(_call("double", {"plus": number}, inputs))
        number += 1


def ask_deeper(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    return compute(_call("ask_deeper", {"depth": arguments.get("depth", 0) + 1}, inputs))[0]


def ask_itself(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    return compute(_call("ask_itself", {}, inputs))[0]


def ask_with_own(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Asks with an array of its own, one of its inputs, and one of both."""
    own = np.arange(5.0) + arguments.get("plus", 0)
    first, second = compute(
        _call("double", {}, {"a": {"x": own}}), _call("double", {"plus": 1}, {"a": inputs["a"], "b": {"x": own}})
    )
    return {"y": np.concatenate([first["y"], second["y"]])}


def tell(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    for number in range(3):
        surroundings().report(f"stage {number}", number / 2)
    return {"y": np.zeros(1)}


def go_on(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Is killed when it starts the first time, and finishes the second time, with what the checkpoint says."""
    checkpoint = surroundings().checkpoint
    assert checkpoint is not None
    if not checkpoint.exists():
        checkpoint.write_text(checkpoint.name)
        os.kill(os.getpid(), 9)
    found = checkpoint.read_text()
    checkpoint.unlink()
    return {"y": np.frombuffer(found.encode(), dtype=np.uint8)}
