"""Noise is optimised until its BatchNorm statistics match: the loss and the loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.moves import Moves
from privaudit.synth.bn_matching.statistics import Law

_TINY = 1e-20
"""The root of a square has no gradient at 0."""


@dataclass(frozen=True)
class Batch:
    """What a batch is to become. labels: [N], equal runs of one class each where `groups` > 1.

    of_groups: the law that each run is to have, a row each; pooled: the law that the whole batch is to have.
    pooled_weight: share of the pooled distance, in [0, 1]; the other part is the mean distance of the groups.
    features: [N, features], what the last layer is to receive for each image; None: anything.
    """

    labels: Tensor
    groups: int
    of_groups: Law | None
    pooled: Law | None
    pooled_weight: float
    features: Tensor | None = None


@dataclass(frozen=True)
class Weights:
    """Weights of the parts of the loss: statistics (and a factor for the first layer), labels, smoothness, features,
    and competition with a rival.
    """

    statistics: float
    first_layer: float
    labels: float
    smoothness: float
    features: float = 0.0
    competition: float = 0.0


@dataclass(frozen=True)
class Descent:
    """How the noise is changed: Adam steps, the largest learning rate, and the random moves of each step."""

    steps: int
    learning_rate: float
    moves: Moves


def distance(found: Law, wanted: Law, membership: Tensor) -> Tensor:
    """Sum over layers of the L2 distances of mean and of variance, averaged over the rows.

    membership: [columns, layers], the square of a layer's weight where the column is its, else 0.
    """
    of_mean = (found.mean - wanted.mean) ** 2 @ membership
    of_variance = (found.variance - wanted.variance) ** 2 @ membership
    return (of_mean.clamp_min(_TINY).sqrt() + of_variance.clamp_min(_TINY).sqrt()).sum(1).mean()


def total_variation(images: Tensor) -> Tensor:
    """Sum of the L2 norms of the differences between neighbours in four directions (Yin et al. 2020)."""
    down = images[:, :, 1:] - images[:, :, :-1]
    right = images[:, :, :, 1:] - images[:, :, :, :-1]
    diagonal = images[:, :, 1:, 1:] - images[:, :, :-1, :-1]
    other = images[:, :, 1:, :-1] - images[:, :, :-1, 1:]
    return torch.stack([part.norm() for part in (down, right, diagonal, other)]).sum()


def agreement(one: Tensor, other: Tensor) -> Tensor:
    """1 less the Jensen-Shannon divergence of two networks' answers [N, classes] in bits, mean over the images: 1 where
    they agree, 0 where they share nothing. Logits over a temperature of 3 (Yin et al. 2020).
    """
    first, second = (functional.log_softmax(logits / 3, 1) for logits in (one, other))
    middle = torch.logsumexp(torch.stack([first, second]), 0) - math.log(2)
    divergence = sum((part.exp() * (part - middle)).sum(1) for part in (first, second)) / 2
    return 1 - (torch.as_tensor(divergence) / math.log(2)).clamp(0, 1).mean()


class Objective:
    """The loss of a batch under a teacher.

    average: what is compared is the moving average of the batch's statistics over the steps, in which the steps before
    have this weight; its gradient is that of the step alone (Shao et al., EDC, NeurIPS 2024). rival: logits of
    another network, which should agree with the teacher less the larger the weight of competition is.
    """

    def __init__(
        self,
        network: MatchedNetwork,
        batch: Batch,
        weights: Weights,
        average: float = 0.0,
        rival: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network, self.batch, self.weights, self.average, self.rival = network, batch, weights, average, rival
        self._kept: Law | None = None
        count = len(network.layers)
        of_layer = torch.ones(count, device=network.layer_of.device)
        of_layer[0] = weights.first_layer
        self.membership = torch.diag(of_layer**2)[network.layer_of]

    def statistics_distance(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Distance of the groups' laws and of the whole batch's law, weighed."""
        batch, total = self.batch, mean.new_zeros(())
        found = self._averaged(Law(mean, variance)) if self.average else Law(mean, variance)
        if batch.of_groups is not None:
            total = total + (1 - batch.pooled_weight) * distance(found, batch.of_groups, self.membership)
        if batch.pooled is not None:
            total = total + batch.pooled_weight * distance(found.mixed(), batch.pooled, self.membership)
        return total

    def _averaged(self, now: Law) -> Law:
        before = self._kept or now
        self._kept = Law(
            torch.lerp(now.mean, before.mean, self.average).detach(),
            torch.lerp(now.variance, before.variance, self.average).detach(),
        )
        return Law(
            now.mean + (self._kept.mean - now.mean).detach(),
            now.variance + (self._kept.variance - now.variance).detach(),
        )

    def __call__(self, images: Tensor) -> Tensor:
        """The loss of standardised images [N, C, H, W]."""
        logits, mean, variance = self.network(images, self.batch.groups)
        weights = self.weights
        loss = (
            weights.statistics * self.statistics_distance(mean, variance)
            + weights.labels * functional.cross_entropy(logits, self.batch.labels)
            + weights.smoothness * total_variation(images)
        )
        if weights.features and self.batch.features is not None:
            loss = loss + weights.features * (self.network.features - self.batch.features).norm(dim=1).mean()
        if weights.competition and self.rival is not None:
            loss = loss + weights.competition * agreement(logits, self.rival(images))
        return loss


def descend(
    objective: Callable[[Tensor], Tensor],
    start: Tensor,
    bounds: tuple[Tensor, Tensor],
    descent: Descent,
    rng: np.random.Generator,
    report: Callable[[str, float], None],
) -> Tensor:
    """Standardised images [N, C, H, W] after all steps from `start`, kept within `bounds` ([C, 1, 1] each).

    Adam with betas 0.5 and 0.9, the learning rate falling to zero along a cosine; in every step the batch is moved at
    random. The last iterate is kept.
    """
    images = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([images], lr=descent.learning_rate, betas=(0.5, 0.9))
    for step in range(descent.steps):
        for group in optimizer.param_groups:
            group["lr"] = descent.learning_rate * (1 + math.cos(math.pi * step / descent.steps)) / 2
        loss = objective(descent.moves(images, step / descent.steps, rng))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            images.clamp_(*bounds)
        if step % 10 == 9:
            report("matching", (step + 1) / descent.steps)
    return images.detach()
