"""The three mediated attacks in the real runner: hits on the originals, and nothing on images of strangers.

digits    640 members, 640 controls, 150 fresh, 150 reference; the raw arm has 217 images
mnist     2,000 members, 2,000 controls, 1,000 fresh, 500 reference; the raw arm has 1,000 images

    python -m benchmarks.mediated_attacks --part digits --raw 5 --fresh 20 --log LOG --store STORE
    python -m benchmarks.mediated_attacks --part mnist --raw 5 --fresh 20 --log LOG --store STORE

One line per seed and arm is appended to the log, so that a stopped run goes on. The fresh check is two-sided, with Holm
over these three attacks alone, which is stricter than over all five.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.cells import lines_of
from benchmarks.recording import commit, write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan
from privaudit.evidence import AttackFacts
from privaudit.findings import Case, fresh_checks
from privaudit.pools import make_pools
from privaudit.release import Release
from privaudit.runner import Outcome, Runner
from privaudit.splits import random_split
from privaudit.statistics.detection import detect
from privaudit.statistics.reach import hits_at
from privaudit.statistics.tally import placements, tally
from privaudit.store import Store

ATTACKS = ("gradient-matching", "model-memorization", "gan-inversion")
REACH = 64
SIZES = {
    "digits": {"members": 640, "controls": 640, "fresh": 150, "reference": 150, "release": 217},
    "mnist": {"members": 2000, "controls": 2000, "fresh": 1000, "reference": 500, "release": 1000},
}


def _quiet(what: str, done: int, total: int) -> None:
    pass


def one(part: str, seed: int, arm: str, effort: Any, store: Store, workers: int) -> dict[str, Any]:
    """All three attacks on one arm of one deal."""
    started = time.perf_counter()
    everything = shared_data.load(part)
    dealt = random_split(everything, list(SIZES[part].values()), seeds.generator(seed, "mediated attacks"))
    members, controls, fresh, reference, released = dealt
    candidate = Candidate("unseen", Release(released.images), released)
    attacks: dict[str, dict[str, Any]] = {name: {} for name in ATTACKS}
    plan = Plan(
        *(members, [candidate], attacks, controls, fresh, reference),
        effort=effort,
        seed=seed,
        random_split=True,
        workers=workers,
        kinds=(),
    )
    pools = make_pools(members, controls, fresh, reference, max_suspects=10_000, seed=seed, random_split=True)
    runner = Runner(plan, pools, store, _quiet)
    outcomes = runner.run([cell for cell in runner.cells(candidate) if cell.arm == arm])
    found = {name: outcomes["unseen", name] for name in ATTACKS}
    line: dict[str, Any] = {
        "part": part,
        "seed": seed,
        "arm": arm,
        "effort": effort,
        "commit": commit(),
        "attacks": {name: figures(outcome, arm) for name, outcome in found.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }
    if arm == "fresh":
        cases = [Case(facts(name, outcome), outcome.scores) for name, outcome in found.items()]
        line["p_holm"] = {check.attack: check.p_holm for check in fresh_checks(cases)}
    return line


def facts(name: str, outcome: Outcome) -> AttackFacts:
    return AttackFacts(
        name=name,
        version=1,
        settings={},
        family="mediated",
        threat_model="",
        reach=REACH,
        seconds=outcome.seconds,
        failure=None,
    )


def figures(outcome: Outcome, arm: str) -> dict[str, Any]:
    """What one attack came to."""
    if outcome.scores is None:
        raise SystemExit(str(outcome.failure))
    members, controls = outcome.scores[f"{arm} members"], outcome.scores[f"{arm} controls"]
    hits, p = hits_at(members, controls, REACH, "image")
    tests = detect(tally(placements(members, controls)))
    recovery = outcome.recoveries[arm]
    return {
        "hits": round(hits.estimate * REACH, 2),
        "hits_p": p,
        "auc_p": float(tests.auc_p[0]),
        "own": recovery.own.model_dump(include={"estimate", "low", "high"}),
        "own_psnr": recovery.own_psnr.model_dump(include={"estimate", "low", "high"}),
        "nearest_is_member": recovery.nearest_is_member.model_dump(include={"estimate", "low", "high"}),
        "counts": {name: count.estimate for name, count in recovery.counts.items()},
        "diagnostics": recovery.diagnostics,
        "seconds": outcome.seconds,
    }


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    raw = [line for line in lines if line["arm"] == "raw"]
    fresh = [line for line in lines if line["arm"] == "fresh"]
    hits = {name: [line["attacks"][name]["hits"] for line in raw] for name in ATTACKS}
    return {
        "raw": {
            name: {
                "hits": values,
                "median_hits": float(np.median(values)) if values else None,
                "found_p_below_1pct": sum(line["attacks"][name]["hits_p"] <= 0.01 for line in raw),
                "median_own": float(np.median([line["attacks"][name]["own"]["estimate"] for line in raw] or [np.nan])),
                "median_own_psnr": float(
                    np.median([line["attacks"][name]["own_psnr"]["estimate"] for line in raw] or [np.nan])
                ),
            }
            for name, values in hits.items()
        },
        "fresh": {
            "seeds": len(fresh),
            "quiet": sum(min(line["p_holm"].values()) > 0.01 for line in fresh),
            "smallest_p": [min(line["p_holm"].values()) for line in fresh],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=SIZES, required=True)
    parser.add_argument("--raw", type=int, default=5)
    parser.add_argument("--fresh", type=int, default=20)
    parser.add_argument("--fresh-effort", default="standard")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    options = parser.parse_args()
    lines = lines_of(options.log)
    over = {(line["part"], line["seed"], line["arm"]) for line in lines}
    wanted = [(seed, "raw", "standard") for seed in range(options.raw)]
    wanted += [(seed, "fresh", options.fresh_effort) for seed in range(options.fresh)]
    with options.log.open("a") as log:
        for seed, arm, effort in wanted:
            if (options.part, seed, arm) in over:
                continue
            lines.append(one(options.part, seed, arm, effort, Store(options.store), options.workers))
            log.write(json.dumps(lines[-1]) + "\n")
            log.flush()
            print(seed, arm, {name: found["hits"] for name, found in lines[-1]["attacks"].items()}, flush=True)
    mine = [line for line in lines if line["part"] == options.part]
    found = summary(mine)
    path = write_result(
        f"mediated_attacks_{options.part}",
        {"sizes": SIZES[options.part], "reach": REACH, **found, "lines": mine},
        seeds=max(options.raw, options.fresh),
        command=f"python -m benchmarks.mediated_attacks --part {options.part} --raw {options.raw} "
        f"--fresh {options.fresh} --fresh-effort {options.fresh_effort} --log LOG --store STORE",
    )
    print(found, path)


if __name__ == "__main__":
    main()
