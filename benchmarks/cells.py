"""Cells of a benchmark, each in a process and of at most some minutes; one line of JSON each is appended to a log, so
that a stopped run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.recording import commit

Cell = Mapping[str, Any]
Item = TypeVar("Item")


def _key(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True)


def lines_of(log: Path) -> list[dict[str, Any]]:
    """What a log holds; nothing where there is none."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def appended(
    told: Callable[[Item, dict[str, Any]], dict[str, Any]],
    one: Callable[[Item], dict[str, Any]],
    items: Sequence[Item],
    log: Path,
    processes: int,
) -> Iterator[dict[str, Any]]:
    """The line of each item as soon as it is in the log. one: a function of a module. told: its line, by its result."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, log.open("a") as file:
        futures = {pool.submit(one, item): item for item in items}
        for future in as_completed(futures):
            line = told(futures[future], future.result())
            file.write(json.dumps(line) + "\n")
            file.flush()
            yield line


def finished(
    one: Callable[[Cell], dict[str, Any]], cells: Sequence[Cell], log: Path, processes: int
) -> list[dict[str, Any]]:
    """What `one` gives for every cell, in their order, each beside its cell under 'cell' and the code's commit then.

    one: a function of a module. cells: JSON-able, all different. log: lines of cells that are not asked for stay.
    """
    done = {_key(line["cell"]): line for line in lines_of(log)}
    missing = [cell for cell in cells if _key(cell) not in done]
    for line in appended(lambda cell, row: {"cell": cell, "commit": commit(), **row}, one, missing, log, processes):
        done[_key(line["cell"])] = line
        print(line, flush=True)
    return [done[_key(cell)] for cell in cells]
