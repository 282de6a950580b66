"""Chest X-rays by patient: clean re-splits must alarm at the nominal rate per person; planted patients must be found.

    python -m benchmarks.chest_xray --runs 60

Persons, not images, are dealt, scored and counted. Images at 64 x 64. Each run is audited without plants (their power
is not the question here): three arms, two attacks, the demo policy (limit 10 %, at least 270 persons a side).
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.record import AuditRecord
from privaudit.release import Release
from privaudit.store import Store

PERSONS = {"members": 285, "controls": 200, "fresh": 85, "release": 60, "reference": 50}
PLANTED_PERSONS = 14
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}


def deal_persons(data: Dataset, rng: np.random.Generator) -> list[Dataset]:
    """Disjoint random sets of persons, with all their images."""
    known = data.take(np.flatnonzero(data.images.labels < 2))
    persons = rng.permutation(np.unique(known.units))
    ends = np.cumsum(list(PERSONS.values()))
    return [known.take(np.flatnonzero(np.isin(known.units, part))) for part in np.split(persons[: ends[-1]], ends[:-1])]


def _audit(parts: list[Dataset], images: Images, seed: int) -> AuditRecord:
    members, controls, fresh, unseen, reference = parts
    candidate = Candidate("x-rays", Release(images), replace(unseen, images=images, groups=None))
    policy = load_policy("demo")
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(members, [candidate], ATTACKS, controls, fresh, reference, seed=seed, kinds=())
        return judge(collect(plan, policy, Store(Path(folder))), policy)


def one(seed: int) -> dict[str, Any]:
    """A clean audit, and the same with one mirrored image of each of 14 members planted."""
    import torch

    torch.set_num_threads(1)
    data = shared_data.load("chest_xray")
    rng = seeds.generator(seed, "chest x-rays")
    parts = deal_persons(data, rng)
    members, unseen = parts[0], parts[3]
    row: dict[str, Any] = {"seed": seed}
    _, first = np.unique(members.units, return_index=True)
    chosen = rng.permutation(first)[:PLANTED_PERSONS]
    planted = Images(
        np.concatenate([unseen.images.pixels, members.images.pixels[chosen][:, :, ::-1]]),
        np.concatenate([unseen.images.labels, members.images.labels[chosen]]),
    )
    for name, images in (("clean", unseen.images), ("planted", planted)):
        record = _audit(parts, images, seed)
        row[name] = {
            "verdict": record.verdict,
            "persons": [record.data.scored_members, record.data.scored_controls + record.data.scored_fresh],
            "reasons": list(record.releases[0].reasons),
            "attacks": {
                attack.name: {
                    "verdict": attack.verdict,
                    "r0_p": arm.r0.p,
                    "top20_p": arm.top20.p if arm.top20 else None,
                    "auc_p": arm.auc_p,
                    "p": arm.p,
                }
                for attack in record.releases[0].attacks
                if (arm := attack.arms["release"]) is not None
            },
        }
    return row


def main() -> None:
    """Run all re-splits and summarise."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        rows = [done.result() for done in as_completed([pool.submit(one, seed) for seed in range(options.runs)])]
    rows.sort(key=lambda row: int(row["seed"]))
    alarms = {
        f"{name} {test}": sum(row["clean"]["attacks"][name][test] <= 0.05 for row in rows)
        for name in ATTACKS
        for test in ("r0_p", "top20_p", "auc_p", "p")
    }
    verdicts = {
        kind: {v: sum(row[kind]["verdict"] == v for row in rows) for v in ("pass", "inconclusive", "fail")}
        for kind in ("clean", "planted")
    }
    summary = {"persons": PERSONS, "runs": len(rows), "alarms_at_5_percent": alarms, "verdicts": verdicts}
    print(summary)
    command = f"python -m benchmarks.chest_xray --runs {options.runs}"
    print(write_result("chest_xray", summary | {"raw": rows}, seeds=list(range(options.runs)), command=command))


if __name__ == "__main__":
    main()
