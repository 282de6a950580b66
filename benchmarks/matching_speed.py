"""How fast BN matching is, beside the plain loop and beside the bare network, in interleaved rounds.

Image-steps per second of ResNet-20 (the shared CIFAR-10 weights), 32 x 32 pixels, batches of 100; or of ResNet-18 (at
its start, with statistics of images), 64 x 64 pixels, batches of 20:

plain    hooks on every BatchNorm, autograd through the statistics, float32
bare     forward and backward of the network in bfloat16, channels last, BatchNorm not folded, no statistics
eager    the engine's loss with plain kernels, bfloat16
engine   the engine's loss as it is used (compiled kernels where there is a compiler), bfloat16

and the losses of the plain loop and of the engine over 50 float32 steps from the same noise.

    OMP_NUM_THREADS=1 python -m benchmarks.matching_speed
    OMP_NUM_THREADS=1 python -m benchmarks.matching_speed --part resnet18-64
    python -m benchmarks.gpu.matching_speed       (the same on a GPU)
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.learning.batches import as_float
from privaudit.learning.training import seeded
from privaudit.synth.bn_matching.folding import MatchedNetwork, batch_norms
from privaudit.synth.bn_matching.matching import Batch, Descent, Objective, Weights, descend, total_variation
from privaudit.synth.bn_matching.moments import EAGER, kernels
from privaudit.synth.bn_matching.moves import Moves
from privaudit.synth.bn_matching.statistics import Law, collect

WEIGHTS = Weights(10, 1, 1, 2.5e-5)
BARS = {"engine / plain": 3.0, "engine / bare": 0.75, "eager / bare": 0.45}


@dataclass(frozen=True)
class Part:
    """A network, the side of its images, and how many are optimised together."""

    network: str
    side: int
    batch: int
    rounds: int
    steps: int


PARTS = {"resnet20-32": Part("resnet20", 32, 100, 7, 10), "resnet18-64": Part("resnet18", 64, 20, 5, 3)}


def images_of(side: int) -> Images:
    """5,000 images of CIFAR-10, every pixel repeated where they are to be larger."""
    data = shared_data.load("cifar10").images.take(slice(0, 5000))
    times = side // data.size[0]
    return Images(data.pixels.repeat(times, 1).repeat(times, 2), data.labels)


def teacher(part: Part) -> Network:
    """The shared ResNet-20; another network at its start, its running statistics those of images."""
    if part.network == "resnet20":
        return shared_data.cifar10_network("resnet20").requires_grad_(False)
    with seeded(0):
        network = Network(Architecture(name=part.network, channels=3, classes=10, side=part.side))
    network.set_standardisation(*shared_data.IMAGENET)
    network.train()
    pixels = images_of(part.side).pixels
    with torch.no_grad():
        for start in range(0, 400, 20):
            network(as_float(pixels[start : start + 20], "cpu"))
    return network.eval().requires_grad_(False)


def plain_loss(network: Network, images: Tensor, labels: Tensor, law: Law) -> Tensor:
    """Hooks and autograd, as published loops do it."""
    seen: list[Tensor] = []
    handles = [
        norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for norm in batch_norms(network).values()
    ]
    logits = network.body(images)
    for handle in handles:
        handle.remove()
    total, start = torch.zeros((), device=images.device), 0
    for values in seen:
        end = start + values.shape[1]
        total = total + (values.mean((0, 2, 3)) - law.mean[0, start:end]).norm()
        total = total + (values.var((0, 2, 3), unbiased=False) - law.variance[0, start:end]).norm()
        start = end
    loss = WEIGHTS.statistics * total + functional.cross_entropy(logits, labels)
    return loss + WEIGHTS.smoothness * total_variation(images)


class Loops:
    """One step of each loop, Adam and augmentation included where the loop has them."""

    def __init__(self, device: str, part: Part) -> None:
        self.device, batch = device, part.batch
        network = teacher(part)
        data = images_of(part.side)
        statistics = collect(network, data if part.side == 32 else data.take(slice(0, 200)), 10, device)
        network.to(device)
        labels = torch.full((batch,), 3, device=device)
        matched = MatchedNetwork(network, device, torch.bfloat16, EAGER)
        self.law = statistics.of_classes(matched.layers, [3]).to(device)
        self.network, self.labels = network, labels
        target = Batch(labels, 1, self.law, None, 0.0)
        self.noise = torch.randn(batch, 3, part.side, part.side, generator=torch.Generator().manual_seed(0)).to(device)
        mean, std = (part.to(device)[:, None, None] for part in (network.mean, network.std))
        self.bounds = -mean / std, (1 - mean) / std
        bare = copy.deepcopy(network.body).to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]

        def bare_loss(images: Tensor) -> Tensor:
            ready = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
            return functional.cross_entropy(bare(ready).float(), labels)

        fused = MatchedNetwork(network, device, torch.bfloat16, kernels(device, torch.bfloat16))
        self.losses: dict[str, Callable[[Tensor], Tensor]] = {
            "plain": lambda images: plain_loss(network, images, labels, self.law),
            "bare": bare_loss,
            "eager": Objective(matched, target, WEIGHTS),
            "engine": Objective(fused, target, WEIGHTS),
        }
        exact = MatchedNetwork(network, device, torch.float32, EAGER)
        self.exact = Objective(exact, target, WEIGHTS)

    def seconds(self, name: str, steps: int) -> float:
        """Wall seconds of so many steps; the bare network is only run forward and backward."""
        self._wait()
        started = time.perf_counter()
        if name == "bare":
            images = self.noise.clone().requires_grad_()
            for _ in range(steps):
                images.grad = None
                self.losses[name](images).backward()  # type: ignore[no-untyped-call]
        else:
            self._descend(self.losses[name], steps)
        self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _descend(self, loss: Callable[[Tensor], Tensor], steps: int, moved: float = 0.0) -> Tensor:
        start = (self.noise * (1 + moved)).clamp(*self.bounds)
        moves = Descent(steps, 0.1, Moves(4, True))
        return descend(loss, start, self.bounds, moves, np.random.default_rng(0), lambda stage, share: None)

    def same_losses(self, steps: int = 50) -> dict[str, Any]:
        """Losses in float32: the fused loop along the plain one's way, and each on its own.

        Adam's first steps go by the sign of each pixel's gradient, so that rounding alone drives two loops apart: the
        plain loop from noise that was moved by a millionth shows how far.
        """
        names = ("plain", "fused along plain", "fused", "plain from moved noise")
        tracks: dict[str, list[float]] = {name: [] for name in names}

        def plain(images: Tensor) -> Tensor:
            loss = self.losses["plain"](images)
            tracks["plain"].append(loss.item())
            with torch.no_grad():
                tracks["fused along plain"].append(self.exact(images).item())
            return loss

        def kept(name: str, loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
            def step(images: Tensor) -> Tensor:
                found = loss(images)
                tracks[name].append(found.item())
                return found

            return step

        self._descend(plain, steps)
        self._descend(kept("fused", self.exact), steps)
        self._descend(kept("plain from moved noise", self.losses["plain"]), steps, moved=1e-6)
        wanted = np.array(tracks["plain"])
        return {
            "largest relative difference": {
                name: float(np.abs(np.array(tracks[name]) / wanted - 1).max()) for name in names[1:]
            },
            "raw": tracks,
        }


def measure(device: str, part: Part) -> dict[str, Any]:
    """Rates and their ratios: medians over interleaved rounds."""
    loops, steps = Loops(device, part), part.steps
    for name in loops.losses:
        loops.seconds(name, 3)
    raw: dict[str, list[float]] = {name: [] for name in loops.losses}
    for _ in range(part.rounds):
        for name in loops.losses:
            raw[name].append(part.batch * steps / loops.seconds(name, steps))
    rate = {name: float(np.median(values)) for name, values in raw.items()}
    ratios = {
        f"{first} / {second}": float(np.median(np.array(raw[first]) / np.array(raw[second])))
        for first, second in (("engine", "plain"), ("engine", "bare"), ("eager", "bare"))
    }
    return {
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "batch": part.batch,
        "rounds": part.rounds,
        "steps_per_round": steps,
        "image_steps_per_second": rate,
        "ratios": ratios,
        "bars": BARS,
        "losses_over_50_float32_steps": loops.same_losses() if part.side == 32 else None,
        "raw_rates": raw,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="resnet20-32")
    name = parser.parse_args().part
    torch.set_num_threads(1)
    part = PARTS[name]
    found = measure("cpu", part)
    suffix, option = ("", "") if name == "resnet20-32" else (f"_{name.replace('-', '_')}", f" --part {name}")
    command = f"python -m benchmarks.matching_speed{option}"
    path = write_result(f"matching_speed{suffix}", found, seeds=0, command=command)
    print(found["image_steps_per_second"], found["ratios"], path)


if __name__ == "__main__":
    main()
