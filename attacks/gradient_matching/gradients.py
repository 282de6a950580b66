"""The gradient of a batch, as a training step computes it: by name, in float32."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.errors import InputError
from privaudit.learning import Network

BatchNormMode = Literal["evaluation", "training"]


@dataclass(frozen=True, eq=False)
class Observed:
    """What the attacker sees, as tensors on the device.

    network: as `prepared`. gradients: [victims, *shape of the parameter] by name. batch_size: images of each victim.
    size: height, width and channels of the images. batch_norm: mode of the victims' BatchNorm.
    local_steps, local_learning_rate: where there are several, `gradients` are the means over them (see `sending`).
    statistics: mean and variance of what each BatchNorm received, [victims, 2, channels] by name; empty: not sent.
    known: labels int64 [victims, batch size] that the attacker was told; None: he has to infer them.
    """

    network: Network
    gradients: dict[str, Tensor]
    batch_size: int
    size: tuple[int, int, int]
    batch_norm: BatchNormMode
    local_steps: int = 1
    local_learning_rate: float = 0.01
    statistics: Mapping[str, Tensor] = field(default_factory=dict)
    known: Tensor | None = None

    @property
    def victims(self) -> int:
        """Number of batches."""
        return len(next(iter(self.gradients.values())))

    @property
    def device(self) -> torch.device:
        """Where all this is."""
        return self.network.mean.device

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        height, width, channels = self.size
        return channels, height, width

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """Black and white as standardised, [C, 1, 1] each."""
        mean, std = self.network.mean[:, None, None], self.network.std[:, None, None]
        return -mean / std, (1 - mean) / std

    def of_layer(self, name: str) -> dict[str, Tensor]:
        """Gradients by the weight and the bias of a layer of the body, where it has them."""
        own = {part: self.gradients.get(f"body.{name}.{part}") for part in ("weight", "bias")}
        return {part: gradient for part, gradient in own.items() if gradient is not None}

    def squared_lengths(self, layers: Sequence[str]) -> Tensor:
        """Of the gradients of these layers of the body, [layers, victims]."""
        of_each = [[part.flatten(1).square().sum(1) for part in self.of_layer(name).values()] for name in layers]
        return torch.stack([torch.stack(parts).sum(0) for parts in of_each])

    def take(self, victims: slice) -> Observed:
        """The same of some victims."""
        return replace(
            self,
            gradients={name: gradient[victims] for name, gradient in self.gradients.items()},
            statistics={name: sent[victims] for name, sent in self.statistics.items()},
            known=None if self.known is None else self.known[victims],
        )

    def repeated(self, times: int) -> Observed:
        """All victims so often, one whole round after the other: for several starts side by side."""
        return replace(
            self,
            gradients={name: torch.cat([gradient] * times) for name, gradient in self.gradients.items()},
            statistics={name: torch.cat([sent] * times) for name, sent in self.statistics.items()},
            known=None if self.known is None else torch.cat([self.known] * times),
        )


def prepared(network: Network, mode: BatchNormMode, device: str) -> Network:
    """A copy on the device whose BatchNorm is in this mode and all else in evaluation mode (no dropout)."""
    found = copy.deepcopy(network).to(device).eval()
    if mode == "training":
        for module in found.modules():
            if isinstance(module, _BatchNorm):
                module.train()
    return found


def batch_gradient(
    network: Network, standardised: Tensor, labels: Tensor, *, differentiable: bool = False
) -> Sequence[Tensor]:
    """Gradients of the mean cross-entropy by all parameters, in the order of `named_parameters`.

    standardised: [N, C, H, W], images as the body receives them. labels: int64 [N] or probabilities [N, classes].
    differentiable: by the images and the labels. Raises InputError where the batch is too small for the network.
    """
    try:
        logits = network.body(standardised)
    except ValueError as error:
        raise InputError(
            f"The network '{network.architecture.name}' gives no gradient for {len(labels)} images ({error}). Choose "
            "batch_norm 'evaluation', or a larger batch_size."
        ) from None
    loss = functional.cross_entropy(logits, labels)
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=differentiable)


def by_inputs(cost: Tensor, *inputs: Tensor) -> Sequence[Tensor]:
    """Derivatives of a cost that was made of gradients. Raises InputError where the network has no second ones."""
    try:
        return torch.autograd.grad(cost, inputs)
    except RuntimeError as error:
        if "derivative for" not in str(error):
            raise
        raise InputError(
            f"The victim's network has no second derivatives ({error}), which gradient matching needs. Choose another "
            "network."
        ) from None
