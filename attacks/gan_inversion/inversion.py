"""Latents are optimised until a classifier accepts what the generator makes of them as a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from privaudit.attack import Progress, no_progress
from privaudit.attacks.gan_inversion.augmentation import transformed
from privaudit.attacks.gan_inversion.found import Found
from privaudit.learning.generator import random_latents

Images = Callable[[Tensor], Tensor]
"""Latents [N, LATENT] to images [N, C, H, W] in [0, 1]."""

Logits = Callable[[Tensor], Tensor]
"""Images [N, C, H, W] in [0, 1] to logits [N, classes]."""

_CANDIDATES = 512
_FRESH_COPIES = 16
_LEARNING_RATE = 0.05
_CHUNK_PIXELS = 2**20
_SMOOTHING = 1e-4


@dataclass(frozen=True)
class Search:
    """restarts: latents optimised per image. steps: Adam steps. candidates: latents drawn per class to start from.
    copies: transformed copies of an image over which the gradient is averaged in every step.
    """

    restarts: int
    steps: int
    candidates: int = _CANDIDATES
    copies: int = 2


def poincare(logits: Tensor, targets: Tensor) -> Tensor:
    """Distance in the Poincare ball of the logits, scaled to length one in L1, from the target's corner: [N].

    Unlike the cross-entropy its gradient does not vanish for an image that is accepted already (Struppek et al. 2022,
    arXiv 2201.12179, section 4.2).
    """
    inside = logits / logits.abs().sum(1, keepdim=True).clamp_min(1e-12)
    corner = functional.one_hot(targets, logits.shape[1]).to(logits.dtype) * (1 - _SMOOTHING)
    apart = ((inside - corner) ** 2).sum(1)
    room = (1 - (inside**2).sum(1)).clamp_min(1e-6) * (1 - (corner**2).sum(1))
    return torch.acosh(1 + (2 * apart / room).clamp_min(1e-6))


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each image: [N]."""
    return functional.cross_entropy(logits, targets, reduction="none")


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """By how much the largest other logit exceeds the target's: [N]. Its gradient never vanishes, and is not scaled by
    how sure the classifier is (the max-margin loss of Yuan et al. 2023, arXiv 2302.09814).
    """
    wanted = logits.gather(1, targets[:, None])[:, 0]
    others = logits.scatter(1, targets[:, None], -torch.inf)
    return others.amax(1) - wanted


LOSSES = {"poincare": poincare, "margin": margin, "cross-entropy": cross_entropy}


def starts(
    generate: Images, classify: Logits, targets: Tensor, search: Search, loss: str, rng: np.random.Generator
) -> Tensor:
    """The random latents that suit each target best, [restarts * N, LATENT]; none is used twice."""
    classes, wanted = torch.unique(targets, return_counts=True)
    need = int(wanted.max()) * search.restarts
    drawn = random_latents(max(search.candidates * len(classes), need * len(classes)), rng, str(targets.device))
    with torch.no_grad():
        logits = torch.cat([classify(generate(part)) for _, part in _parts(drawn, generate, 1)])
    free = torch.ones(len(drawn), dtype=torch.bool, device=drawn.device)
    kept = drawn.new_empty((search.restarts, len(targets), drawn.shape[1]))
    for label, count in zip(classes, wanted, strict=True):
        losses = LOSSES[loss](logits, label.expand(len(drawn)))
        best = losses.masked_fill(~free, torch.inf).topk(int(count) * search.restarts, largest=False).indices
        free[best] = False
        kept[:, targets == label] = drawn[best].view(search.restarts, int(count), -1)
    return kept.flatten(0, 1)


def invert(
    generate: Images,
    classify: Logits,
    targets: Tensor,
    search: Search,
    loss: str,
    rng: np.random.Generator,
    report: Progress = no_progress,
) -> Found:
    """One image for each target (int64 [N]).

    All latents are moved together by Adam, each kept at its own distance from the origin, so that it stays likely
    under the prior; the gradient is averaged over randomly transformed copies, which keeps it near what images look
    like (AlignMI). Of an image's restarts the one that the classifier is surest of, on average over fresh copies, is
    kept (Struppek et al. 2022, section 4.3).
    """
    latents = starts(generate, classify, targets, search, loss, rng)
    radius = latents.norm(dim=1, keepdim=True)
    wanted = targets.repeat(search.restarts)
    latents.requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=_LEARNING_RATE)
    for step in range(search.steps):
        optimizer.zero_grad(set_to_none=True)
        for rows, part in _parts(latents, generate, search.copies):
            copies = _copies(generate(part), search.copies, rng)
            losses = LOSSES[loss](classify(copies), wanted[rows].repeat(search.copies))
            (losses.sum() / search.copies).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            latents.mul_(radius / latents.norm(dim=1, keepdim=True))
        if step % 5 == 4:
            report("inverting", (step + 1) / search.steps)
    return _chosen(generate, classify, latents.detach(), targets, search.restarts, loss, rng)


def _chosen(
    generate: Images,
    classify: Logits,
    latents: Tensor,
    targets: Tensor,
    restarts: int,
    loss: str,
    rng: np.random.Generator,
) -> Found:
    count, wanted = len(targets), targets.repeat(restarts)
    images, losses, confidence, accepted, doubt = [], [], [], [], []
    with torch.no_grad():
        for rows, part in _parts(latents, generate, _FRESH_COPIES):
            made, of = generate(part), wanted[rows]
            logits = classify(_copies(made, _FRESH_COPIES, rng))
            repeated = of.repeat(_FRESH_COPIES)
            images.append(made)
            losses.append(LOSSES[loss](logits, repeated).view(_FRESH_COPIES, -1).mean(0))
            sure = logits.softmax(1).gather(1, repeated[:, None])[:, 0]
            confidence.append(sure.view(_FRESH_COPIES, -1).mean(0))
            # What is left to certainty, for probabilities near one are equal in float32.
            left = logits.scatter(1, repeated[:, None], -torch.inf).logsumexp(1) - logits.logsumexp(1)
            doubt.append(left.exp().view(_FRESH_COPIES, -1).mean(0))
            accepted.append(classify(made).argmax(1) == of)
    best = torch.cat(doubt).view(restarts, count).argmin(0)
    chosen = best * count + torch.arange(count, device=best.device)
    return Found(*(torch.cat(part)[chosen] for part in (images, losses, confidence, accepted)))


def _copies(images: Tensor, count: int, rng: np.random.Generator) -> Tensor:
    return torch.cat([transformed(images, rng) for _ in range(count)])


def _parts(latents: Tensor, generate: Images, copies: int) -> list[tuple[slice, Tensor]]:
    """Latents in parts, with their places, of which so many copies of the images fit into memory."""
    with torch.no_grad():
        pixels = generate(latents[:1])[0, 0].numel()
    size = max(1, _CHUNK_PIXELS // (pixels * copies))
    return [(slice(start, start + size), latents[start : start + size]) for start in range(0, len(latents), size)]
