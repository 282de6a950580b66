"""Diffusion as Karras et al. 2022 (EDM, arXiv 2206.00364) have it: their preconditioning and levels of noise, their
loss, and their deterministic sampler of first order (Euler's steps, which is DDIM). The scheduler is that of diffusers.

Images are float32 [N, C, H, W] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from privaudit.calls import surroundings
from privaudit.data.optional import optional
from privaudit.errors import InputError
from privaudit.learning.checkpoint import Checkpoint
from privaudit.learning.training import seeded

LEAST_NOISE, MOST_NOISE, BEND = 0.002, 80.0, 7.0
DATA = 3**-0.5
"""Standard deviation of the images: that of a uniform distribution."""

_LOG_NOISE = -1.2, 1.2
"""Mean and standard deviation of the logarithm of the noise in training."""


def diffusers(engine: str) -> Any:
    """The library that brings networks and schedulers. Raises InputError where it is not installed."""
    return optional("diffusers", "diffusion", engine)


def scheduler(engine: str) -> Any:
    """The preconditioning, and the steps of the sampler."""
    return diffusers(engine).EDMEulerScheduler(sigma_min=LEAST_NOISE, sigma_max=MOST_NOISE, sigma_data=DATA, rho=BEND)


def losses(
    model: Callable[[Tensor, Tensor, Tensor], Tensor], images: Tensor, labels: Tensor, rng: np.random.Generator
) -> Tensor:
    """The loss of each image, [N], at a level of noise of its own: the mean squared error over its pixels, weighed so
    that every level counts the same.
    """
    level = np.exp(rng.normal(*_LOG_NOISE, len(images))).astype(np.float32)
    noise = torch.from_numpy(level).to(images.device)
    drawn = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32)).to(images.device)
    found: Tensor = model(images + drawn * noise[:, None, None, None], noise, labels)
    weight = (noise**2 + DATA**2) / (noise * DATA) ** 2
    return weight * (found - images).square().mean((1, 2, 3))


def averaged_over_steps(model: nn.Module, decay: float) -> AveragedModel:
    """Follows a model in training: a moving average, whose decay per step rises to this one over the first steps, so
    that what it started with is forgotten in short trainings too.
    """

    def average(kept: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        done = int(steps)
        return kept.lerp(now, 1 - min(decay, (1 + done) / (10 + done)))

    return AveragedModel(model, avg_fn=average, use_buffers=True)


def train(
    model: nn.Module,
    parameters: Iterable[nn.Parameter],
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    learning_rate: float,
    decay: float | None,
    stage: str,
) -> None:
    """Adam on the loss of each step; the model ends as the moving average over the steps, or as it is without
    `decay`. A task that was killed goes on at its checkpoint, so the loss of a step must depend on its number alone.

    Raises InputError where the loss is no longer a number.
    """
    averaged = None if decay is None else averaged_over_steps(model, decay)
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    around = surroundings()
    state = Checkpoint(around.checkpoint, model, averaged, optimizer)
    for step in range(state.load(), steps):
        with seeded(step):
            found = loss(step)
        if not torch.isfinite(found):
            raise InputError(
                f"{stage[0].upper()}{stage[1:]} diverged in step {step + 1}: its loss is {found.item()}. Choose a "
                f"learning_rate below {learning_rate:g}."
            )
        optimizer.zero_grad(set_to_none=True)
        found.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if averaged is not None:
            averaged.update_parameters(model)
        state.save(step + 1)
        around.report(stage, (step + 1) / steps)
    state.remove()
    if averaged is not None:
        model.load_state_dict(averaged.module.state_dict())


def padded(images: Tensor, step: int) -> Tensor:
    """Zeros at the right and the lower side, so that both sides are multiples of `step`, as a UNet needs them."""
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % step, 0, -height % step))


def as_images(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def sampled(
    raw: Callable[[Tensor, Tensor], Tensor],
    shape: tuple[int, int, int, int],
    steps: int,
    rng: np.random.Generator,
    device: str,
    engine: str,
) -> NDArray[np.uint8]:
    """Images of this shape [N, C, H, W], as uint8 [N, H, W, C], from noise, in so many steps.

    raw: a network's own answer to noisy images and their level of noise [N, 1, 1, 1].
    """
    steps_of = scheduler(engine)
    steps_of.set_timesteps(steps)
    images = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(device) * steps_of.init_noise_sigma
    for step, level in zip(steps_of.timesteps, steps_of.sigmas, strict=False):
        answer = raw(images, torch.full((len(images), 1, 1, 1), float(level), device=device))
        steps_of.scale_model_input(images, step)  # it must be told where it is; the answer has this done already
        images = steps_of.step(answer, step, images).prev_sample
    levels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels
