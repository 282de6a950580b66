"""A batch of one through a first fully connected layer, by division."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient

CERTAIN = 1e-3
"""Largest relative difference of the gradients that certifies an image: far above rounding, far below any other."""


def first_layer(observed: Observed) -> str | None:
    """Name of the first layer, where it is a linear one with a bias that receives all pixels.

    None too where BatchNorm normalises by the batch: then no image has a gradient of its own.
    """
    if any(isinstance(module, _BatchNorm) and module.training for module in observed.network.modules()):
        return None
    pixels = observed.size[0] * observed.size[1] * observed.size[2]
    for name, module in observed.network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            linear = isinstance(module, nn.Linear) and module.bias is not None and module.in_features == pixels
            return name if linear else None
    return None


def divide(observed: Observed, layer: str) -> Tensor:
    """Images [victims, C, H, W], standardised, of batches of one.

    The weight gradient of a linear layer is the outer product of its bias gradient and its input; the row of the
    largest entry is divided by it. Phong, Aono, Hayashi, Wang, Moriai 2018, doi 10.1109/TIFS.2017.2787987. Zero where
    the bias gradient is.
    """
    weight, bias = observed.gradients[f"{layer}.weight"], observed.gradients[f"{layer}.bias"]
    row = bias.abs().argmax(1)
    victims = torch.arange(len(bias), device=bias.device)
    largest = bias[victims, row][:, None]
    images = torch.where(largest == 0, 0, weight[victims, row] / torch.where(largest == 0, 1, largest))
    return images.reshape(-1, *observed.image_shape)


def relative_difference(observed: Observed, images: Tensor, labels: Tensor) -> Tensor:
    """Distance of the gradients of these images from those seen, divided by the length of these, [victims].

    One image and label per victim. Infinite where the gradient seen is zero.
    """
    found = []
    for victim in range(observed.victims):
        rows = slice(victim, victim + 1)
        gradient = batch_gradient(observed.network, images[rows], labels[rows])
        seen = [part[victim] for part in observed.gradients.values()]
        rest = torch.stack([(one - other).square().sum() for one, other in zip(gradient, seen, strict=True)]).sum()
        found.append((rest / torch.stack([part.square().sum() for part in seen]).sum()).sqrt())
    return torch.nan_to_num(torch.stack(found), nan=float("inf"), posinf=float("inf"))
