"""Do the class-wise statistics of a class of five images betray these five?

Digits: 405 members, of which the class 9 has five; bn-matching makes as many images as there are members. Every attack
ranks the members and 600 controls. Within the class: how often does one of the five come before a control of the same
class (AUC; 0.5 is chance), and how many of the five come before every control of the class? Beside it the same for five
members of another class, which has forty-odd.

    python -m benchmarks.small_class --store STORE
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bn_statistics import DIGITS_TEACHER
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.data.builtin import load_digits
from privaudit.images import concatenate
from privaudit.plugins import make_attack
from privaudit.splits import random_split
from privaudit.store import Store
from privaudit.synth.bn_matching import BNMatching
from privaudit.synthesis import synthesize

SEEDS = range(8)
SMALL, LARGE, FEW = 9, 3, 5
ATTACKS = ("nearest-copy", "density-ratio")


def one(seed: int, root: Path) -> dict[str, Any]:
    """Ranks within the small and a large class, by attack."""
    import torch

    torch.set_num_threads(1)
    rng = seeds.generator(seed, "small class")
    dealt, controls, reference = random_split(load_digits(), [600, 700, 300], rng)
    pool = dealt.images.take(rng.permutation(len(dealt)))  # a part keeps the order of its source, which is by writers
    counts = {label: FEW if label == SMALL else 45 for label in range(10)}
    rows = [np.flatnonzero(pool.labels == label)[:count] for label, count in counts.items()]
    members = pool.take(np.concatenate(rows))
    engine = BNMatching(teacher=DIGITS_TEACHER, steps=500, roll=1)
    release = synthesize(
        engine,
        members,
        Store(root / str(seed)),
        seed=seed,
        effort="standard",
        device="cpu",
        workers=0,
        announce=lambda what, done, total: None,
    )
    found: dict[str, Any] = {"seed": seed}
    for name in ATTACKS:
        attack = make_attack(name, {})
        own = Context(seeds.generator(seed, name), reference=reference.images)
        seen = Seen(release.images.arrays())
        # One pile, in random order: scores of two piles need not be on one scale.
        pile = concatenate([members, controls.images])
        order = seeds.generator(seed, "pile").permutation(len(pile))
        shuffled = attack.attack(seen, pile.take(order), own).scores
        if shuffled is None:
            raise SystemExit(f"{name} gave no scores")
        scores = np.empty(len(pile))
        scores[order] = shuffled
        found[name] = {
            what: _ranks(scores[: len(members)], scores[len(members) :], members.labels, controls.images.labels, label)
            for what, label in (("small class", SMALL), ("large class", LARGE))
        }
    return found


def _ranks(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    members: NDArray[np.int64],
    controls: NDArray[np.int64],
    label: int,
) -> dict[str, Any]:
    mine, others = ours[members == label][:FEW], theirs[controls == label]
    wins = (mine[:, None] > others).mean() + 0.5 * (mine[:, None] == others).mean()
    return {"auc": float(wins), "before_all": int((mine > others.max()).sum()), "controls": len(others)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(one, SEEDS, [arguments.store] * len(SEEDS)))
    summary = {}
    for name in ATTACKS:
        for what in ("small class", "large class"):
            aucs = np.array([row[name][what]["auc"] for row in rows])
            error = aucs.std(ddof=1) / np.sqrt(len(aucs))
            summary[f"{name}, {what}"] = {
                "auc": float(aucs.mean()),
                "auc_low": float(aucs.mean() - 2.365 * error),  # t quantile, 7 degrees of freedom
                "auc_high": float(aucs.mean() + 2.365 * error),
                "before_all": sum(row[name][what]["before_all"] for row in rows),
                "expected_by_chance": float(sum(FEW / (row[name][what]["controls"] + 1) for row in rows)),
                "of": FEW * len(rows),
            }
    command = "python -m benchmarks.small_class"
    print(summary)
    print(write_result("small_class", {"summary": summary, "raw": rows}, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
