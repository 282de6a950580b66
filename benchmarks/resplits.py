"""Many re-splits, each in a process; one line of JSON each is appended to a log, so that a stopped run goes on."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import shared_data
from benchmarks.cells import appended, lines_of
from privaudit.images import Dataset


@cache
def data() -> Dataset:
    """CIFAR-10, read once in each process, which works with one thread."""
    import torch

    torch.set_num_threads(1)
    return shared_data.load("cifar10")


def finished(
    one: Callable[[int], dict[str, Any]], description: str | None, log: str, runs: int
) -> tuple[list[dict[str, Any]], int]:
    """What `one` gives for every seed, in the order of the seeds; and how many were asked for on the command line.

    one: a function of a module, of the seed; its result names it under 'seed'. log, runs: defaults of the options.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0] if description else None)
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--log", type=Path, default=Path(log))
    options = parser.parse_args()
    done = lines_of(options.log)
    missing = sorted(set(range(options.runs)) - {run["seed"] for run in done})
    done += appended(lambda seed, run: run, one, missing, options.log, options.processes)
    asked = (run for run in done if run["seed"] < options.runs)
    return sorted(asked, key=lambda run: run["seed"]), options.runs


def verdicts(done: Sequence[Mapping[str, Any]], attacks: Iterable[str]) -> dict[str, dict[str, int]]:
    """How often each of these attacks gave each verdict; a run without it counts for none."""
    return {
        name: {
            verdict: sum(run["attacks"].get(name, {}).get("verdict") == verdict for run in done)
            for verdict in ("pass", "inconclusive", "fail")
        }
        for name in attacks
    }
