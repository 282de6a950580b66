"""Classifiers trained with differential privacy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from privaudit.attack import Progress, no_progress
from privaudit.images import Images
from privaudit.learning.augmentation import augment
from privaudit.learning.batches import as_float
from privaudit.learning.gradient_canaries import GradientCanaries
from privaudit.learning.networks import Architecture, Network
from privaudit.learning.private_steps import PrivateSteps, take_private_steps
from privaudit.learning.training import seeded


@dataclass(frozen=True)
class PrivateTraining(PrivateSteps):
    """Momentum 0.9, the learning rate falls along a cosine. crop: images are shifted by up to so many pixels; flip: and
    mirrored.
    """

    learning_rate: float
    crop: int = 0
    flip: bool = False


def train_privately(
    architecture: Architecture,
    asked: PrivateTraining,
    images: Images,
    *,
    start: int,
    randomness: int,
    device: str = "cpu",
    progress: Progress = no_progress,
    canaries: GradientCanaries | None = None,
) -> Network:
    """A network trained from scratch, in evaluation mode, on the CPU; its inputs are standardised by constants.

    start: seed of the first weights, which may be known. The rest: see `take_private_steps`.
    """

    def gradients(network: nn.Module, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
        batch = augment(as_float(images.pixels[rows], device), asked.crop, asked.flip, rng)
        labels = torch.from_numpy(images.labels[rows]).to(device)
        loss = functional.cross_entropy(network(batch), labels, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]

    with seeded(start):
        network = Network(architecture)
    network.to(device).train()
    take_private_steps(
        network,
        asked,
        len(images),
        gradients,
        optimizer=torch.optim.SGD(network.parameters(), lr=asked.learning_rate, momentum=0.9),
        learning_rate=lambda done: asked.learning_rate * (1 + np.cos(np.pi * done)) / 2,
        randomness=randomness,
        progress=progress,
        canaries=canaries,
    )
    return network.cpu().eval()
