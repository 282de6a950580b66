"""Tasks in a store, for benchmarks whose steps go on where they were stopped."""

from __future__ import annotations

from collections.abc import Sequence

from privaudit.execution import Failure, Task, run
from privaudit.store import Arrays, Store


def results(tasks: Sequence[Task], store: Store, processes: int) -> list[Arrays]:
    """The results of all tasks, in their order. Exits where one fails."""
    found: dict[str, Arrays] = {}
    for task, result in run(tasks, store, processes):
        if isinstance(result, Failure):
            raise SystemExit(f"{task.label}: {result.message}\n{result.trace}")
        found[task.key] = store.load(dict(result.arrays))
        print(task.label, flush=True)
    return [found[task.key] for task in tasks]
