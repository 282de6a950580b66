"""Training with differential privacy: DP-SGD (Abadi et al. 2016, arXiv 1607.00133), by Opacus."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from privaudit.accounting import GaussianSteps
from privaudit.attack import Progress, no_progress
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.augmentation import augment
from privaudit.learning.batches import as_float
from privaudit.learning.networks import Architecture, Network
from privaudit.learning.training import seeded

TOO_LONG = 100.0
"""How many times as long as an image's may be what a canary contributes, so that it has to be cut."""


@dataclass(frozen=True)
class PrivateTraining:
    """DP-SGD: in each step every image takes part by a coin of its own, its gradient is cut to a norm, the sum gets
    noise, and is divided by a number that does not depend on the images.

    clip: largest norm of a gradient. divisor: about the expected number of images in a step, and public.
    """

    steps: GaussianSteps
    clip: float
    divisor: float
    learning_rate: float
    crop: int = 0
    flip: bool = False


class GradientCanaries:
    """Gradients at right angles to each other, on parameters of their own that no image moves.

    They are mixed into the steps of a training like the gradients of images: drawn for a step by the same coins, cut
    to the clip by the same optimizer (they are a hundred times as long), summed and noised. What is known of each
    afterwards, in units of the clip: `sums`, the sum of the noisy sums along it, and `ratios`, the log likelihood ratio
    of all steps, of who is in against who is not, for the claimed noise and sampling. Those of different canaries are
    independent.
    """

    def __init__(self, inside: NDArray[np.bool_], claimed: GaussianSteps, asked: PrivateTraining, device: str) -> None:
        self.rows, self._claimed, self._asked = np.flatnonzero(inside), claimed, asked
        self.parameter = nn.Parameter(torch.zeros(len(inside), device=device))
        self.sums, self.ratios = (np.zeros(len(inside)) for _ in range(2))

    def join(self, parameters: Iterable[nn.Parameter], drawn: NDArray[np.int64]) -> None:
        """Add the canaries drawn for this step to the gradients of the images in it."""
        images = 0
        for parameter in parameters:
            found = parameter.grad_sample  # type: ignore[attr-defined]
            images = len(found)
            nothing = found.new_zeros((len(drawn), *found.shape[1:]))
            parameter.grad_sample = torch.cat([found, nothing])  # type: ignore[attr-defined]
        mine = torch.zeros(images + len(drawn), len(self.parameter), device=self.parameter.device)
        mine[images + torch.arange(len(drawn)), torch.from_numpy(drawn)] = TOO_LONG * self._asked.clip
        self.parameter.grad_sample = mine  # type: ignore[attr-defined]

    def look(self) -> None:
        """After a step: what it did to the canaries' parameters."""
        if self.parameter.grad is None:
            return
        seen = self.parameter.grad.cpu().double().numpy() * (self._asked.divisor / self._asked.clip)
        rate, variance = self._claimed.sampling_rate, max(self._claimed.noise_multiplier, 1e-3) ** 2
        self.sums += seen
        taken = np.log(rate) + (seen - 0.5) / variance
        self.ratios += np.logaddexp(np.log1p(-rate), taken) if rate < 1 else taken


def check_private(network: nn.Module) -> None:
    """Raises InputError where a layer mixes the images of a batch, so that no gradient is that of one image."""
    mixing = [name for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if mixing:
        raise InputError(
            f"A network with BatchNorm ({mixing[0]}) cannot be trained with differential privacy: each image moves the "
            "gradients of all others. Choose convnet-groupnorm, lenet or mlp."
        )


def train_privately(
    architecture: Architecture,
    asked: PrivateTraining,
    images: Images,
    *,
    start: int,
    randomness: int,
    device: str = "cpu",
    progress: Progress = no_progress,
    canaries: GradientCanaries | None = None,
) -> Network:
    """A network trained from scratch, in evaluation mode, on the CPU; its inputs are standardised by constants.

    start: seed of the first weights, which may be known. randomness: seed of coins and noise: whoever knows it can take
    the noise away again. canaries: mixed into every step, for an audit. Raises InputError for networks with BatchNorm.
    """
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer

    with seeded(start):
        network = Network(architecture)
    check_private(network)
    rng = np.random.default_rng(randomness)
    noise = torch.Generator(device=device).manual_seed(int(rng.integers(2**62)))
    network.to(device).train()
    with _quiet_hooks():
        wrapped = GradSampleModule(network)
        own = list(network.parameters())
        optimizer = DPOptimizer(
            torch.optim.SGD([*own, *([canaries.parameter] if canaries else [])], lr=asked.learning_rate, momentum=0.9),
            noise_multiplier=asked.steps.noise_multiplier,
            max_grad_norm=asked.clip,
            expected_batch_size=asked.divisor,
            generator=noise,
        )
        for step in range(asked.steps.steps):
            for group in optimizer.param_groups:
                group["lr"] = asked.learning_rate * (1 + np.cos(np.pi * step / asked.steps.steps)) / 2
            coins = rng.random(len(images) + (len(canaries.rows) if canaries else 0)) < asked.steps.sampling_rate
            rows = np.flatnonzero(coins[: len(images)])
            optimizer.zero_grad(set_to_none=True)
            _gradients(wrapped, images.take(rows), asked, rng, device)
            if canaries is not None:
                canaries.join(own, canaries.rows[coins[len(images) :]])
            optimizer.step()
            if canaries is not None:
                canaries.look()
            progress("training with noise", (step + 1) / asked.steps.steps)
        wrapped.remove_hooks()
    for parameter in network.parameters():
        parameter.grad = None
        for name in ("grad_sample", "summed_grad"):
            if hasattr(parameter, name):
                delattr(parameter, name)
    return network.cpu().eval()


def _gradients(
    wrapped: nn.Module, images: Images, asked: PrivateTraining, rng: np.random.Generator, device: str
) -> None:
    """Leave the gradient of each image in `grad_sample`; of no image where no coin fell on any: then noise alone."""
    if not len(images):
        for parameter in wrapped.parameters():
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))  # type: ignore[attr-defined]
        return
    batch = augment(as_float(images.pixels, device), asked.crop, asked.flip, rng)
    loss = functional.cross_entropy(wrapped(batch.contiguous()), torch.from_numpy(images.labels).to(device))
    loss.backward()  # type: ignore[no-untyped-call]


@contextmanager
def _quiet_hooks() -> Iterator[None]:
    """Without torch's warning that the first layer's inputs need no gradient: nobody asks for one."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        yield
