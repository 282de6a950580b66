"""Membership scores with few shadows, and how fast shadows are trained.

few-shadows: a pool of images, half of them members by a coin; a target with a coin of its own, outside the shadows; 16
shadows in pairs of complements, of which 4, 8 and 16 are used. TPR at 1 % FPR of every score with its interval, paired
differences from Student-t, which images are called exposed again with the next seed, and the largest difference of
every score from an independent re-computation. speed: shadows in as many processes of one thread as there are cores,
against one after the other. simulated: TPR at 0.1 % FPR on normal scores of unequal variance.

    python -m benchmarks.membership --log FILE
    python -m benchmarks.membership --log FILE --part speed        (on an idle machine; a result of its own)
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, finished
from benchmarks.membership_scores import online, recomputed, simulated
from benchmarks.recording import write_result
from benchmarks.shared_data import deal, load
from privaudit import seeds
from privaudit.attacks.membership import scores
from privaudit.attacks.membership.networks import attacker_recipe
from privaudit.attacks.membership.scores import Floats, Shadows
from privaudit.images import Images
from privaudit.statistics.exposure import auc_estimate, tpr_estimate
from privaudit.statistics.moderated import level
from privaudit.statistics.paired import exposure_change
from privaudit.statistics.tally import placements, tally

PARTS = ("few-shadows", "speed")
SEEDS = range(5)
SHADOWS = (4, 8, 16)
POOL, STEPS = {"cifar10": 4000, "digits": 1000}, 750


def _pool(data: str, count: int) -> Images:
    """The same images with every seed, so that lists can be compared."""
    (pool,) = deal(load(data), [count], seeds.generator(0, "membership", data))
    return pool.images


def _confidence(images: Images, pool: Images, steps: int, seed: int, threads: int = 1) -> Floats:
    import torch

    from privaudit.learning import logits, train

    torch.set_num_threads(threads)
    network = train(attacker_recipe(images, steps), images, 10, seed)
    return scores.logit_confidence(logits(network, pool), pool.labels)


def few_shadows(data: str, seed: int) -> dict[str, Any]:
    """One target and 16 shadows."""
    pool = _pool(data, POOL[data])
    rng = seeds.generator(seed, "coins")
    member = rng.random(len(pool)) < 0.5
    halves = [rng.random(len(pool)) < 0.5 for _ in range(max(SHADOWS) // 2)]
    inside = np.stack([side for half in halves for side in (half, ~half)], axis=1)
    fed = [member, *inside.T]
    found = np.stack([_confidence(pool.take(mask), pool, STEPS, 100 * seed + n) for n, mask in enumerate(fed)], 1)
    target, figures = found[:, 0], {}
    for count in SHADOWS:
        shadows = Shadows(found[:, 1 : count + 1], inside[:, :count])
        ranked = {name: score(target) for name, score in online(shadows).items()}
        sides = {name: (values[member], values[~member]) for name, values in ranked.items()}
        for name, values in ranked.items():
            tpr = tpr_estimate(tally(placements(*sides[name])), "image")
            change = exposure_change(sides[name], sides["student-t"], seeds.generator(seed, "draws"))
            strangers = np.sort(sides[name][1])[::-1]
            above = np.flatnonzero(values > strangers[int(0.01 * len(strangers))])
            row = {
                "tpr": [tpr.estimate, tpr.low, tpr.high],
                "auc": auc_estimate(*sides[name], "image").estimate,
                "student-t less this": [change.run - change.baseline, change.low, change.high],
                "exposed": [int(image) for image in above if member[image]],
            }
            if name in ("LiRA", "LiRA, one variance", "RMIA", "student-t"):
                rows = range(0, len(pool), max(1, len(pool) // 100))
                row["off by"] = float(np.max(np.abs(values[rows] - recomputed(name, target, shadows, rows))))
            figures[f"{name}, {count}"] = row
    return {"scores": figures, "members": np.flatnonzero(member).tolist()}


def _one(data: str, seed: int, threads: int) -> float:
    pool = _pool(data, POOL[data] // 2)
    return float(_confidence(pool, pool.take(slice(0, 10)), STEPS // 2, seed, threads=threads)[0])


def speed(data: str, rounds: int = 3, networks: int = 4) -> dict[str, Any]:
    """Seconds for four shadows, three ways taking turns."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        ways: dict[str, tuple[Callable[..., Any], int]] = {
            "processes of one thread": (pool.map, 1),
            "one after the other, one thread": (map, 1),
            "one after the other, all cores": (map, cores),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        list(pool.map(_one, [data] * networks, range(networks), [1] * networks))  # processes started, files read
        for _ in range(rounds):
            for name, (each, threads) in ways.items():
                started = time.perf_counter()
                list(each(_one, [data] * networks, range(networks), [threads] * networks))
                seconds[name].append(time.perf_counter() - started)
    first, *others = (np.array(values) for values in seconds.values())
    ratios = [float(np.median(other / first)) for other in others]
    return {"seconds": seconds, "times as fast": dict(zip(list(seconds)[1:], ratios, strict=True))}


