"""The steps of a training with differential privacy: DP-SGD (Abadi et al. 2016, arXiv 1607.00133), by Opacus."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel

from privaudit.accounting import GaussianSteps
from privaudit.attack import Progress, no_progress
from privaudit.errors import InputError
from privaudit.learning.checkpoint import Checkpoint
from privaudit.learning.gradient_canaries import GradientCanaries

Gradients = Callable[[nn.Module, NDArray[np.int64], np.random.Generator], None]
"""Leaves the gradient of each of these rows in `grad_sample` of the module's parameters."""

_ROUNDING = 1e-2
_CANARIES_AT_ONCE = 256


@dataclass(frozen=True)
class PrivateSteps:
    """In each step every image takes part by a coin of its own, its gradient is cut to a norm, the sum gets noise, and
    is divided by a number that does not depend on the images.

    clip: largest norm of a gradient. divisor: about the expected number of images in a step, and public.
    """

    steps: GaussianSteps
    clip: float
    divisor: float


def check_private(network: nn.Module) -> None:
    """Raises InputError where a layer mixes the images of a batch, so that no gradient is that of one image."""
    mixing = [name for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if mixing:
        raise InputError(
            f"A network with BatchNorm ({mixing[0]}) cannot be trained with differential privacy: each image moves the "
            "gradients of all others. Choose convnet-groupnorm, lenet or mlp."
        )


def take_private_steps(
    network: nn.Module,
    asked: PrivateSteps,
    count: int,
    gradients: Gradients,
    *,
    optimizer: torch.optim.Optimizer,
    learning_rate: Callable[[float], float],
    randomness: int,
    at_once: int | None = None,
    averaged: AveragedModel | None = None,
    progress: Progress = no_progress,
    canaries: GradientCanaries | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Take all steps: `network`, which is in training mode on its device, and its average are changed.

    count: images. optimizer: of the network's parameters; what it is given are noisy means. learning_rate: by the share
    of the steps that are done. randomness: 128 bits for coins and noise: whoever knows them can take the noise away.
    at_once: images whose gradients are held in memory together; None: all of a step. canaries: mixed into every step,
    for an audit. checkpoint: a file with which a killed training goes on: the steps it lost are taken again with the
    same coins and the same noise, for it holds the randomness too. Raises InputError for networks with BatchNorm.
    """
    from opacus import GradSampleModule

    from privaudit.learning.noisy_optimizer import NoisyOptimizer

    check_private(network)
    own = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if canaries is not None:
        optimizer.add_param_group({"params": [canaries.parameter]})
    with _quiet_hooks(), _contiguous(network):
        wrapped = GradSampleModule(network, loss_reduction="sum")
        private = NoisyOptimizer(
            optimizer,
            noise_multiplier=asked.steps.noise_multiplier,
            max_grad_norm=asked.clip,
            expected_batch_size=asked.divisor,
        )
        state = Checkpoint(checkpoint, network, averaged, optimizer, {"randomness": randomness})
        for step in range(state.load(), asked.steps.steps):
            private.noise, rng = (np.random.default_rng([state.kept["randomness"], step, part]) for part in range(2))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step / asked.steps.steps)
            coins = rng.random(count + (len(canaries.rows) if canaries else 0)) < asked.steps.sampling_rate
            drawn = canaries.rows[coins[count:]] if canaries else None
            parts = _parts(np.flatnonzero(coins[:count]), drawn, at_once)
            for number, (rows, mine) in enumerate(parts, 1):
                private.zero_grad(set_to_none=True)
                _leave(gradients, wrapped, rows, rng)
                if canaries is not None:
                    canaries.join(own, mine)
                private.signal_skip_step(do_skip=number < len(parts))
                private.step()
            if canaries is not None:
                canaries.look()
            if averaged is not None:
                averaged.update_parameters(network)
            state.save(step + 1)
            progress("training with noise", (step + 1) / asked.steps.steps)
        wrapped.remove_hooks()
        state.remove()
    for parameter in own:
        parameter.grad = None
        for name in ("grad_sample", "summed_grad"):
            if hasattr(parameter, name):
                delattr(parameter, name)


def _parts(
    rows: NDArray[np.int64], drawn: NDArray[np.int64] | None, at_once: int | None
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Images and canaries of a step, some of each at a time: the canaries are spread over all parts, so that each part
    is seen to be cut.
    """
    nobody = rows[:0]
    own = np.array_split(rows, -(-len(rows) // at_once) if at_once and len(rows) else 1)
    if drawn is None or not len(drawn):
        return [(part, nobody) for part in own]
    count = max(len(own), -(-len(drawn) // _CANARIES_AT_ONCE))
    own += [nobody] * (count - len(own))
    return list(zip(own, np.array_split(drawn, count), strict=True))


def _leave(gradients: Gradients, wrapped: nn.Module, rows: NDArray[np.int64], rng: np.random.Generator) -> None:
    if len(rows):
        gradients(wrapped, rows, rng)
        _check_sum(wrapped)
        return
    for parameter in wrapped.parameters():  # no coin fell on any image: then noise alone
        parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))  # type: ignore[attr-defined]


def _check_sum(wrapped: nn.Module) -> None:
    """The gradients of the images add up to the gradient, or they are not those of the images."""
    missing = whole = 0.0
    for parameter in wrapped.parameters():
        if parameter.grad is not None:
            missing += float((parameter.grad_sample.sum(0) - parameter.grad).square().sum())  # type: ignore[attr-defined]
            whole += float(parameter.grad.square().sum())
    if missing > _ROUNDING**2 * whole:
        share = (missing / whole) ** 0.5
        raise RuntimeError(f"the gradients of the images miss {share:.0%} of the gradient of the batch")


@contextmanager
def _contiguous(network: nn.Module) -> Iterator[None]:
    """Inputs of convolutions in the usual order of memory: in another one (channels last), Opacus 1.6 cuts its windows
    from the wrong places.
    """
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: tuple(one.contiguous() for one in inputs))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _quiet_hooks() -> Iterator[None]:
    """Without torch's warning that the first layer's inputs need no gradient: nobody asks for one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        yield
