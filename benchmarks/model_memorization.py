"""What does a malicious trainer carry out of a release, and what does his host lose by it?

Raw arm: the release is members themselves. Digits: 450 of 700 members are released, 700 controls, 200 images of the
attacker's own; MNIST: 2,000 of 2,500, 2,500 and 200. For every encoder and seed: members among the `reach` suspects
that lie closest to the decoded images, PSNR of the decoded images against those that were hidden, the host's and an
honest host's accuracy on held-out released images, seconds of both halves. Curves on a larger host:
`benchmarks.memorization_capacity`.

    python -m benchmarks.model_memorization
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from typing import Any, Literal, get_args

import numpy as np

from benchmarks.recording import write_result
from benchmarks.shared_data import load
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.model_memorization import ModelMemorization
from privaudit.closeness import closeness
from privaudit.images import concatenate
from privaudit.release import Release

SEEDS = range(5)
SIZES = {"digits": (700, 450), "mnist": (2500, 2000)}
"""Members (and as many controls), and how many of them are released."""
REFERENCE = 200
Encoder = Literal["lsb", "correlated-value", "sign", "capacity-abuse", "transpose"]
ENCODERS: Sequence[Encoder] = get_args(Encoder)
HOSTS = ("host", "honest host")


def one(data: str, encoder: Encoder, seed: int) -> dict[str, Any]:
    """One victim and one attacker."""
    import torch

    torch.set_num_threads(1)
    side, released = SIZES[data]
    images = load(data).images
    order = seeds.generator(seed, "deal").permutation(len(images))
    members, controls, reference = (
        images.take(rows) for rows in np.split(order[: 2 * side + REFERENCE], [side, 2 * side])
    )
    release = members.take(np.arange(released))
    attack = ModelMemorization(encoder=encoder)
    started = time.perf_counter()
    seen = attack.expose(Release(release), Context(seeds.generator(seed, "expose"), seed=seed))
    between = time.perf_counter()
    pile = concatenate([members, controls])
    own = Context(seeds.generator(seed, "attack"), seed=seed, reference=reference)
    evidence = attack.attack(Seen(seen.arrays), pile, own)
    ended = time.perf_counter()
    if evidence.recovered is None or seen.source is None:
        raise SystemExit(f"{encoder} recovered nothing")
    reach = attack.reach(released) or 0
    best = np.argsort(-closeness(pile, evidence.recovered, reference))[:reach]
    source = release.take(seen.source.rows)
    error = ((evidence.recovered.pixels.astype(np.float64) - source.pixels) ** 2).mean((1, 2, 3))
    psnr = 10 * np.log10(255**2 / np.maximum(error, 1e-6))
    return {
        "data": data,
        "encoder": encoder,
        "seed": seed,
        "reach": reach,
        "hits": int((best < side).sum()),
        "psnr": {f"{place} %": float(np.percentile(psnr, place)) for place in (0, 5, 50, 95, 100)},
        "labels_right": float((evidence.recovered.labels == source.labels).mean()),
        "diagnostics": {name: float(value) for name, value in evidence.diagnostics.items()},
        "counts": {name: list(count) for name, count in seen.source.counts.items()},
        "seconds": {"expose": between - started, "attack": ended - between},
    }


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    accuracies = {
        name: float(np.mean([np.divide(*row["counts"][f"{name} right on held-out released images"]) for row in rows]))
        for name in HOSTS
    }
    shares = [row["hits"] / row["reach"] for row in rows]
    return {
        "reach": rows[0]["reach"],
        "hits": [row["hits"] for row in rows],
        "least_share": min(shares),
        "median_share": float(np.median(shares)),
        "psnr_least": min(row["psnr"]["0 %"] for row in rows),
        "psnr_median": float(np.median([row["psnr"]["50 %"] for row in rows])),
        "accuracy": accuracies,
        "stored_height": rows[0]["diagnostics"].get("stored height"),
        "pixel_values_per_parameter": rows[0]["diagnostics"]["pixel values per parameter"],
        "seconds": float(np.median([sum(row["seconds"].values()) for row in rows])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--data", choices=SIZES, action="append", help="default: both")
    parser.add_argument("--encoder", choices=ENCODERS, action="append", help="default: all")
    arguments = parser.parse_args()
    cells = list(product(arguments.data or SIZES, arguments.encoder or ENCODERS, SEEDS))
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(one, *zip(*cells, strict=True)))
    summary = {
        f"{data}, {encoder}": _summary([row for row in rows if (row["data"], row["encoder"]) == (data, encoder)])
        for data, encoder in dict.fromkeys(cell[:2] for cell in cells)
    }
    command = "python -m benchmarks.model_memorization"
    for flag in ("data", "encoder"):
        command += "".join(f" --{flag} {value}" for value in getattr(arguments, flag) or ())
    for name, figures in summary.items():
        print(name, figures)
    print(write_result("model_memorization", {"summary": summary, "raw": rows}, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
