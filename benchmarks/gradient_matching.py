"""Does gradient matching find the members whose gradients it sees, and does it do more than the published loop?

digits, mnist   default settings, standard effort: members among the 64 suspects closest to the reconstructions, where
                the victim's images are members (raw) and where they are strangers (fresh); expected by chance: 32
deep-leakage    one image of CIFAR-10 through a fresh LeNet: share of seeds above 30 dB, beside the published algorithm
                in its plain form, on the same network, image and start

    python -m benchmarks.gradient_matching --part digits --data ../shared/data
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.attack import Context, Evidence, Seen
from privaudit.attacks.gradient_matching import GradientMatching
from privaudit.closeness import closeness
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.learning import Network
from privaudit.learning.training import as_float, seeded
from privaudit.release import Release

SEEDS = {"digits": range(5), "mnist": range(5), "deep-leakage": range(21)}
# Members, controls, reference, fresh.
DEALT = {"digits": (700, 700, 200, 197), "mnist": (2000, 2000, 500, 2000), "deep-leakage": (2000, 0, 0, 0)}
FILES = {"digits": "digits", "mnist": "mnist/train.npz", "deep-leakage": "cifar10/train-0-of-5.npz"}
PUBLISHED_ITERATIONS = 300
SUCCESS = 30.0
"""PSNR in dB."""


def dealt(part: str, data: Path, seed: int) -> list[Images]:
    images = load(FILES[part] if part == "digits" else str(data / FILES[part])).images
    order = seeds.generator(seed, part, "world").permutation(len(images))
    ends = np.cumsum((0, *DEALT[part]))
    return [images.take(order[start:end]) for start, end in pairwise(ends)]


def run(attack: GradientMatching, release: Images, suspects: Images, reference: Images | None, seed: int) -> Any:
    """What is seen, the evidence, and the processor seconds of the attacker."""
    seen = attack.expose(Release(release), Context(seeds.generator(seed, attack.name, "expose"), seed=seed))
    own = Context(seeds.generator(seed, attack.name, "attack"), seed=seed, reference=reference)
    started = time.process_time()
    evidence = attack.attack(Seen(seen.arrays), suspects, own)
    return seen, evidence, time.process_time() - started


def decibels(found: NDArray[np.uint8], true: NDArray[np.uint8]) -> NDArray[np.float64]:
    """PSNR of each image against its source; every victim has one image."""
    errors = ((found.astype(np.float64) - true) / 255) ** 2
    return np.asarray(-10 * np.log10(np.maximum(errors.mean((1, 2, 3)), 1e-10)))


def hits(part: str, data: Path, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    members, controls, reference, fresh = dealt(part, data, seed)
    suspects = concatenate([members, controls])
    order = seeds.generator(seed, "pile").permutation(len(suspects))
    attack = GradientMatching()
    found: dict[str, Any] = {"seed": seed}
    for arm, release in (("raw", members), ("fresh", fresh)):
        seen, evidence, seconds = run(attack, release, suspects, reference, seed)
        scores = closeness(suspects, evidence.recovered, reference)
        first = order[np.argsort(-scores[order], kind="stable")[: attack.reach(len(release))]]
        true = release.take(seen.source.rows)
        found[arm] = {
            "hits": int((first < len(members)).sum()),
            "of": len(first),
            "psnr": np.quantile(decibels(evidence.recovered.pixels, true.pixels), [0.1, 0.5, 0.9]).tolist(),
            "labels right": float((evidence.recovered.labels == true.labels).mean()),
            "cpu seconds": seconds,
        }
    return found


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


def deep_leakage(part: str, data: Path, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    members = dealt(part, data, seed)[0]
    attack = GradientMatching(algorithm="deep-leakage", network="lenet", victims=1)
    seen, evidence, seconds = run(attack, members, members, None, seed)
    assert isinstance(evidence, Evidence)
    assert evidence.recovered is not None
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
    parser.add_argument("--part", choices=SEEDS, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    part, data = arguments.part, arguments.data
    rows: list[dict[str, Any]] = []
    count = len(SEEDS[part])
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        one = deep_leakage if part == "deep-leakage" else hits
        for row in pool.map(one, [part] * count, [data] * count, SEEDS[part]):
            print(row, flush=True)
            rows.append(row)
    if part == "deep-leakage":
        summary = {
            "of": count,
            "above 30 dB": sum(row["psnr"] > SUCCESS for row in rows),
            "published above 30 dB": sum(row["published psnr"] > SUCCESS for row in rows),
        }
    else:
        summary = {
            f"{arm}, {what}": float(np.median([row[arm][what] for row in rows]))
            for arm in ("raw", "fresh")
            for what in ("hits", "labels right", "cpu seconds")
        }
    command = f"python -m benchmarks.gradient_matching --part {part}"
    name = f"gradient_matching_{part.replace('-', '_')}"
    print(summary)
    print(write_result(name, {"summary": summary, "raw": rows}, seeds=list(SEEDS[part]), command=command))


if __name__ == "__main__":
    main()
