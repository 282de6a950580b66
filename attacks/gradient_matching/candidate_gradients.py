"""Gradients of many candidate images one by one, folded to a few thousand numbers each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from privaudit.images import Images
from privaudit.learning import Network

FEATURES = 2048
_LARGEST = 2**18
_NUMBERS = 2**25
"""Numbers of all gradients in a chunk."""
_SMALLEST = 1e-30


@dataclass(frozen=True, eq=False)
class Folding:
    """How gradients become features. rows: of each parameter by name, int64. signs: float32 [rows, ...] of each."""

    rows: dict[str, Tensor]
    signs: dict[str, Tensor]

    @property
    def variance(self) -> float:
        """Mean over the features, if every number of a gradient has variance 1 and all are independent."""
        return sum(signs.numel() for signs in self.signs.values()) / FEATURES

    def features(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Gradients [N, ...] by name to [N, FEATURES].

        Every number gets its sign and is added to one of the features, in turn: scalar products are kept on average
        (Charikar, Chen, Farach-Colton 2002, doi 10.1007/3-540-45465-9_59). What is a sum of gradients remains the sum
        of their features.
        """
        parts = []
        for name, signs in self.signs.items():
            flat = (gradients[name][:, self.rows[name]].float() * signs).flatten(1)
            padded = functional.pad(flat, (0, -flat.shape[1] % FEATURES))
            parts.append(padded.reshape(len(flat), -1, FEATURES).sum(1))
        return torch.stack(parts).sum(0)


def random_folding(network: Network, generator: torch.Generator) -> Folding:
    """Random signs; of parameters with more than 2^18 numbers, rows drawn at random."""
    rows, signs = {}, {}
    for name, parameter in network.named_parameters():
        most = max(1, _LARGEST // (parameter.numel() // len(parameter)))
        chosen = torch.randperm(len(parameter), generator=generator)[:most].sort().values
        drawn = torch.randint(2, (len(chosen), *parameter.shape[1:]), generator=generator) * 2.0 - 1
        rows[name], signs[name] = chosen.to(parameter.device), drawn.to(parameter.device)
    return Folding(rows, signs)


def candidate_features(
    network: Network, images: Images, folding: Folding, clip_norm: float | None, report: Callable[[float], None]
) -> Tensor:
    """Features [N, FEATURES], float32, of the gradient that each image with its own label gives alone.

    network: in evaluation mode. clip_norm: length to which longer gradients are shortened; None: to none. A candidate
    whose label the network does not know has the gradient zero. Memory is bounded by a chunk of images.
    """
    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    buffers = dict(network.named_buffers())
    device = network.mean.device

    def loss(some: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(network, (some, buffers), (image[None],))
        return functional.cross_entropy(logits, label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    rows = max(1, _NUMBERS // network.parameter_count)
    labels = torch.from_numpy(images.labels).to(device)
    known = labels < network.architecture.classes
    parts = [torch.zeros(0, FEATURES, device=device)]
    for number, batch in enumerate(images.batches(rows)):
        here = slice(number * rows, number * rows + len(batch))
        gradients = each(parameters, batch.to(device), torch.where(known[here], labels[here], 0))
        features = folding.features(gradients) * known[here, None]
        if clip_norm is not None:
            squares = torch.stack([part.flatten(1).square().sum(1) for part in gradients.values()])
            features *= (clip_norm / squares.sum(0).sqrt().clamp_min(_SMALLEST)).clamp_max(1)[:, None]
        parts.append(features.detach())
        report(min(1.0, here.stop / len(images)))
    return torch.cat(parts)
