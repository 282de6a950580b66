"""Pixel-block mixing against who puts the blocks together again: is restoration "computationally challenging"?

1,000 members of MNIST and of CIFAR-10 are mixed with blocks of three sizes (of the published program: half the height
and an eighth of the width; and two kinds of squares), ten sources of the same class, every second block, as published.
`mixing-restoration`, `nearest-copy` with and without blocks, are run as in any audit, at `quick`; what was put together
is measured by the runner. Beside it: the score of `mixing-restoration` with nothing put together, on the mixed images
as they are. One split and one mixing per seed. Cells are resumable.

    python -m benchmarks.mixing_restoration --log mixing_restoration.jsonl
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from benchmarks.shared_data import deal, load
from privaudit import seeds
from privaudit.attack import Context
from privaudit.attacks.mixing_restoration.matching import share_matched
from privaudit.audit import Candidate, collect
from privaudit.images import concatenate
from privaudit.judgement import judge
from privaudit.plan import Plan
from privaudit.plugins import make_attack, make_synthesizer
from privaudit.policy import load_policy
from privaudit.statistics.exposure import auc_estimate
from privaudit.store import Store
from privaudit.synthesizer import made

BLOCKS = {"cifar10": ((16, 4), (8, 8), (4, 4)), "mnist": ((14, 3), (7, 7), (4, 4))}
SEEDS = range(3)
COUNTS = {"members": 1000, "controls": 1500, "fresh": 500, "reference": 500}
ATTACKS: dict[str, dict[str, dict[str, Any]]] = {
    "with blocks": {"mixing-restoration": {}, "nearest-copy": {}},
    "whole images": {"nearest-copy": {"block_sizes": []}},
}


def one(cell: Cell) -> dict[str, Any]:
    """One mixing, attacked."""
    import torch

    torch.set_num_threads(1)
    name, (height, width), seed = cell["data"], cell["block"], cell["seed"]
    parts = deal(load(name), list(COUNTS.values()), seeds.generator(seed, "mixing restoration", name))
    members, controls, fresh, reference = parts
    engine = make_synthesizer("pixel-block-mixing", {"block_height": height, "block_width": width})
    release = made(engine, members.images, Context(seeds.generator(seed, "mixing"), seed))
    suspects = concatenate([members.images, controls.images])
    share, _ = share_matched(suspects, release.images, reference.images, (height, width))
    count = len(members)
    plain = auc_estimate(share[:count], share[count:], "image")
    row: dict[str, Any] = {"nothing put together": [plain.estimate, plain.low, plain.high]}
    policy = load_policy("default")
    for how, attacks in ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            plan = Plan(
                candidates=[Candidate("mixed", release, members)],
                attacks=attacks,
                effort="quick",
                seed=seed,
                kinds=(),
                random_split=True,
                members=members,
                controls=controls,
                fresh=fresh,
                reference=reference,
            )
            record = judge(collect(plan, policy, Store(Path(folder))), policy)
        for attack in record.releases[0].attacks:
            row[f"{attack.name}, {how}"] = {
                "version": attack.version,
                "seconds": attack.seconds,
                "arms": {arm: _told(found) for arm, found in attack.arms.items() if found is not None},
            }
    return row


def _told(arm: Any) -> dict[str, Any]:
    share = arm.attribution
    return {
        "verdict": arm.verdict,
        "p": arm.p,
        "auc": [arm.auc.estimate, arm.auc.low, arm.auc.high],
        "tpr": [arm.tpr_at_1pct_fpr.estimate, arm.tpr_at_1pct_fpr.low, arm.tpr_at_1pct_fpr.high],
        "r0": arm.r0.members,
        "attribution": None if share is None else share.model_dump(mode="json"),
    }


def _mean(values: Sequence[float]) -> list[float]:
    """Mean, least and greatest over the seeds."""
    return [float(np.mean(values)), float(np.min(values)), float(np.max(values))]


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, block in ((name, block) for name, blocks in BLOCKS.items() for block in blocks):
        mine = [row for row in rows if row["cell"]["data"] == name and tuple(row["cell"]["block"]) == block]
        told: dict[str, Any] = {"nothing put together": _mean([row["nothing put together"][0] for row in mine])}
        for attack in (f"{attack}, {how}" for how, attacks in ATTACKS.items() for attack in attacks):
            for arm in mine[0][attack]["arms"]:
                arms = [row[attack]["arms"][arm] for row in mine]
                one_arm: dict[str, Any] = {
                    "fail": sum(found["verdict"] == "fail" for found in arms),
                    "auc": _mean([found["auc"][0] for found in arms]),
                    "tpr": _mean([found["tpr"][0] for found in arms]),
                }
                if arms[0]["attribution"] is not None:
                    for figure in ("before", "after", "findable", "psnr_before", "psnr_after"):
                        one_arm[figure] = _mean([found["attribution"][figure]["estimate"] for found in arms])
                told.setdefault(attack, {})[arm] = one_arm
        found[f"{name} {block[0]} x {block[1]}"] = told
    return found


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, default=Path("mixing_restoration.jsonl"))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    cells = [
        {"data": name, "block": list(block), "seed": seed}
        for name, blocks in BLOCKS.items()
        for block, seed in product(blocks, SEEDS)
    ]
    rows = finished(one, cells, options.log, options.processes)
    versions = {name: make_attack(name, {}).version for name in ATTACKS["with blocks"]}
    results = {"counts": COUNTS, "versions": versions, "summary": _summary(rows), "raw": rows}
    command = "python -m benchmarks.mixing_restoration --log mixing_restoration.jsonl"
    print(write_result("mixing_restoration", results, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
