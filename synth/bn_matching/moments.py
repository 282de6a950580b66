"""First and second moments of an activation per group and channel, with their gradient in one pass.

A distance d between the mean and variance of y over a group and channel and their targets has the gradient
`dd/dy = a + b * y` with two numbers per group and channel, so it is added to the gradient that comes from above while
that passes by, instead of through the dozen full-size tensors of a plain autograd graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from privaudit.compiling import has_compiler


def _sums(flat: Tensor) -> tuple[Tensor, Tensor]:
    """[groups, pixels, channels] to mean and mean square, float32 [groups, channels]."""
    values = flat.float()
    return values.sum(1) / flat.shape[1], (values * values).sum(1) / flat.shape[1]


def _add_gradient(above: Tensor, flat: Tensor, constant: Tensor, slope: Tensor) -> Tensor:
    """`above + constant + slope * flat`; the first two [groups, pixels, channels], the others [groups, channels]."""
    return (above.float() + constant[:, None] + slope[:, None] * flat.float()).to(above.dtype)


@dataclass(frozen=True)
class Kernels:
    """The two passes over an activation: plain, or compiled into one loop each."""

    sums: Callable[[Tensor], tuple[Tensor, Tensor]]
    add_gradient: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


EAGER = Kernels(_sums, _add_gradient)


@lru_cache(maxsize=1)
def _compiled() -> Kernels:
    from torch._inductor import config

    config.compile_threads = 1  # helpers for two small kernels cost more than they save, and outlive a worker
    return Kernels(torch.compile(_sums, dynamic=True), torch.compile(_add_gradient, dynamic=True))


def kernels(device: str, dtype: torch.dtype) -> Kernels:
    """Compiled kernels where a trial of them works, else the plain ones."""
    if not has_compiler(device):
        return EAGER
    found = _compiled()
    try:
        flat = torch.rand(2, 64, 16, device=device).to(dtype)
        mean, square = found.sums(flat)
        found.add_gradient(flat, flat, mean, square)
    except (RuntimeError, OSError):  # a compiler that cannot compile: missing headers, no space for its output
        return EAGER
    return found


class Moments(torch.autograd.Function):
    """y [N, C, H, W] to (y, mean, mean square); the moments are float32 [groups, C], of equal runs of images."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, groups: int, passes: Kernels) -> tuple[Tensor, Tensor, Tensor]:
        """Measure, and hand y on."""
        ctx.set_materialize_grads(False)
        ctx.groups, ctx.passes = groups, passes
        ctx.save_for_backward(y)
        mean, square = passes.sums(_flat(y, groups))
        return y.view_as(y), mean, square

    @staticmethod
    def backward(ctx: Any, *above: Any) -> tuple[Tensor | None, None, None]:
        """The gradient from above, plus that of the moments."""
        gradient, of_mean, of_square = above
        (y,) = ctx.saved_tensors
        if of_mean is None and of_square is None:
            return gradient, None, None
        flat = _flat(y, ctx.groups)
        zero = torch.zeros(flat.shape[0], flat.shape[2], device=y.device)
        constant = zero if of_mean is None else of_mean / flat.shape[1]
        slope = zero if of_square is None else 2 * of_square / flat.shape[1]
        from_above = torch.zeros_like(flat) if gradient is None else _flat(gradient, ctx.groups)
        total = ctx.passes.add_gradient(from_above, flat, constant, slope)
        count, channels, height, width = y.shape
        return total.reshape(count, height, width, channels).permute(0, 3, 1, 2), None, None


def _flat(y: Tensor, groups: int) -> Tensor:
    return y.permute(0, 2, 3, 1).reshape(groups, -1, y.shape[1])
