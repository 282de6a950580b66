"""Steps that a running task asks for: computed once as tasks of their own, shared by all who ask for the same.

A task that needs a trained network, or statistics of many images, calls `compute`. Where the result is in the store,
it returns; where it is not, the task stops, the driver runs the step, and starts the task again. So a task must ask
before it does anything long, and always ask the same. Outside of a task the step is simply done.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from privaudit.store import Arrays

Function = Callable[[Mapping[str, Any], Mapping[str, Arrays]], Arrays]


def function_named(name: str) -> Function:
    """The function of a task, from 'module:name'."""
    module, attribute = name.split(":")
    found: Function = getattr(importlib.import_module(module), attribute)
    return found


@dataclass(frozen=True, eq=False)
class Call:
    """A pure function of JSON-able arguments and named arrays.

    function: 'module:name' of a function (arguments, inputs) -> arrays. label: what it does, for people.
    facts: what else the result depends on, such as a version.
    """

    label: str
    function: str
    arguments: Mapping[str, Any]
    inputs: Mapping[str, Arrays] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Surroundings:
    """Where a task runs: what it may ask for beside its inputs. Outside of a task: nothing is kept."""

    checkpoint: Path | None = None
    """A file for unfinished work, which the task finds again when it is started again."""

    keeps: bool = False
    """Whether what is computed is kept, so that it is computed once."""

    def compute(self, calls: Sequence[Call]) -> list[Arrays]:
        """The results of the calls, in their order."""
        return [function_named(call.function)(call.arguments, call.inputs) for call in calls]

    def report(self, stage: str, share: float) -> None:
        """Progress of the task: a stage, and a share in [0, 1]."""


_surroundings: ContextVar[Surroundings | None] = ContextVar("surroundings", default=None)


def surroundings() -> Surroundings:
    """Those of the task that is running here."""
    return _surroundings.get() or Surroundings()


@contextmanager
def inside(found: Surroundings) -> Iterator[None]:
    """Run a block as a task in these surroundings."""
    token = _surroundings.set(found)
    try:
        yield
    finally:
        _surroundings.reset(token)


def compute(*calls: Call) -> list[Arrays]:
    """The results of the calls, in their order, each computed once per store."""
    return surroundings().compute(calls)
