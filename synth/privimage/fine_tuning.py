"""Fine-tuning on the members by DP-SGD: the gradient of an image is that of its mean loss at several levels of noise
(noise multiplicity, Dockhorn et al. 2022, arXiv 2210.09929).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privaudit.accounting import GaussianSteps
from privaudit.attack import Progress
from privaudit.calls import surroundings
from privaudit.images import Images
from privaudit.learning.edm import as_images, averaged_over_steps, losses
from privaudit.learning.gradient_canaries import GradientCanaries
from privaudit.learning.private_steps import PrivateSteps, take_private_steps
from privaudit.private_engine import noise_generator, randomness_from
from privaudit.store import Arrays
from privaudit.synth.privimage.diffusion import Denoiser, Shape, new_denoiser, shape_of

_AT_ONCE = 256
"""Gradients that are held in memory together, a level of noise each."""


@dataclass(frozen=True)
class FineTuning(PrivateSteps):
    """Adam. multiplicity: levels of noise for each image in each step. average: decay per step of the moving average
    that is kept.
    """

    learning_rate: float
    multiplicity: int
    average: float


def fine_tuned(
    model: Denoiser,
    asked: FineTuning,
    images: Images,
    *,
    randomness: int,
    device: str,
    progress: Progress,
    canaries: GradientCanaries | None = None,
    checkpoint: Path | None = None,
) -> Denoiser:
    """The model after all steps, averaged over them, on the CPU; `model` is changed. See `take_private_steps`."""
    times = asked.multiplicity

    def gradients(wrapped: nn.Module, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        shown = as_images(images.pixels[rows], device).repeat_interleave(times, 0)
        labels = torch.from_numpy(images.labels[rows]).to(device).repeat_interleave(times, 0)
        (losses(wrapped, shown, labels, rng).sum() / times).backward()  # type: ignore[no-untyped-call]
        if times > 1:
            for parameter in wrapped.parameters():
                found = parameter.grad_sample  # type: ignore[attr-defined]
                parameter.grad_sample = found.unflatten(0, (len(rows), times)).sum(1)  # type: ignore[attr-defined]

    model.to(device).train()
    averaged = averaged_over_steps(model, asked.average)
    take_private_steps(
        model,
        asked,
        len(images),
        gradients,
        optimizer=torch.optim.Adam(model.parameters(), lr=asked.learning_rate),
        learning_rate=lambda done: asked.learning_rate,
        randomness=randomness,
        at_once=max(1, _AT_ONCE // times),
        averaged=averaged,
        progress=progress,
        canaries=canaries,
        checkpoint=checkpoint,
    )
    model.load_state_dict(averaged.module.state_dict())
    return model.cpu().eval()


def fine_tune_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images', 'start': arrays of a denoiser} to the arrays of another."""
    images = Images.from_arrays(inputs["images"])
    around = surroundings()
    asked = FineTuning(GaussianSteps(*arguments["steps"]), **arguments["training"])
    found = fine_tuned(
        Denoiser.from_arrays(shape_of(arguments["shape"]), inputs["start"]),
        asked,
        images,
        randomness=randomness_from(noise_generator(arguments, "privimage fine-tuning")),
        device=arguments["device"],
        progress=around.report,
        checkpoint=around.checkpoint,
    )
    return found.arrays()


def fine_tuning_scores(
    asked: FineTuning,
    claimed: GaussianSteps,
    shape: Shape,
    images: Images,
    device: str,
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What gradients leave in the steps of the fine-tuning, float64 [canaries]; of a model that is not pretrained."""
    canaries = GradientCanaries(inside, claimed, asked.clip, asked.divisor, device)
    fine_tuned(
        new_denoiser(shape, int(rng.integers(2**62))),
        asked,
        images,
        randomness=randomness_from(rng),
        device=device,
        progress=surroundings().report,
        canaries=canaries,
    )
    return canaries.ratios
