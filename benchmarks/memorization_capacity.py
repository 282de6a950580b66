"""How many images can a malicious trainer carry out, at which quality, and what does his host lose by it?

CIFAR-10: 5,000 members are released (2,000 for capacity abuse, whose made-up inputs cost most). Up to 1,000 of them are
kept from the host and count how often it is right, beside an honest host of the same training. Three seeds for the
lowest bits, the signs and the network run backwards (on MNIST); one for what is made to survive damage, for the network
run backwards on CIFAR-10, and for the curves of the correlated values (against the weight of the penalty) and of
capacity abuse (against the number of images), with a ConvNet. Each carrier is read as it is, after rounding to float16,
and after Gaussian noise of a thousandth and of a hundredth of each tensor's spread: what is left of the images then.

    python -m benchmarks.memorization_capacity
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import shared_data
from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.model_memorization import ModelMemorization
from privaudit.images import Images
from privaudit.release import Release

MEMBERS, REFERENCE = 5000, 200
RESNET: dict[str, Any] = {"network": "resnet20", "epochs": 12}
CONVNET: dict[str, Any] = {"network": "convnet", "epochs": 10}
BACKWARDS: dict[str, Any] = {"encoder": "transpose", "epochs": 64}
SEEDS = range(3)
ONCE = ("lsb for float16", "sign, three copies", "transpose, cifar10")
CASES: dict[str, dict[str, Any]] = {
    "lsb": {"encoder": "lsb", "images": 340, **RESNET},
    "lsb for float16": {"encoder": "lsb", "images": 100, "storage": "float16", **RESNET},
    "sign": {"encoder": "sign", "images": 21, **RESNET},
    "sign, three copies": {"encoder": "sign", "images": 7, "copies": 3, **RESNET},
    "transpose, mnist": {**BACKWARDS, "images": 1200, "data": "mnist"},
    "transpose, cifar10": {**BACKWARDS, "images": 1000},
}
"""64 passes over 4,000 images are 2,048 steps, more than 200 passes over the hidden ones."""
CURVES: dict[str, dict[str, Any]] = {
    **{
        f"correlated-value, strength {strength:g}": {
            "encoder": "correlated-value",
            "images": 126,
            "strength": strength,
            **CONVNET,
        }
        for strength in (0.3, 1, 3, 10, 30)
    },
    **{
        f"capacity-abuse, {images} images": {
            "encoder": "capacity-abuse",
            "images": images,
            "network": "convnet",
            "epochs": 20,
            "members": 2000,
        }
        for images in (5, 20, 40)
    },
}
Damage = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]
DAMAGES: dict[str, Damage] = {
    "none": lambda array, rng: array,
    "float16": lambda array, rng: array.astype(np.float16).astype(array.dtype),
    "noise 0.001": lambda array, rng: _noisy(array, 1e-3, rng),
    "noise 0.01": lambda array, rng: _noisy(array, 1e-2, rng),
}


def _noisy(array: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[Any]:
    noise: NDArray[Any] = (array + rng.standard_normal(array.shape) * share * array.std()).astype(array.dtype)
    return noise


def one(cell: Cell) -> dict[str, Any]:
    """One carrier, read as it is and after every damage."""
    import torch

    torch.set_num_threads(1)
    seed, settings = cell["seed"], dict(cell["settings"])
    data, count, effort = settings.pop("data", "cifar10"), settings.pop("members", MEMBERS), cell["effort"]
    images = shared_data.load(data).images
    order = seeds.generator(seed, "memorization capacity").permutation(len(images))
    members, reference = images.take(order[:count]), images.take(order[count : count + REFERENCE])
    attack = ModelMemorization.model_validate(settings)
    started = time.perf_counter()
    seen = attack.expose(Release(members), Context(seeds.generator(seed, "expose"), seed=seed, effort=effort))
    if seen.source is None:
        raise SystemExit("nothing was hidden")
    hidden = members.take(seen.source.rows)
    found = {}
    for name, damage in DAMAGES.items():
        rng = seeds.generator(seed, "damage", name)
        arrays = {
            key: damage(array, rng) if array.dtype == np.float32 and array.ndim else array
            for key, array in seen.arrays.items()
        }
        own = Context(seeds.generator(seed, "attack"), seed=seed, effort=effort, reference=reference)
        evidence = attack.attack(Seen(arrays), reference, own)
        if evidence.recovered is None:
            raise SystemExit("nothing was recovered")
        found[name] = quality(evidence.recovered, hidden)
        if name == "none":
            diagnostics = {key: float(value) for key, value in evidence.diagnostics.items()}
    return {
        "images": len(hidden),
        "read": found,
        "counts": {name: list(count) for name, count in seen.source.counts.items()},
        "diagnostics": diagnostics,
        "seconds": time.perf_counter() - started,
    }


def quality(found: Images, hidden: Images) -> dict[str, float]:
    """PSNR of the images in order, and how many of them lie nearer to their own source than to every other hidden."""
    error = ((found.pixels.astype(np.float64) - hidden.pixels) ** 2).mean((1, 2, 3))
    psnr = 10 * np.log10(255**2 / np.maximum(error, 1e-6))
    flat, true = (images.pixels.reshape(len(images), -1).astype(np.float32) for images in (found, hidden))
    apart = (flat**2).sum(1)[:, None] - 2 * flat @ true.T + (true**2).sum(1)
    return {
        "median psnr": float(np.median(psnr)),
        "least psnr": float(psnr.min()),
        "above 30 dB": int((psnr > 30).sum()),
        "own source nearest": int((apart.argmin(1) == np.arange(len(true))).sum()),
    }


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    counts = {
        name: [float(np.divide(*row["counts"][name])) for row in rows]
        for name in rows[0]["counts"]
        if name != "hidden images readable above 30 dB"
    }
    host, honest = (np.mean(counts[f"{name} right on held-out released images"]) for name in ("host", "honest host"))
    return {
        "images": rows[0]["images"],
        "read": {
            damage: {key: [row["read"][damage][key] for row in rows] for key in rows[0]["read"][damage]}
            for damage in DAMAGES
        },
        "counts": counts,
        "points lost by the host": float(100 * (honest - host)),
        "diagnostics": rows[0]["diagnostics"],
        "seconds": [row["seconds"] for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--case", choices=[*CASES, *CURVES], action="append", help="default: all; recorded only then")
    parser.add_argument("--log", type=Path, default=Path("memorization_capacity.jsonl"))
    options = parser.parse_args()
    cells = [
        {"case": name, "settings": settings, "effort": "quick", "seed": seed}
        for name, settings in {**CASES, **CURVES}.items()
        for seed in (SEEDS[:1] if name in ONCE or name in CURVES else SEEDS)
        if name in (options.case or [*CASES, *CURVES])
    ]
    rows = finished(one, cells, options.log, options.processes)
    summary = {
        name: _summary([row for row in rows if row["cell"]["case"] == name])
        for name in dict.fromkeys(row["cell"]["case"] for row in rows)
    }
    for name, figures in summary.items():
        print(name, figures)
    if not options.case:
        command = "python -m benchmarks.memorization_capacity"
        results = {"summary": summary, "raw": rows}
        print(write_result("memorization_capacity", results, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
