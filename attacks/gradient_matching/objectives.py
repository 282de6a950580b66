"""How far the gradients of images are from those seen, from scalar products by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.gradients import Observed

Objective = Literal["cosine", "l2", "layer-cosine"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

_SMALLEST = 1e-30


@dataclass(frozen=True, eq=False)
class Products:
    """By layer (convolution, BatchNorm or linear layer, weights and biases together), [layers, victims] each.

    dots: <G, T>. squares: <G, G>. targets: <T, T>. G: gradient of the images, T: gradient seen.
    """

    dots: Tensor
    squares: Tensor
    targets: Tensor


def distance(objective: Objective, products: Products) -> Tensor:
    """[victims], 0 where the gradients agree.

    cosine: 1 - cosine over all layers at once (Geiping et al. 2020, arXiv 2003.14053).
    l2: squared distance, divided by the squared length of the gradient seen (Zhu et al. 2019, arXiv 1906.08935).
    layer-cosine: 1 - cosine of each layer, weighted by the layer's share of the squared length of the gradient seen.
    """
    dots, squares, targets = products.dots, products.squares, products.targets
    if objective == "l2":
        return (squares - 2 * dots + targets).sum(0) / targets.sum(0).clamp_min(_SMALLEST)
    if objective == "cosine":
        dots, squares, whole = dots.sum(0), squares.sum(0), targets.sum(0)
        return 1 - _cosine(dots, squares, whole)
    weights = targets / targets.sum(0).clamp_min(_SMALLEST)
    return (weights * (1 - _cosine(dots, squares, targets))).sum(0)


def _cosine(dots: Tensor, squares: Tensor, targets: Tensor) -> Tensor:
    lengths = squares.clamp_min(_SMALLEST).sqrt() * targets.clamp_min(_SMALLEST).sqrt()
    return dots / lengths.clamp_min(_SMALLEST)


def total_variation(images: Tensor, batch_size: int) -> Tensor:
    """Mean absolute difference of neighbours across plus that of neighbours down, [victims]."""
    batches = images.reshape(-1, batch_size, *images.shape[1:])
    down = (batches[..., 1:, :] - batches[..., :-1, :]).abs().mean((1, 2, 3, 4))
    across: Tensor = (batches[..., 1:] - batches[..., :-1]).abs().mean((1, 2, 3, 4))
    return down + across


def pixel_norm(images: Tensor, batch_size: int) -> Tensor:
    """Mean square of the standardised pixels, [victims]."""
    return images.reshape(-1, batch_size, *images.shape[1:]).square().mean((1, 2, 3, 4))


def layers_of(observed: Observed) -> list[str]:
    """The layers of the body that have parameters, by name, in their order."""
    return list(dict.fromkeys(name.removeprefix("body.").rpartition(".")[0] for name in observed.gradients))


def layer_products(observed: Observed, victim: int, found: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """<G, T> and <G, G> of one victim, [layers] each; found: G by name of the parameter."""
    sums: dict[str, list[Tensor]] = {}
    for name, targets in observed.gradients.items():
        one, other = found[name].flatten(), targets[victim].flatten()
        sums.setdefault(name.rpartition(".")[0], []).append(torch.stack([torch.dot(one, other), torch.dot(one, one)]))
    dots, squares = torch.stack([torch.stack(parts).sum(0) for parts in sums.values()]).unbind(1)
    return dots, squares
