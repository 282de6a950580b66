"""Inverting gradients: images whose gradients point in the direction that was seen (Geiping et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching import consensus
from privaudit.attacks.gradient_matching.gradients import Observed, by_inputs
from privaudit.attacks.gradient_matching.objectives import Objective, pixel_norm, total_variation
from privaudit.attacks.gradient_matching.sending import statistics_distance
from privaudit.attacks.gradient_matching.similarity import GradientSimilarity
from privaudit.images import Images

Optimiser = Literal["signed-adam", "adam"]
Schedule = Literal["steps", "cosine"]
Precision = Literal["float32", "bfloat16"]

_LEARNING_RATE = 0.1
_START_NOISE = 0.1
_DROPS = (3 / 8, 5 / 8, 7 / 8)
_LEAST_RATE = 1e-3
CHUNK_PIXELS = {"cpu": 2**16, "cuda": 2**21, "mps": 2**18}


@dataclass(frozen=True)
class Search:
    """How images are sought: the settings of the attack of the same names, where they are described."""

    iterations: int
    objective: Objective = "cosine"
    optimiser: Optimiser = "signed-adam"
    schedule: Schedule = "steps"
    precision: Precision = "float32"
    total_variation: float = 0.0
    pixel_norm: float = 0.0
    statistics_weight: float = 0.0
    consensus: float = 0.0

    def rate(self, step: int) -> float:
        """Learning rate of a step as a share of the first: divided by ten three times, or half a cosine."""
        done = step / self.iterations
        if self.schedule == "steps":
            return float(0.1 ** sum(done >= drop for drop in _DROPS))
        return _LEAST_RATE + (1 - _LEAST_RATE) * (1 + math.cos(math.pi * done)) / 2


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


def invert(
    observed: Observed, labels: Tensor, starts: Tensor, search: Search, report: Callable[[float], None]
) -> Reconstruction:
    """The cheapest of several starts of each victim; victims and starts side by side.

    starts: [restarts, victims * batch size, C, H, W]. Minimises distance of the gradients + priors per victim by Adam,
    on the signs of its gradient unless `search` says otherwise, with first step 0.1; every step ends within black and
    white. The last iterate is kept. The cost by which starts are compared leaves the consensus out. Geiping,
    Bauermeister, Droege, Moeller 2020, arXiv 2003.14053.
    """
    pixels = observed.size[0] * observed.size[1] * len(starts)
    victims = max(1, CHUNK_PIXELS[observed.device.type] // (pixels * observed.batch_size))
    parts = []
    for first in range(0, observed.victims, victims):
        some = observed.take(slice(first, first + victims))
        rows = slice(first * observed.batch_size, (first + victims) * observed.batch_size)

        def share(done: float, first: int = first, count: int = some.victims) -> None:
            report((first + done * count) / observed.victims)

        parts.append(_invert(some, labels[rows], starts[:, rows], search, share))
    return Reconstruction(torch.cat([part.images for part in parts]), labels, torch.cat([part.cost for part in parts]))


def _invert(
    observed: Observed, labels: Tensor, starts: Tensor, search: Search, report: Callable[[float], None]
) -> Reconstruction:
    restarts, victims, size = len(starts), observed.victims, observed.batch_size
    repeated, labels_of_all = observed.repeated(restarts), labels.repeat(restarts)
    dtype = torch.bfloat16 if search.precision == "bfloat16" else torch.float32
    similarity = GradientSimilarity(repeated, search.objective, dtype)
    black, white = observed.bounds

    def costs(images: Tensor) -> Tensor:
        found = similarity.distance(images, labels_of_all)
        if search.total_variation:
            found = found + search.total_variation * total_variation(images, size)
        if search.pixel_norm:
            found = found + search.pixel_norm * pixel_norm(images, size)
        if observed.statistics and search.statistics_weight:
            found = found + search.statistics_weight * statistics_distance(repeated, images)
        return found

    def grouped(images: Tensor) -> Tensor:
        return images.reshape(restarts, victims, size, *images.shape[1:])

    images = torch.clamp(starts.flatten(0, 1), black, white).contiguous().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=_LEARNING_RATE)
    agreed = None
    for step in range(search.iterations):
        optimizer.param_groups[0]["lr"] = _LEARNING_RATE * search.rate(step)
        cost = costs(images)
        if restarts > 1 and search.consensus and consensus.due(step, search.iterations):
            agreed = consensus.consensus(grouped(images.detach()), cost.detach().reshape(restarts, victims))
        if agreed is not None:
            cost = cost + search.consensus * consensus.disagreement(grouped(images), agreed).flatten()
        (gradient,) = by_inputs(cost.sum(), images)
        images.grad = gradient.sign_() if search.optimiser == "signed-adam" else gradient
        optimizer.step()
        with torch.no_grad():
            images.clamp_(black, white)
        if step % 10 == 9:
            report((step + 1) / search.iterations)
    cost = costs(images).detach().reshape(restarts, victims)
    cheapest = torch.nan_to_num(cost, nan=float("inf")).argmin(0)
    own = torch.arange(victims, device=images.device)
    return Reconstruction(grouped(images.detach())[cheapest, own].flatten(0, 1), labels, cost[cheapest, own])
