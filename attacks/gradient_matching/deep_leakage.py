"""Deep leakage from gradients: images and soft labels whose gradients equal those seen (Zhu, Liu, Han 2019)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching import levenberg
from privaudit.attacks.gradient_matching.gradients import Observed, by_inputs
from privaudit.attacks.gradient_matching.inverting import Reconstruction
from privaudit.attacks.gradient_matching.sending import update
from privaudit.errors import InputError

_SOLVED = 1e-8
"""Squared distance of the gradients, relative to those seen, at which nothing is left to be gained."""

SUCCESS = 1e-7
"""Such a distance under which a victim needs no other start."""

_CALLS_WITH_LINE_SEARCH = 250
_HISTORY = 50
_LEVENBERG_STEPS = 12


@dataclass(frozen=True, eq=False)
class Start:
    """images: [victims * batch size, C, H, W], standardised. logits: [victims * batch size, classes].

    labels: int64 of each where they are not sought, and the logits are not used; else None.
    """

    images: Tensor
    logits: Tensor
    labels: Tensor | None = None


def restarted(
    observed: Observed,
    labels: Tensor | None,
    iterations: int,
    restarts: int,
    drawn: Callable[[], tuple[Tensor, Tensor]],
    report: Callable[[str, float], None],
) -> Reconstruction:
    """The cheapest of several starts, of which victims that are solved need no more.

    drawn: images and logits of another start. The first is searched as published, but with the labels where these are
    given. The others are searched by L-BFGS with a line search (strong Wolfe conditions), which is never lost; where
    labels are known and the Jacobian is small enough, its end is refined by Levenberg-Marquardt.
    """
    best = None
    for number in range(restarts):
        start = Start(*drawn(), labels)

        def share(done: float, number: int = number) -> None:
            report(f"restart {number + 1} of {restarts}", done)

        solved = None if best is None else best.cost < SUCCESS
        found = leak(observed, start, iterations, share, solved, careful=best is not None)
        best = found if best is None else cheaper(best, found)
    if best is None:
        raise InputError("restarts must be at least 1.")
    return best


def cheaper(one: Reconstruction, other: Reconstruction) -> Reconstruction:
    """For each victim the images of lower cost; of `one` where costs are equal."""
    first = one.cost <= other.cost
    each = torch.repeat_interleave(first, len(one.labels) // len(first))
    return Reconstruction(
        torch.where(each[:, None, None, None], one.images, other.images),
        torch.where(each, one.labels, other.labels),
        torch.where(first, one.cost, other.cost),
    )


def leak(
    observed: Observed,
    start: Start,
    iterations: int,
    report: Callable[[float], None],
    solved: Tensor | None = None,
    *,
    careful: bool = False,
) -> Reconstruction:
    """Images and labels after so many calls of L-BFGS from a start, one victim after the other.

    solved: bool [victims], which are left as they start, at infinite cost. careful: with a line search, in fewer calls,
    and Levenberg-Marquardt behind it. Minimises the squared distance of the gradients by L-BFGS with torch's defaults
    (step 1, 20 steps a call). The cost is that distance divided by the squared length of the gradients seen.
    Zhu, Liu, Han 2019, arXiv 1906.08935; with labels that are read from the gradient: Zhao, Mopuri, Bilen 2020, arXiv
    2001.02610.
    """
    found = []
    for victim in range(observed.victims):
        rows = slice(victim * observed.batch_size, (victim + 1) * observed.batch_size)

        def share(done: float, victim: int = victim) -> None:
            report((victim + done) / observed.victims)

        labels = None if start.labels is None else start.labels[rows]
        own = Start(start.images[rows], start.logits[rows], labels)
        steps = 0 if solved is not None and solved[victim] else iterations
        if careful:
            steps = min(steps, _CALLS_WITH_LINE_SEARCH)
        part = _leak(observed, victim, own, steps, careful, share)
        if careful and steps and labels is not None and part.cost > _SOLVED and levenberg.possible(observed):
            images, cost = levenberg.solve(observed, victim, part.images, part.labels, _LEVENBERG_STEPS)
            part = cheaper(part, Reconstruction(images, part.labels, cost[None]))
        found.append(part)
    return Reconstruction(
        torch.cat([part.images for part in found]),
        torch.cat([part.labels for part in found]),
        torch.cat([part.cost for part in found]),
    )


def _leak(
    observed: Observed, victim: int, start: Start, iterations: int, careful: bool, report: Callable[[float], None]
) -> Reconstruction:
    target = [part[victim] for part in observed.gradients.values()]
    length = torch.stack([part.square().sum() for part in target]).sum().clamp_min(1e-30)
    # L-BFGS flattens by `view`: the images must be contiguous, whatever memory format the network likes.
    images = start.images.clone(memory_format=torch.contiguous_format).requires_grad_()
    logits = start.logits.clone().requires_grad_()
    sought = [images, logits] if start.labels is None else [images]
    # The published search has no scale: a line search needs one, near 1.
    unit = length if careful else torch.ones_like(length)
    search = {"line_search_fn": "strong_wolfe", "history_size": _HISTORY} if careful else {}
    optimizer = torch.optim.LBFGS(sought, **search)  # type: ignore[arg-type]

    def distance() -> Tensor:
        found = update(observed, images, logits.softmax(1) if start.labels is None else start.labels)
        pairs = zip(found, target, strict=True)
        return torch.stack([(one - other).square().sum() for one, other in pairs]).sum()

    def closure() -> float:
        cost = distance() / unit
        for part, slope in zip(sought, by_inputs(cost, *sought), strict=True):
            part.grad = slope
        return float(cost.detach())

    def labels() -> Tensor:
        return logits.detach().argmax(1) if start.labels is None else start.labels

    best = Reconstruction(start.images, labels(), torch.full((1,), float("inf"), device=images.device))
    before = float("inf")
    for step in range(iterations):
        optimizer.step(closure)  # type: ignore[no-untyped-call,unused-ignore]
        cost = distance().detach() / length
        if not torch.isfinite(cost):
            break
        if cost < best.cost:
            best = Reconstruction(images.detach().clone(), labels(), cost[None])
        if cost < _SOLVED or float(cost) == before:
            break
        before = float(cost)
        report((step + 1) / iterations)
    return best
