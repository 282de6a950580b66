"""A generator that was trained against a discriminator, once for all who ask for the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from privaudit import seeds
from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning.augmentation import differentiable_augmentation
from privaudit.learning.batches import as_float
from privaudit.learning.generator import Discriminator, Generator, random_latents
from privaudit.learning.training import seeded
from privaudit.store import Arrays

VERSION = 1
"""Rises when the same images, steps and seed give another generator."""

_BATCH = 64
_LEARNING_RATE = 1e-3
_EMA = 0.995


def trained_generator(images: Images, steps: int, seed: int, device: str) -> tuple[Generator, float]:
    """A generator of such images, trained once for all who ask for the same, and its last loss.

    The task that asks is started again when it is ready.
    """
    label = f"training a generator on {len(images):,} images"
    arguments = {"steps": steps, "seed": seed, "device": device}
    inputs = {"images": {"pixels": images.pixels}}
    (arrays,) = compute(Call(label, f"{__name__}:train_task", arguments, inputs, {"version": VERSION}))
    weights = {name: value for name, value in arrays.items() if name != "loss"}
    return Generator.from_arrays(weights, images.size).to(device), float(arrays["loss"])


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels} to the arrays of a generator and its mean 'loss' over the last tenth of the steps.

    The non-saturating loss, images augmented before the discriminator sees them; the moving average of the weights is
    kept.
    """
    pixels, steps, device = inputs["images"]["pixels"], arguments["steps"], arguments["device"]
    rng = seeds.generator(arguments["seed"], "generator")
    size = (int(pixels.shape[1]), int(pixels.shape[2]), int(pixels.shape[3]))
    report = surroundings().report
    with seeded(int(rng.integers(2**62)), device):
        generator, discriminator = Generator(size).to(device), Discriminator(size).to(device)
        average = get_ema_multi_avg_fn(_EMA)  # type: ignore[no-untyped-call]
        kept = AveragedModel(generator, multi_avg_fn=average, use_buffers=True)
        optimizers = [
            torch.optim.Adam(part.parameters(), lr=_LEARNING_RATE, betas=(0.5, 0.999))
            for part in (generator, discriminator)
        ]
        losses = []
        for step in range(steps):
            real = as_float(pixels[rng.integers(0, len(pixels), _BATCH)], device)
            fake = generator(random_latents(_BATCH, rng, device))
            verdicts = (discriminator(differentiable_augmentation(part, rng)) for part in (real, fake.detach()))
            of_real, of_fake = verdicts
            _step(optimizers[1], functional.softplus(-of_real).mean() + functional.softplus(of_fake).mean())
            discriminator.requires_grad_(False)
            loss = functional.softplus(-discriminator(differentiable_augmentation(fake, rng))).mean()
            _step(optimizers[0], loss)
            discriminator.requires_grad_(True)
            kept.update_parameters(generator)
            losses.append(float(loss.detach()))
            if step % 20 == 19:
                report("training a generator", (step + 1) / steps)
    generator.load_state_dict(kept.module.state_dict())
    return {**generator.arrays(), "loss": np.asarray(np.mean(losses[-max(1, steps // 10) :]))}


def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
