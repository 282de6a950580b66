"""Images whose gradients equal those seen, by Levenberg-Marquardt: few, costly steps that end in an exact solution."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from privaudit.attacks.gradient_matching.gradients import Observed

_UNKNOWNS = 2**12
_NUMBERS = 2**26
_CHUNK = 256
_TRIES = 8
_FIRST_DAMPING = 1e-3
_LEAST_DAMPING = 1e-12
_SOLVED = 1e-10


def possible(observed: Observed) -> bool:
    """Whether a victim's Jacobian is small enough, and his network is smooth enough to be without BatchNorm."""
    height, width, channels = observed.size
    unknowns = observed.batch_size * height * width * channels
    numbers = unknowns * sum(parameter.numel() for parameter in observed.network.parameters())
    normalised = any(isinstance(module, _BatchNorm) for module in observed.network.modules())
    return not normalised and unknowns <= _UNKNOWNS and numbers <= _NUMBERS


def solve(observed: Observed, victim: int, images: Tensor, labels: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Images after so many steps, and their cost: the squared distance of the gradients, relative to those seen.

    images: [batch size, C, H, W], standardised, near a solution. labels: int64 [batch size]. A step that does not make
    the cost smaller is damped ten times as much and tried again, up to eight times; then the search ends. All in
    float64. Marquardt 1963, doi 10.1137/0111030.
    """
    body = copy.deepcopy(observed.network.body).double()
    parameters = {name: value.detach() for name, value in body.named_parameters()}
    target = torch.cat([part[victim].double().flatten() for part in observed.gradients.values()])
    length = target.norm().clamp_min(1e-30)

    def loss(values: dict[str, Tensor], some: Tensor) -> Tensor:
        found: Tensor = functional.cross_entropy(functional_call(body, values, (some,)), labels)
        return found

    def rest(flat: Tensor) -> Tensor:
        moved, some = parameters, flat.reshape(images.shape)
        for _ in range(observed.local_steps):
            slopes = grad(loss)(moved, some)
            moved = {name: value - observed.local_learning_rate * slopes[name] for name, value in moved.items()}
        if observed.local_steps == 1:
            found = list(slopes.values())
        else:
            whole = observed.local_steps * observed.local_learning_rate
            found = [(value - moved[name]) / whole for name, value in parameters.items()]
        apart: Tensor = (torch.cat([part.flatten() for part in found]) - target) / length
        return apart

    flat, damping = images.double().flatten(), _FIRST_DAMPING
    directions = torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
    residual = rest(flat)
    cost = residual.square().sum()
    for _ in range(steps):
        if cost < _SOLVED or not torch.isfinite(cost):
            break
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*torch\.jit\.script")  # torch's own first use
            jacobian = vmap(lambda one, at=flat: jvp(rest, (at,), (one,))[1], chunk_size=_CHUNK)(directions)
        curvature, slope = jacobian @ jacobian.T, jacobian @ residual
        scale = curvature.diagonal().mean()
        for _ in range(_TRIES):
            factor, failed = torch.linalg.cholesky_ex(curvature + damping * scale * directions)
            moved = flat - torch.cholesky_solve(slope[:, None], factor)[:, 0]
            ahead = rest(moved)
            if not failed and ahead.square().sum() < cost:
                break
            damping *= 10
        else:
            break
        flat, residual, cost = moved, ahead, ahead.square().sum()
        damping = max(damping / 10, _LEAST_DAMPING)
    return flat.float().reshape(images.shape), cost.float()
