"""Whom does gan-leaks find, with the published settings and with its own?

Digits: 400 members, 800 controls, 200 images of the attacker's own, 200 released. CIFAR-10: 1,000, 2,000, 500, 500.
Released are strangers' images ('clean'), members themselves ('originals'), or strangers' images and changed copies of
members, a tenth of the release (all other names: kinds of plants). Per cell: AUC of the members whose images are in the
release (of all members where none is) against controls, their TPR at 1 % FPR, seconds.

    python -m benchmarks.gan_leaks --part digits
    python -m benchmarks.gan_leaks --part cifar10
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from privaudit import plants, seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.gan_leaks import GanLeaks
from privaudit.images import Images, concatenate
from privaudit.release import Release

SIZES = {"digits": (400, 800, 200, 200), "cifar10": (1000, 2000, 500, 500)}
"""Members, controls, the attacker's own, released."""
PLANTED = 0.1
KINDS = ("mirrored", "cropped", "blurred", "jpeg", "brightened", "noise", "blend", "mosaic")
VARIANTS: dict[str, dict[str, str]] = {
    "own": {},
    "difference": {"calibration": "difference"},
    "adversarial": {"generator": "adversarial"},
    "published": {"generator": "adversarial", "calibration": "difference"},
}
SEEDS = {"clean": range(10), "originals": range(5)}


def one(cell: Cell) -> dict[str, Any]:
    """One release, attacked once."""
    import torch

    torch.set_num_threads(1)
    part, kind, seed = cell["part"], cell["kind"], cell["seed"]
    images = shared_data.load(part).images
    sizes = SIZES[part]
    order = seeds.generator(seed, "gan leaks").permutation(len(images))
    members, controls, reference, strangers = (
        images.take(rows) for rows in np.split(order[: sum(sizes)], np.cumsum(sizes)[:-1])
    )
    release, used = released(kind, members, strangers, seeds.generator(seed, "plants"))
    attack = GanLeaks.model_validate(VARIANTS[cell["variant"]])
    seen = attack.expose(Release(release), Context(seeds.generator(seed, "expose"), seed=seed, effort=cell["effort"]))
    own = Context(seeds.generator(seed, "attack"), seed=seed, effort=cell["effort"], reference=reference)
    started = time.process_time()
    scores = attack.attack(Seen(seen.arrays), concatenate([members, controls]), own).scores
    if scores is None:
        raise SystemExit("gan-leaks ranks suspects")
    ours, theirs = scores[:used], np.sort(scores[len(members) :])
    threshold = theirs[-max(1, len(theirs) // 100)]
    above = np.searchsorted(theirs, ours, side="left") + np.searchsorted(theirs, ours, side="right")
    return {
        "used": used,
        "auc": float(above.mean() / 2 / len(theirs)),
        "tpr_at_1pct_fpr": float((ours > threshold).mean()),
        "cpu seconds": time.process_time() - started,
    }


def released(kind: str, members: Images, strangers: Images, rng: np.random.Generator) -> tuple[Images, int]:
    """What is released, and how many of the first members it is made from (all of them where it is from none)."""
    if kind == "clean":
        return strangers, len(members)
    if kind == "originals":
        return members.take(slice(0, len(strangers))), len(strangers)
    count = round(PLANTED * len(strangers))
    change = plants.KINDS[kind]
    pixels = np.stack([change(image, strangers, rng) for image in members.pixels[:count]])
    copies = Images(pixels, members.labels[:count])
    return concatenate([copies, strangers.take(slice(count, len(strangers)))]), count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(SIZES), required=True)
    parser.add_argument("--effort", choices=("quick", "standard", "thorough"), default="quick")
    parser.add_argument("--seeds", type=int, help="fewer seeds of each kind, for a trial that is not recorded")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--log", type=Path, default=Path("gan_leaks.jsonl"))
    options = parser.parse_args()
    plan = [("own", kind) for kind in ("clean", "originals", *KINDS)]
    plan += list(product(("difference", "adversarial", "published"), ("originals",)))
    cells = [
        {"part": options.part, "effort": options.effort, "variant": variant, "kind": kind, "seed": seed}
        for variant, kind in plan
        for seed in list(SEEDS.get(kind, range(3)))[: options.seeds]
    ]
    rows = finished(one, cells, options.log, options.processes)
    summary = {}
    for variant, kind in plan:
        mine = [row for row in rows if (row["cell"]["variant"], row["cell"]["kind"]) == (variant, kind)]
        summary[f"{kind}, {variant}"] = {
            key: {"median": float(np.median(values)), "least": min(values), "most": max(values)}
            for key in ("auc", "tpr_at_1pct_fpr", "cpu seconds")
            if (values := [float(row[key]) for row in mine])
        }
    for name, figures in summary.items():
        print(name, figures)
    if options.seeds is None:
        command = f"python -m benchmarks.gan_leaks --part {options.part} --effort {options.effort}"
        results = {"summary": summary, "raw": rows}
        print(write_result(f"gan_leaks_{options.part}", results, seeds=list(range(10)), command=command))


if __name__ == "__main__":
    main()
