"""Deep leakage from gradients: images and soft labels whose gradients equal those seen (Zhu, Liu, Han 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient, by_inputs
from privaudit.attacks.gradient_matching.inverting import Reconstruction

_SOLVED = 1e-8
"""Squared distance of the gradients, relative to those seen, at which nothing is left to be gained."""

SUCCESS = 1e-6
"""Such a distance under which a victim needs no other start."""


def leak(
    observed: Observed,
    images: Tensor,
    logits: Tensor,
    iterations: int,
    report: Callable[[float], None],
    solved: Tensor | None = None,
) -> Reconstruction:
    """Images and label logits after so many calls of L-BFGS from a start, one victim after the other.

    images: [victims * batch size, C, H, W], standardised. logits: [victims * batch size, classes].
    solved: bool [victims], which are left as they start, at infinite cost.
    Minimises the squared distance of the gradients by L-BFGS with torch's defaults (step 1, 20 steps a call, no line
    search). The cost is that distance divided by the squared length of the gradients seen.
    Zhu, Liu, Han 2019, arXiv 1906.08935.
    """
    found = []
    for victim in range(observed.victims):
        rows = slice(victim * observed.batch_size, (victim + 1) * observed.batch_size)

        def share(done: float, victim: int = victim) -> None:
            report((victim + done) / observed.victims)

        target = [part[victim] for part in observed.gradients.values()]
        steps = 0 if solved is not None and solved[victim] else iterations
        found.append(_leak(observed, target, images[rows], logits[rows], steps, share))
    return Reconstruction(
        torch.cat([part.images for part in found]),
        torch.cat([part.labels for part in found]),
        torch.cat([part.cost for part in found]),
    )


def _leak(
    observed: Observed,
    target: list[Tensor],
    start: Tensor,
    logits: Tensor,
    iterations: int,
    report: Callable[[float], None],
) -> Reconstruction:
    # L-BFGS flattens by `view`: the images must be contiguous, whatever memory format the network likes.
    images = start.clone(memory_format=torch.contiguous_format).requires_grad_()
    labels = logits.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([images, labels])
    length = torch.stack([part.square().sum() for part in target]).sum().clamp_min(1e-30)

    def distance() -> Tensor:
        found = batch_gradient(observed.network, images, labels.softmax(1), differentiable=True)
        pairs = zip(found, target, strict=True)
        return torch.stack([(one - other).square().sum() for one, other in pairs]).sum()

    def closure() -> float:
        cost = distance()
        images.grad, labels.grad = by_inputs(cost, images, labels)
        return float(cost.detach())

    best = Reconstruction(start, logits.argmax(1), torch.full((1,), float("inf"), device=start.device))
    before = float("inf")
    for step in range(iterations):
        optimizer.step(closure)  # type: ignore[no-untyped-call,unused-ignore]
        cost = distance().detach() / length
        if not torch.isfinite(cost):
            break
        if cost < best.cost:
            best = Reconstruction(images.detach().clone(), labels.detach().argmax(1), cost[None])
        if cost < _SOLVED or float(cost) == before:
            break
        before = float(cost)
        report((step + 1) / iterations)
    return best
