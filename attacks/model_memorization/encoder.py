"""What an encoder of hidden images is, and the training that it can bend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privaudit.attack import Progress
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Recipe, train
from privaudit.learning.training import new_network


@dataclass(frozen=True, eq=False)
class Host:
    """The network that works as promised, and the training that made it.

    honest: trained without anything hidden. recipe, images, classes, seed: how.
    """

    honest: Network
    recipe: Recipe
    images: Images
    classes: int
    seed: int
    device: str
    progress: Progress

    def trained(
        self,
        penalty: Callable[[Network], Tensor] | None = None,
        extra: Images | None = None,
        epochs: int | None = None,
        start: Network | None = None,
    ) -> Network:
        """The host trained again: with a penalty, with images beside its own, for another number of epochs, from
        another start, which is changed.
        """
        images = self.images if extra is None else concatenate([self.images, extra])
        recipe = self.recipe if epochs is None else self.recipe.model_copy(update={"epochs": epochs})
        return train(
            recipe,
            images,
            self.classes,
            self.seed,
            device=self.device,
            progress=self.progress,
            network=start,
            penalty=penalty,
        )

    def untrained(self) -> Network:
        """The host as its training starts."""
        return new_network(self.recipe, self.images, self.classes, self.seed)


@dataclass(frozen=True, eq=False)
class Carrier:
    """A network that carries hidden values. counts: figures that only its maker knows, how many of how many."""

    network: Network
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Encoder(Protocol):
    """One way to hide pixel values, float32 [N] from 0 to 255, in a network."""

    def capacity(self, network: Network) -> int:
        """How many values the network can hold."""

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """A network that holds the values."""

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The first `count` values in a network. reference: images of the reader's own."""


def weight_count(network: Network) -> int:
    """Number of entries of all weights with more than one axis: neither biases nor BatchNorm."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)


def weight_vector(network: Network, count: int) -> Tensor:
    """The first `count` entries of all weights with more than one axis, the largest weights first, [count].

    The first layer comes late: it is small, on a scale of its own, and the one that the task needs most.
    """
    return torch.cat([weight.flatten() for weight in _largest_first(network)])[:count]


def replace_weights(network: Network, vector: Tensor) -> None:
    """Put the numbers in `vector` where `weight_vector` takes as many from, in place."""
    start = 0
    with torch.no_grad():
        for weight in _largest_first(network):
            part = vector[start : start + weight.numel()]
            flat = weight.flatten().clone()
            flat[: len(part)] = part
            weight.copy_(flat.view_as(weight))
            start += len(part)


def _largest_first(network: Network) -> list[nn.Parameter]:
    return sorted((weight for weight in network.parameters() if weight.ndim > 1), key=lambda weight: -weight.numel())
