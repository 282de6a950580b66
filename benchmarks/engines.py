"""Every engine on one plane: what its images are worth, and what they give away.

2,000 members and 1,000 released images (100 a class) of MNIST and of CIFAR-10, three splits; engines at `quick`, with
their defaults otherwise. Utility: a small student trained on the release, beside one trained on as many steps of the
members. Privacy: the strongest of `nearest-copy`, `density-ratio` and `mixing-restoration`, `quick`, by the lower bound
of the exposed share. Seconds and peak memory of making the images, in a process of its own. Cells are resumable; what
cells of one split share is kept in the folder of `--stores`: soft labels of views are those of images made before, and
their seconds come on top of those of the images.

    python -m benchmarks.engines --log engines.jsonl --stores FOLDER
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from benchmarks.shared_data import deal, load
from privaudit import seeds
from privaudit.audit import Candidate, collect
from privaudit.images import Dataset
from privaudit.judgement import judge
from privaudit.plan import Plan
from privaudit.plugins import make_synthesizer
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.store import Store
from privaudit.synthesis import synthesize

COUNTS = (2000, 3000, 1000, 1000, 2000)
PER_CLASS = {"images_per_class": 100}
PRIVATE = {"delta": 1e-5, "divisor": 200.0, **PER_CLASS}
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "bn-matching": ("bn-matching", PER_CLASS),
    "bn-matching, soft labels of views": ("bn-matching", {"soft_labels": True, "views": 100, **PER_CLASS}),
    "dp-bn-matching, epsilon 10": ("dp-bn-matching", {"epsilon": 10.0, **PRIVATE}),
    "dp-bn-matching, epsilon 3": ("dp-bn-matching", {"epsilon": 3.0, **PRIVATE}),
    "dp-bn-matching, epsilon 1": ("dp-bn-matching", {"epsilon": 1.0, **PRIVATE}),
    **{
        name: (name, PER_CLASS)
        for name in (
            *("pixel-block-mixing", "blur", "pixelise", "additive-noise", "mixup", "instahide"),
            *("noise", "real-subset"),
        )
    },
}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}, "mixing-restoration": {}}
SEEDS = range(3)


def _parts(name: str, seed: int) -> list[Dataset]:
    return deal(load(name), COUNTS, seeds.generator(seed, "engines", name))


def _made(name: str, engine: str, seed: int, store: Path) -> tuple[Release, float, float]:
    """The release, seconds and the process's peak memory in GiB, less what it had before."""
    import torch

    torch.set_num_threads(1)
    members = _parts(name, seed)[0].images
    maker, before = make_synthesizer(ENGINES[engine][0], ENGINES[engine][1]), _peak()
    started = time.perf_counter()
    release = synthesize(
        maker,
        members,
        Store(store),
        seed=seed,
        effort="quick",
        device="cpu",
        workers=0,
        announce=lambda what, done, total: None,
        classes=10,
    )
    return release, time.perf_counter() - started, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def one(cell: Cell, stores: Path) -> dict[str, Any]:
    """One engine on one split: made, attacked, and its use measured."""
    import torch

    torch.set_num_threads(1)
    name, engine, seed = cell["data"], cell["engine"], cell["seed"]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        release, seconds, peak = alone.submit(_made, name, engine, seed, stores / f"made-{name}-{seed}").result()
    members, controls, fresh, reference, test = _parts(name, seed)
    policy = load_policy("default")
    plan = Plan(
        members=members,
        controls=controls,
        fresh=fresh,
        reference=reference,
        test=test,
        candidates=[Candidate(engine, release, members)],
        attacks=ATTACKS,
        measure=("utility",),
        utility_seeds=3,
        effort="quick",
        kinds=(),
        seed=seed,
        random_split=True,
    )
    record = judge(collect(plan, policy, Store(stores / f"{name}-{seed}")), policy)
    (found,) = record.releases
    return {
        "seconds": round(seconds, 1),
        "peak_gib": round(peak, 2),
        "verdict": found.verdict,
        "utility": None if found.utility is None else found.utility.model_dump(mode="json"),
        "attacks": {
            attack.name: {
                "verdict": attack.verdict,
                "exposed": None if attack.exposed_share is None else attack.exposed_share.model_dump(mode="json"),
                "auc": None if (arm := attack.arms["release"]) is None else arm.auc.estimate,
            }
            for attack in found.attacks
        },
    }


def exposed(row: dict[str, Any]) -> tuple[str, float, float]:
    """The strongest attack by the lower bound of the exposed share, and its bounds."""
    bounds = [
        (name, found["exposed"]["low"], found["exposed"]["high"])
        for name, found in row["attacks"].items()
        if found["exposed"] is not None
    ]
    return max(bounds, key=lambda one: one[1:])


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for data, engine in product(("mnist", "cifar10"), ENGINES):
        mine = [row for row in rows if (row["cell"]["data"], row["cell"]["engine"]) == (data, engine)]
        strongest = [exposed(row) for row in mine]
        ratios = [row["utility"]["ratio"]["estimate"] for row in mine]
        found[f"{data}, {engine}"] = {
            "utility_ratio": [float(np.mean(ratios)), min(ratios), max(ratios)],
            "exposed_low": [float(np.mean([low for _, low, _ in strongest])), *sorted(low for _, low, _ in strongest)],
            "exposed_high": max(high for _, _, high in strongest),
            "strongest": sorted({name for name, _, _ in strongest}),
            "verdicts": sorted(row["verdict"] for row in mine),
            "seconds": float(np.median([row["seconds"] for row in mine])),
            "peak_gib": max(row["peak_gib"] for row in mine),
        }
    return found


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("engines.jsonl"))
    parser.add_argument("--stores", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2, help="at two, mostly cells of two data sets")
    options = parser.parse_args()
    cells = [
        {"data": data, "engine": engine, "seed": seed}
        for seed, engine, data in product(SEEDS, ENGINES, ("mnist", "cifar10"))
    ]
    rows = finished(partial(one, stores=options.stores), cells, options.log, options.processes)
    summary = _summary(rows)
    for name, told in summary.items():
        print(name, told)
    results = {"counts": COUNTS, "engines": ENGINES, "summary": summary, "raw": rows}
    command = "python -m benchmarks.engines --log engines.jsonl --stores FOLDER"
    print(write_result("engines", results, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