def one(cell: Cell) -> dict[str, Any]:
    """A cell of the benchmark."""
    data, seed = str(cell["data"]), int(cell["seed"])
    if cell["part"] == "few-shadows":
        return few_shadows(data, seed)
    return speed(data)


def _again(lists: Sequence[tuple[set[int], set[int]]]) -> float | None:
    """Of the images exposed with one seed and members with another: the share exposed there too, over all pairs."""
    pairs = [(first & members, second) for first, _ in lists for second, members in lists if first is not second]
    shared = sum(len(first) for first, _ in pairs)
    return sum(len(first & second) for first, second in pairs) / shared if shared else None


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds with 95 % t intervals."""
    found: dict[str, Any] = {}
    few = [row for row in rows if row["cell"]["part"] == "few-shadows"]
    for name in few[0]["scores"] if few else ():
        each = [row["scores"][name] for row in few]
        lists = [(set(row["scores"][name]["exposed"]), set(row["members"])) for row in few]
        found[name] = {
            "tpr": _level([row["tpr"][0] for row in each]),
            "student-t less this": _level([row["student-t less this"][0] for row in each]),
            "auc": float(np.mean([row["auc"] for row in each])),
            "exposed again": _again(lists),
            "off by": max((row["off by"] for row in each if "off by" in row), default=None),
        }
    for row in rows:
        if row["cell"]["part"] == "speed":
            found["speed"] = {name: row[name] for name in ("seconds", "times as fast")}
    return found


def _level(values: Sequence[float]) -> list[float]:
    return list(level(np.array(values))) if len(values) > 1 else list(values)


def main() -> None:
    """Run the cells that the log lacks, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="lines of finished cells; a stopped run goes on")
    parser.add_argument("--data", choices=POOL, default="cifar10")
    parser.add_argument("--part", choices=PARTS, action="append", help="default: all")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    parts, few = options.part or PARTS, range(options.seeds)
    cells: list[Cell] = [
        {"part": part, "data": options.data, "seed": seed} for part in parts if part != "speed" for seed in few
    ]
    rows = finished(one, cells, options.log, options.processes)
    if "speed" in parts:  # alone on the machine
        rows += finished(one, [{"part": "speed", "data": options.data, "seed": 0}], options.log, 1)
    figures = summary(rows) | {"simulated": {str(k): simulated(k, 40_000, 0) for k in (*SHADOWS, 64)}}
    command = f"python -m benchmarks.membership --log FILE --data {options.data}"
    command += "".join(f" --part {part}" for part in options.part or ())
    for kind, row in figures.items():
        print(kind, row)
    raw = [{key: value for key, value in row.items() if key != "members"} for row in rows]
    name = "membership_speed" if options.part == ["speed"] else "membership"
    print(write_result(name, {"summary": figures, "raw": raw}, seeds=list(few), command=command))


if __name__ == "__main__":
    main()
