"""What a victim computes from his images and sends: one gradient, or the change after several local steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient
from privaudit.learning import Network

Precision = Literal["float32", "float64"]


@dataclass(frozen=True)
class Sending:
    """How a victim makes what he sends.

    statistics: he sends mean and variance of what his BatchNorm layers received. local_steps, local_learning_rate:
    steps of gradient descent on his whole batch; he sends the change of the parameters, which the attacker divides by
    the steps and the rate. clip_norm: largest length of an image's own gradient; None: not clipped. noise_multiplier:
    standard deviation of the noise that is added to their sum, as a multiple of clip_norm. precision: in which he
    computes and sends gradients.
    """

    statistics: bool = False
    local_steps: int = 1
    local_learning_rate: float = 0.01
    clip_norm: float | None = None
    noise_multiplier: float = 0.0
    precision: Precision = "float32"


ONE_GRADIENT = Sending()
"""What is sent where nothing else is said."""


def local_update(
    network: Network, images: Tensor, labels: Tensor, steps: int, rate: float, *, differentiable: bool = False
) -> Sequence[Tensor]:
    """Mean of the gradients of so many steps of gradient descent, in the order of `named_parameters`.

    It is the change of the parameters divided by minus the steps and the rate (McMahan et al. 2017, arXiv 1602.05629).
    Every step uses all images. images: [N, C, H, W], standardised. labels: int64 [N] or probabilities [N, classes].
    differentiable: by images and labels, through all steps (Geiping et al. 2020, arXiv 2003.14053, section 6).
    """
    if steps == 1:
        return batch_gradient(network, images, labels, differentiable=differentiable)
    first: dict[str, Tensor] = dict(network.body.named_parameters())
    # Buffers are copied, for BatchNorm in training mode changes them in place; they take no part in its output.
    buffers = {name: buffer.clone() for name, buffer in network.body.named_buffers()}
    moved = first
    for _ in range(steps):
        logits = functional_call(network.body, {**moved, **buffers}, (images,))
        loss = functional.cross_entropy(logits, labels)
        gradients = torch.autograd.grad(loss, list(moved.values()), create_graph=differentiable)
        moved = {name: value - rate * slope for (name, value), slope in zip(moved.items(), gradients, strict=True)}
        if not differentiable:
            moved = {name: value.detach().requires_grad_() for name, value in moved.items()}
    changes = [(before - moved[name]) / (steps * rate) for name, before in first.items()]
    return changes if differentiable else [change.detach() for change in changes]


def private_gradient(
    network: Network, images: Tensor, labels: Tensor, clip_norm: float, noise_multiplier: float, noise: torch.Generator
) -> Sequence[Tensor]:
    """Mean of the images' own gradients, each shortened to `clip_norm` where it is longer, plus noise.

    The noise on the sum is normal with standard deviation noise_multiplier * clip_norm (Abadi et al. 2016, DP-SGD,
    doi 10.1145/2976749.2978318).
    """
    total = [torch.zeros_like(parameter) for parameter in network.parameters()]
    for row in range(len(images)):
        found = batch_gradient(network, images[row : row + 1], labels[row : row + 1])
        length = torch.stack([part.square().sum() for part in found]).sum().sqrt()
        factor = (clip_norm / length.clamp_min(1e-30)).clamp_max(1)
        total = [one + factor * other for one, other in zip(total, found, strict=True)]
    spread = noise_multiplier * clip_norm
    noises = [torch.randn(part.shape, generator=noise).to(part) for part in total]
    return [(part + spread * drawn) / len(images) for part, drawn in zip(total, noises, strict=True)]


def batch_statistics(network: Network, images: Tensor) -> dict[str, Tensor]:
    """Mean and biased variance of what every BatchNorm receives, by its name, [2, channels]; differentiable."""
    found: dict[str, Tensor] = {}
    handles = []
    for name, module in network.named_modules():
        if isinstance(module, _BatchNorm):

            def keep(_: object, inputs: tuple[Tensor, ...], name: str = name) -> None:
                variance, mean = torch.var_mean(inputs[0], (0, *range(2, inputs[0].ndim)), correction=0)
                found[name] = torch.stack([mean, variance])

            handles.append(module.register_forward_pre_hook(keep))
    try:
        network.body(images)
    finally:
        for handle in handles:
            handle.remove()
    return found


def statistics_distance(observed: Observed, images: Tensor) -> Tensor:
    """Distance of the statistics of images from those sent, [victims]: lengths of the differences of the means and of
    the variances, summed over layers (Yin et al. 2021, arXiv 2104.07586).

    images: [victims * batch size, C, H, W], standardised.
    """
    size = observed.batch_size
    costs = []
    for victim in range(observed.victims):
        found = batch_statistics(observed.network, images[victim * size : (victim + 1) * size])
        differences = [(found[name] - sent[victim]).norm(dim=1).sum() for name, sent in observed.statistics.items()]
        costs.append(torch.stack(differences).sum())
    return torch.stack(costs)


def update(observed: Observed, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
    """What a victim with these images would send, without defence; differentiable."""
    steps, rate = observed.local_steps, observed.local_learning_rate
    return local_update(observed.network, images, labels, steps, rate, differentiable=True)


def named_statistics(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """[victims, 2, channels] by name, from those of each victim."""
    return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
