"""Does `dp-audit` refute broken mechanisms, and leave honest ones alone?

The noisy computations of an engine on MNIST, with few members (canaries do not look at images, so that more would cost
time and change nothing), at delta 1e-5 with 20 seeds each. All as they are, and with a tenth of the noise that is
claimed. `dp-bn-matching` (60 members, 150 steps at sampling rate 0.1, 8,000 canaries, claimed epsilon 10, 3 and 1): the
statistics also with fresh noise at each of the 250 steps of the optimisation, as published code of a related method has
it. `privimage` (20 members, 100 steps at sampling rate 0.1, 3,000 canaries, claimed epsilon 10 and 1): the query also
with five votes for each image where one is counted. Cells are resumable.

    python -m benchmarks.dp_audit --log dp_audit.jsonl
    python -m benchmarks.dp_audit --engine privimage --log dp_audit_privimage.jsonl
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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
from privaudit.private_engine import Observe, PrivateStage
from privaudit.synth.bn_matching.private import STEPS, DPBNMatching
from privaudit.synth.bn_matching.private_fit import statistics_scores
from privaudit.synth.privimage import PrivImage
from privaudit.synth.privimage.query import query_scores

AS_IT_IS, WEAK, REDRAWN, VOTES = "as it is", "a tenth of the noise", "noise at every step", "five votes counted as one"
DELTA, SEEDS, RATE = 1e-5, 20, 0.1
QUICK: Effort = "quick"


class LessNoise(DPBNMatching):
    """Claims more noise than it adds. weaker: how many times."""

    weaker: float = 1.0

    def mechanisms(self, effort: Effort) -> tuple[GaussianSteps, GaussianSteps]:
        """What is added in truth."""
        return _weakened(super().mechanisms(effort), self.weaker)


class LessNoiseOfVotes(PrivImage):
    """Claims more noise than it adds. weaker: how many times."""

    weaker: float = 1.0

    def mechanisms(self) -> tuple[GaussianSteps, GaussianSteps]:
        """What is added in truth."""
        return _weakened(super().mechanisms(), self.weaker)


def _weakened(mechanisms: tuple[GaussianSteps, GaussianSteps], times: float) -> tuple[GaussianSteps, GaussianSteps]:
    first, second = (replace(one, noise_multiplier=one.noise_multiplier / times) for one in mechanisms)
    return first, second


def _matching(members: Images, epsilon: float, weaker: float) -> list[PrivateStage]:
    engine = LessNoise(epsilon=epsilon, delta=DELTA, divisor=len(members) * RATE, weaker=weaker)
    return list(engine.private_stages(members, Context(np.random.default_rng(0), effort=QUICK)))


def _privimage(members: Images, epsilon: float, weaker: float) -> list[PrivateStage]:
    asked = {"epsilon": epsilon, "delta": DELTA, "divisor": len(members) * RATE, "sampling_rate": RATE, "steps": 100}
    engine = LessNoiseOfVotes.model_validate(asked | {"weaker": weaker})
    return list(engine.private_stages(members, Context(np.random.default_rng(0), effort=QUICK, reference=members)))


def _redrawn(claimed: Mapping[str, GaussianSteps], members: Images, classes: int) -> tuple[str, Observe]:
    noise = claimed["statistics"].noise_multiplier
    return "statistics", partial(statistics_scores, noise, members, classes, 1.0, "cpu", views=STEPS[QUICK])


def _votes(claimed: Mapping[str, GaussianSteps], members: Images, classes: int) -> tuple[str, Observe]:
    noise = claimed["query"].noise_multiplier / 5**0.5  # in units of the sensitivity of five votes: that of one vote
    return "query", partial(query_scores, noise, members, classes, classes, 5)


@dataclass(frozen=True)
class Audited:
    """An engine. broken: what is wrong in one stage only, by name. canaries: as many as take a minute or two a seed."""

    stages: Callable[[Images, float, float], list[PrivateStage]]
    epsilons: tuple[float, ...]
    members: int
    canaries: int
    broken: str
    canaries_where_broken: int
    breaks: Callable[[Mapping[str, GaussianSteps], Images, int], tuple[str, Observe]]
    result: str


ENGINES = {
    "dp-bn-matching": Audited(_matching, (10.0, 3.0, 1.0), 60, 8000, REDRAWN, 1000, _redrawn, "dp_audit"),
    "privimage": Audited(_privimage, (10.0, 1.0), 20, 3000, VOTES, 8000, _votes, "dp_audit_privimage"),
}


def one(cell: Cell) -> dict[str, Any]:
    """All seeds of one claim and one kind."""
    import torch

    torch.set_num_threads(1)
    engine = ENGINES[cell["engine"]]
    members = load("mnist").images.take(np.arange(engine.members))
    claimed = {stage.name: stage.claimed for stage in engine.stages(members, cell["epsilon"], 1)}
    stages = engine.stages(members, cell["epsilon"], 10 if cell["kind"] == WEAK else 1)
    count = engine.canaries
    if cell["kind"] == engine.broken:
        name, observe = engine.breaks(claimed, members, int(members.labels.max()) + 1)
        stages = [replace(stage, observe=observe) for stage in stages if stage.name == name]
        count = engine.canaries_where_broken
    rows: dict[str, Any] = {}
    for stage in stages:
        told = replace(stage, claimed=claimed[stage.name])
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
    return {"stages": rows}


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="dp-bn-matching")
    parser.add_argument("--log", type=Path, default=Path("dp_audit.jsonl"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    engine = ENGINES[options.engine]
    kinds = (AS_IT_IS, WEAK, engine.broken)
    cells = [
        {"engine": options.engine, "epsilon": epsilon, "kind": kind}
        for epsilon, kind in product(engine.epsilons, kinds)
    ]
    rows = finished(one, cells, options.log, options.processes)
    summary = {}
    for row in rows:
        for stage, found in row["stages"].items():
            told = {"refuted": f"{sum(found['refuted'])} of {SEEDS}", "epsilon of its own": found["epsilon"]}
            for name in ("if_gaussian", "of_any", "one_run_if_gaussian", "one_run_of_any"):
                values = [value for value in found[name] if value is not None]
                told[f"median {name}"] = float(np.median(values)) if values else None
            summary[f"{row['cell']['epsilon']:g}, {row['cell']['kind']}, {stage}"] = told
    for name, told in summary.items():
        print(name, told)
    results = {"delta": DELTA, "members": engine.members, "summary": summary, "raw": rows}
    command = f"python -m benchmarks.dp_audit --engine {options.engine} --log {engine.result}.jsonl"
    print(write_result(engine.result, results, seeds=list(range(SEEDS)), command=command))


if __name__ == "__main__":
    main()
