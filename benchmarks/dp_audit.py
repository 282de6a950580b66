"""Does `dp-audit` refute broken mechanisms, and leave honest ones alone?

The two noisy computations of `dp-bn-matching` (MNIST, 60 members: canaries do not look at images, so that more would
cost time and change nothing; `quick`, 150 steps at sampling rate 0.1), claimed epsilon 10, 3 and 1 at delta 1e-5, with
8,000 canaries and 20 seeds each: as they are; with a tenth of the noise that is claimed; and the statistics with fresh
noise at each of the 250 steps of the optimisation, as published code of a related method has it. Cells are resumable.

    python -m benchmarks.dp_audit --log dp_audit.jsonl
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from benchmarks.shared_data import load
from privaudit.accounting import GaussianSteps
from privaudit.attack import Context, Effort
from privaudit.dp_audit import judged, observed
from privaudit.images import Images
from privaudit.private_engine import PrivateStage
from privaudit.synth.bn_matching.private import STEPS, DPBNMatching
from privaudit.synth.bn_matching.private_fit import statistics_scores

EPSILONS = (10.0, 3.0, 1.0)
KINDS = {"as it is": 1, "a tenth of the noise": 10, "noise at every step": 1}
DELTA, CANARIES, MEMBERS, SEEDS = 1e-5, 8000, 60, 20
QUICK: Effort = "quick"


class LessNoise(DPBNMatching):
    """Claims more noise than it adds. weaker: how many times."""

    weaker: float = 1.0

    def mechanisms(self, effort: Effort) -> tuple[GaussianSteps, GaussianSteps]:
        """What is added in truth."""
        first, second = (
            replace(one, noise_multiplier=one.noise_multiplier / self.weaker) for one in super().mechanisms(effort)
        )
        return first, second


def _stages(members: Images, epsilon: float, weaker: float) -> list[PrivateStage]:
    engine = LessNoise(epsilon=epsilon, delta=DELTA, divisor=MEMBERS * 0.1, weaker=weaker)
    return list(engine.private_stages(members, Context(np.random.default_rng(0), effort=QUICK)))


def one(cell: Cell) -> dict[str, Any]:
    """All seeds of one claim and one kind."""
    import torch

    torch.set_num_threads(1)
    members = load("mnist").images.take(np.arange(MEMBERS))
    claimed = {stage.name: stage.claimed for stage in _stages(members, cell["epsilon"], 1)}
    stages = _stages(members, cell["epsilon"], KINDS[cell["kind"]])
    if cell["kind"] == "noise at every step":
        noise, classes = claimed["statistics"].noise_multiplier, int(members.labels.max()) + 1
        redrawn = partial(statistics_scores, noise, members, classes, 1.0, "cpu", views=STEPS[QUICK])
        stages = [replace(stage, observe=redrawn) for stage in stages if stage.name == "statistics"]
    rows: dict[str, Any] = {}
    for stage in stages:
        told = replace(stage, claimed=claimed[stage.name])
        # Sums of 250 draws for each of 8,000 canaries would take minutes a seed; 1,000 are enough to refute.
        count = 1000 if cell["kind"] == "noise at every step" else CANARIES
        found = [judged(told, observed(told, count, seed), seed, DELTA, len(claimed)) for seed in range(SEEDS)]
        rows[stage.name] = {
            "epsilon": found[0].epsilon,
            "noise_multiplier": told.claimed.noise_multiplier,
            "canaries": count,
            "refuted": [one.test.refuted for one in found],
            "could_refute": [one.test.could_refute for one in found],
            "if_gaussian": [one.lower_if_gaussian for one in found],
            "of_any": [one.lower_of_any for one in found],
            "one_run_if_gaussian": [one.one_run.bounds.if_gaussian for one in found if one.one_run],
            "one_run_of_any": [one.one_run.bounds.lower for one in found if one.one_run],
            "one_run_largest": [one.one_run.bounds.largest for one in found if one.one_run],
        }
    return rows


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("dp_audit.jsonl"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cells = [{"epsilon": epsilon, "kind": kind} for epsilon, kind in product(EPSILONS, KINDS)]
    rows = finished(one, cells, options.log, options.processes)
    summary = {}
    for row in rows:
        for stage, found in ((name, row[name]) for name in ("teacher", "statistics") if name in row):
            told = {"refuted": f"{sum(found['refuted'])} of {SEEDS}", "epsilon of its own": found["epsilon"]}
            for name in ("if_gaussian", "of_any", "one_run_if_gaussian", "one_run_of_any"):
                values = [value for value in found[name] if value is not None]
                told[f"median {name}"] = float(np.median(values)) if values else None
            summary[f"{row['cell']['epsilon']:g}, {row['cell']['kind']}, {stage}"] = told
    for name, told in summary.items():
        print(name, told)
    results = {"delta": DELTA, "members": MEMBERS, "summary": summary, "raw": rows}
    command = "python -m benchmarks.dp_audit --log dp_audit.jsonl"
    print(write_result("dp_audit", results, seeds=list(range(SEEDS)), command=command))


if __name__ == "__main__":
    main()
