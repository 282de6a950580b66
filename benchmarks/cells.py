"""Cells of a benchmark, each in a process and of at most some minutes; one line of JSON each is appended to a log, so
that a stopped run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

Cell = Mapping[str, Any]


def _key(cell: Cell) -> str:
    return json.dumps(cell, sort_keys=True)


def finished(
    one: Callable[[Cell], dict[str, Any]], cells: Sequence[Cell], log: Path, processes: int
) -> list[dict[str, Any]]:
    """What `one` gives for every cell, in their order, each beside its cell under 'cell'.

    one: a function of a module. cells: JSON-able, all different. log: lines of cells that are not asked for stay.
    """
    lines = log.read_text().splitlines() if log.exists() else []
    done = {_key(line["cell"]): line for line in map(json.loads, lines)}
    missing = [cell for cell in cells if _key(cell) not in done]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool, log.open("a") as file:
        futures = {pool.submit(one, cell): cell for cell in missing}
        for future in as_completed(futures):
            line = {"cell": futures[future], **future.result()}
            done[_key(futures[future])] = line
            print(line, flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()
    return [done[_key(cell)] for cell in cells]
