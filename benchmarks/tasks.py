"""Tasks in a store, for benchmarks whose steps go on where they were stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from privaudit.execution import Failure, Task, run
from privaudit.store import Arrays, Entry, Store


def entries(tasks: Sequence[Task], store: Store, processes: int) -> Iterator[tuple[Task, Entry]]:
    """What the store keeps of each task, as they finish. Exits where one fails."""
    for task, result in run(tasks, store, processes):
        if isinstance(result, Failure):
            raise SystemExit(f"{task.label}: {result.message}\n{result.trace}")
        yield task, result


def results(tasks: Sequence[Task], store: Store, processes: int) -> list[Arrays]:
    """The results of all tasks, in their order. Exits where one fails."""
    found: dict[str, Arrays] = {}
    for task, entry in entries(tasks, store, processes):
        found[task.key] = store.load(dict(entry.arrays))
        print(task.label, flush=True)
    return [found[task.key] for task in tasks]
