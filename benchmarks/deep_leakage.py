"""Deep leakage from gradients beside the published algorithm in its plain form: which share of seeds succeeds?

One image of CIFAR-10 through a fresh LeNet, batch of one; both get the same network, image and first start. Success:
the image comes back above 30 dB.

    python -m benchmarks.deep_leakage --data ../shared/data
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.cells import Cell, finished
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Seen
from privaudit.attacks.gradient_matching import GradientMatching
from privaudit.data.loading import load
from privaudit.learning import Network
from privaudit.learning.batches import as_float
from privaudit.learning.training import seeded
from privaudit.release import Release

SEEDS = range(100, 120)
"""The first 21 were used while the method was made."""
PUBLISHED_ITERATIONS = 300
SUCCESS = 30.0
"""PSNR in dB."""


def decibels(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> NDArray[np.float64]:
    """PSNR of each image against its source; every victim has one image."""
    errors = ((found.astype(np.float64) - true) / 255) ** 2
    return np.asarray(-10 * np.log10(np.maximum(errors.mean((1, 2, 3)), 1e-10)))


def published(network: Network, image: Tensor, label: Tensor, rng: np.random.Generator) -> Tensor:
    """Deep leakage from gradients as published: image and soft label by L-BFGS; standardised, as the image itself."""
    parameters = list(network.parameters())
    seen = torch.autograd.grad(functional.cross_entropy(network.body(image), label), parameters)
    with seeded(int(rng.integers(2**62))):
        guess = torch.randn(image.shape).requires_grad_()
        logits = torch.randn(1, network.architecture.classes).requires_grad_()
    optimizer = torch.optim.LBFGS([guess, logits])

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(network.body(guess), logits.softmax(1))
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        distance = torch.stack([((a - b) ** 2).sum() for a, b in zip(gradients, seen, strict=True)]).sum()
        distance.backward()  # type: ignore[no-untyped-call]
        return distance

    for _ in range(PUBLISHED_ITERATIONS):
        optimizer.step(closure)  # type: ignore[no-untyped-call,unused-ignore]
    return guess.detach()


def one(cell: Cell) -> dict[str, Any]:
    """Both algorithms on one image."""
    torch.set_num_threads(1)
    seed = int(cell["seed"])
    images = load(str(Path(cell["data"]) / "cifar10" / "train-0-of-5.npz")).images
    members = images.take(seeds.generator(seed, "deep leakage").permutation(len(images))[:2000])
    attack = GradientMatching(algorithm="deep-leakage", network="lenet", victims=1)
    seen = attack.expose(Release(members), Context(seeds.generator(seed, attack.name, "expose"), seed=seed))
    started = time.process_time()
    evidence = attack.attack(
        Seen(seen.arrays), members, Context(seeds.generator(seed, attack.name, "attack"), seed=seed)
    )
    seconds = time.process_time() - started
    assert evidence.recovered is not None
    assert seen.source is not None
    true = members.take(seen.source.rows)
    arrays = {name.removeprefix("network "): array for name, array in seen.arrays.items() if name.startswith("network")}
    network = Network.from_arrays(arrays)
    mean, std = network.mean[:, None, None], network.std[:, None, None]
    image = (as_float(true.pixels, "cpu").contiguous() - mean) / std
    started = time.process_time()
    own = seeds.generator(seed, attack.name, "attack")
    guess = published(network, image, torch.from_numpy(true.labels), own)
    plain_seconds = time.process_time() - started
    levels = (torch.nan_to_num(guess * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
    return {
        "seed": seed,
        "psnr": float(decibels(evidence.recovered.pixels, true.pixels)[0]),
        "cost": evidence.diagnostics["median cost"],
        "label right": bool(evidence.recovered.labels[0] == true.labels[0]),
        "cpu seconds": seconds,
        "published psnr": float(decibels(levels.permute(0, 2, 3, 1).numpy(), true.pixels)[0]),
        "published cpu seconds": plain_seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--log", type=Path, default=Path("deep_leakage.jsonl"), help="a stopped run goes on")
    arguments = parser.parse_args()
    cells = [{"data": str(arguments.data), "seed": seed} for seed in SEEDS]
    rows = finished(one, cells, arguments.log, arguments.processes)
    summary = {
        "of": len(rows),
        "above 30 dB": sum(row["psnr"] > SUCCESS for row in rows),
        "published above 30 dB": sum(row["published psnr"] > SUCCESS for row in rows),
    }
    command = "python -m benchmarks.deep_leakage"
    print(summary, write_result("deep_leakage", {"summary": summary, "raw": rows}, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
