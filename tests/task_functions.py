"""Work for tests/test_execution.py, importable in worker processes."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from privaudit.errors import InputError
from privaudit.store import Arrays


def double(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    if "log" in arguments:
        with Path(arguments["log"]).open("a") as log:
            log.write("x")
    return {"y": 2 * np.asarray(inputs["a"]["x"]) + arguments.get("plus", 0)}


def crash(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise ZeroDivisionError("nothing to divide by")


def refuse(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise InputError("Give more images.")


def leave(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise SystemExit(0)


def die(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
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
