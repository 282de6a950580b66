"""A generator that was trained to reconstruct images, each from a latent of its own (Bojanowski et al. 2018,
"Optimizing the Latent Space of Generative Networks", arXiv 1707.05776).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privaudit import seeds
from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning.batches import as_float, batches
from privaudit.learning.generator import LATENT, Generator, random_latents
from privaudit.learning.training import seeded
from privaudit.store import Arrays

VERSION = 1
"""Rises when the same images, steps and seed give another generator."""

_BATCH = 64
_RATE = 1e-2
_LATENT_RATE = 0.1
_LATENTS, _LOSS = "latents", "loss"


def on_sphere(latents: Tensor) -> Tensor:
    """Latents [N, LATENT] scaled to the usual length of a standard normal one."""
    found: Tensor = latents * (math.sqrt(LATENT) / latents.norm(dim=1, keepdim=True).clamp_min(1e-12))
    return found


def reconstructing_generator(images: Images, steps: int, seed: int, device: str) -> tuple[Generator, Tensor, float]:
    """A generator, the latents [N, LATENT] of the images, and the mean squared error that is left, pixels in [0, 1].

    Trained once for all who ask for the same; the task that asks is started again when it is ready.
    """
    label = f"training a generator to reconstruct {len(images):,} images"
    arguments = {"steps": steps, "seed": seed, "device": device}
    inputs = {"images": {"pixels": images.pixels}}
    (arrays,) = compute(Call(label, f"{__name__}:train_task", arguments, inputs, {"version": VERSION}))
    weights = {name: value for name, value in arrays.items() if name not in (_LATENTS, _LOSS)}
    latents = torch.from_numpy(np.array(arrays[_LATENTS])).to(device)
    return Generator.from_arrays(weights, images.size).to(device), latents, float(arrays[_LOSS])


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels} to the arrays of a generator, the 'latents' of the images and their mean 'loss'."""
    pixels, steps, device = inputs["images"]["pixels"], arguments["steps"], arguments["device"]
    rng = seeds.generator(arguments["seed"], "reconstructing generator")
    with seeded(int(rng.integers(2**62)), device):
        generator = Generator((int(pixels.shape[1]), int(pixels.shape[2]), int(pixels.shape[3]))).to(device)
        latents = on_sphere(random_latents(len(pixels), rng, device)).requires_grad_()
        _fit(generator, latents, pixels, steps, rng, device)
        loss = _settle(generator, latents.detach(), pixels, device)
    return {**generator.arrays(), _LATENTS: latents.detach().cpu().numpy(), _LOSS: np.asarray(loss)}


def _fit(
    generator: Generator,
    latents: Tensor,
    pixels: NDArray[np.uint8],
    steps: int,
    rng: np.random.Generator,
    device: str,
) -> None:
    weights = torch.optim.Adam(generator.parameters(), lr=_RATE)
    places = torch.optim.SparseAdam([latents], lr=_LATENT_RATE)
    report = surroundings().report
    order: Iterator[NDArray[np.int64]] = iter(())
    for step in range(steps):
        rows = next(order, None)
        if rows is None:
            order = batches(len(pixels), _BATCH, rng)
            rows = next(order)
        for group in weights.param_groups:
            group["lr"] = _RATE * (1 + math.cos(math.pi * step / steps)) / 2
        chosen = torch.from_numpy(rows).to(device)
        made = generator(nn.functional.embedding(chosen, latents, sparse=True))
        # Summed over the images, so that each latent moves as if it were alone.
        loss = (made - as_float(pixels[rows], device)).square().flatten(1).mean(1).sum()
        weights.zero_grad(set_to_none=True)
        places.zero_grad(set_to_none=True)
        loss.backward()
        weights.step()
        places.step()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            latents[chosen] = on_sphere(latents[chosen])
        if step % 20 == 19:
            report("training a generator", (step + 1) / steps)


def _settle(generator: Generator, latents: Tensor, pixels: NDArray[np.uint8], device: str) -> float:
    """Give BatchNorm the statistics of all latents, and return the mean squared error of the reconstructions."""
    for part in generator.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # the plain mean over the batches
    parts = [slice(start, start + 8 * _BATCH) for start in range(0, len(pixels), 8 * _BATCH)]
    with torch.no_grad():
        for rows in parts:
            generator(latents[rows])
        generator.eval()
        squares = [
            (generator(latents[rows]) - as_float(pixels[rows], device)).square().flatten(1).mean(1) for rows in parts
        ]
    return float(torch.cat(squares).mean())
