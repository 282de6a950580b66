"""Inverting gradients: images whose gradients point in the direction that was seen (Geiping et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.gradients import Observed, by_inputs
from privaudit.attacks.gradient_matching.similarity import GradientSimilarity
from privaudit.images import Images

_LEARNING_RATE = 0.1
_START_NOISE = 0.1
_DROPS = (3 / 8, 5 / 8, 7 / 8)
CHUNK_PIXELS = {"cpu": 2**16, "cuda": 2**21, "mps": 2**18}


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """images: [victims * batch size, C, H, W], standardised. labels: int64 of each. cost: [victims], the attacker's."""

    images: Tensor
    labels: Tensor
    cost: Tensor


def reference_start(observed: Observed, labels: Tensor, noise: Tensor, reference: Images | None) -> Tensor:
    """The mean of the attacker's own images of each label, blurred by a part of the noise; noise where he has none.

    A network that ends in a mean over all places hardly tells where things are: from noise the search ends in the right
    pieces at wrong places. The mean of a class puts them where they belong.
    """
    start = noise.clone()
    if reference is None:
        return start
    mean, std = observed.network.mean[:, None, None], observed.network.std[:, None, None]
    for label in torch.unique(labels).tolist():
        own = reference.take(reference.labels == label)
        if len(own):
            pixels = torch.from_numpy(own.pixels.mean(0) / 255).float().permute(2, 0, 1).to(noise.device)
            rows = labels == label
            start[rows] = (pixels - mean) / std + _START_NOISE * noise[rows]
    return start


def total_variation(images: Tensor, batch_size: int) -> Tensor:
    """Mean absolute difference of neighbours across plus that of neighbours down, [victims]."""
    batches = images.reshape(-1, batch_size, *images.shape[1:])
    down = (batches[..., 1:, :] - batches[..., :-1, :]).abs().mean((1, 2, 3, 4))
    across: Tensor = (batches[..., 1:] - batches[..., :-1]).abs().mean((1, 2, 3, 4))
    return down + across


def invert(
    observed: Observed,
    labels: Tensor,
    start: Tensor,
    iterations: int,
    weight: float,
    report: Callable[[float], None],
) -> Reconstruction:
    """Images after so many steps from `start` [victims * batch size, C, H, W], all victims side by side.

    Minimises (1 - cosine of the gradients) + weight * total variation per victim by Adam on the signs of its gradient
    with step 0.1, divided by ten after 3/8, 5/8 and 7/8 of the steps; every step ends within black and white. The last
    iterate is kept. Geiping, Bauermeister, Droege, Moeller 2020, arXiv 2003.14053.
    """
    pixels = observed.size[0] * observed.size[1]
    victims = max(1, CHUNK_PIXELS[observed.device.type] // (pixels * observed.batch_size))
    parts = []
    for first in range(0, observed.victims, victims):
        some = observed.take(slice(first, first + victims))
        rows = slice(first * observed.batch_size, (first + victims) * observed.batch_size)

        def share(done: float, first: int = first, count: int = some.victims) -> None:
            report((first + done * count) / observed.victims)

        parts.append(_invert(some, labels[rows], start[rows], iterations, weight, share))
    return Reconstruction(torch.cat([part.images for part in parts]), labels, torch.cat([part.cost for part in parts]))


def _invert(
    observed: Observed, labels: Tensor, start: Tensor, iterations: int, weight: float, report: Callable[[float], None]
) -> Reconstruction:
    similarity = GradientSimilarity(observed)
    black, white = observed.bounds

    def costs(images: Tensor) -> Tensor:
        return similarity.distance(images, labels) + weight * total_variation(images, observed.batch_size)

    images = torch.clamp(start, black, white).contiguous().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_LEARNING_RATE)
    drops = [int(iterations * share) for share in _DROPS]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)
    for step in range(iterations):
        (gradient,) = by_inputs(costs(images).sum(), images)
        images.grad = gradient.sign_()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            images.clamp_(black, white)
        if step % 10 == 9:
            report((step + 1) / iterations)
    return Reconstruction(images.detach(), labels, costs(images).detach())
