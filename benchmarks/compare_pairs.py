"""Pairs of candidates on CIFAR-10: does `compare` stay silent on equal settings, and does it find leakier ones?

Each re-split gives five candidates of the same members, audited together: two of unseen images alone, two in which
1 % of the members are planted mirrored (not the same ones), and one with 5 % blurred. Pairs of equal settings: the
two clean ones, and the two mirrored ones. Leakier pairs: a clean one against a mirrored, and against the blurred one.
`compare` sees the rankings of the candidates only: no list of identical copies helps it, and the other arms
and the blind baseline are not run. One line of JSON per re-split is appended to the
log, so that a stopped run goes on.

    python -m benchmarks.compare_pairs --runs 100 --processes 2 --log compare_pairs.jsonl
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks import resplits, shared_data
from benchmarks.planted_truth import blurred, mirrored
from benchmarks.recording import commit, write_result
from privaudit import audit, runner, seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.comparison import compare
from privaudit.images import Dataset, Images
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.store import Store

SIZES = {"members": 1200, "controls": 1500, "release": 1200, "other release": 1200, "fresh": 200, "reference": 600}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}
EQUAL = (("clean", "clean again"), ("mirrored", "mirrored again"))
LEAKIER = (("clean again", "mirrored"), ("clean", "blurred"))


class ReleaseArmOnly(runner.Runner):
    """The blind runner without the arms that a comparison does not look at."""

    def cells(self, candidate: Candidate) -> list[Any]:
        return [cell for cell in super().cells(candidate) if cell.arm == "release"]


def planted(base: Dataset, members: Images, change: Any, share: float, rng: np.random.Generator) -> Dataset:
    """The base with changed members in place of some of its images."""
    count = round(share * len(members))
    rows, places = rng.permutation(len(members))[:count], rng.permutation(len(base))[:count]
    pixels, labels = base.images.pixels.copy(), base.images.labels.copy()
    for place, row in zip(places, rows, strict=True):
        pixels[place], labels[place] = change(members.pixels[row]), members.labels[row]
    return Dataset(Images(pixels, labels), base.class_names, None, base.names, base.source)


def one(seed: int) -> dict[str, Any]:
    """One re-split: what `compare` says of each pair."""
    data = resplits.data()
    started = time.perf_counter()
    rng = seeds.generator(seed, "compare pairs")
    members, controls, first, second, fresh, reference = shared_data.deal(data, list(SIZES.values()), rng)
    made = {
        "clean": first,
        "clean again": second,
        "mirrored": planted(first, members.images, mirrored, 0.01, rng),
        "mirrored again": planted(second, members.images, mirrored, 0.01, rng),
        "blurred": planted(second, members.images, blurred, 0.05, rng),
    }
    candidates = [Candidate(name, Release(data.images), data) for name, data in made.items()]
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(members, candidates, ATTACKS, controls, fresh, reference, seed=seed, kinds=())
        without_baseline = patch.object(audit, "_blind_baseline", lambda *_: None)
        with patch.object(audit, "Runner", ReleaseArmOnly), without_baseline:
            evidence = collect(plan, load_policy("default"), Store(Path(folder)))
    said = {}
    for before, after in (*EQUAL, *LEAKIER):
        parts = compare(evidence, evidence, before, after).parts
        said[f"{before} / {after}"] = {
            "worse": any(part.verdict == "worse" for part in parts),
            "better": any(part.verdict == "better" for part in parts),
            "p_worse": {f"{part.attack} {part.change.metric}": part.change.p_worse for part in parts},
        }
    return {"seed": seed, "commit": commit(), "pairs": said, "seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """Run what is missing in the log, then summarise it."""
    done, runs = resplits.finished(one, __doc__, "compare_pairs.jsonl", 100)
    worse = {name: sum(run["pairs"][name]["worse"] for run in done) for name in done[0]["pairs"]}
    path = write_result(
        "compare_pairs",
        {
            "sizes": SIZES,
            "runs": len(done),
            "found_leakier": worse,
            "bars": {"equal settings": "<= 11 of 100", "leakier settings": ">= 93 of 100"},
            "raw": done,
        },
        seeds=[run["seed"] for run in done],
        command=f"python -m benchmarks.compare_pairs --runs {runs}",
    )
    print(worse, path)


if __name__ == "__main__":
    main()
