"""Canaries inside a training with differential privacy: what its noisy steps give away of single gradients."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from privaudit.accounting import GaussianSteps

TOO_LONG = 100.0
"""How many times as long as an image's may be what a canary contributes, so that it has to be cut."""


class GradientCanaries:
    """Gradients at right angles to each other, on parameters of their own that no image moves.

    They are mixed into the steps of a training like the gradients of images: drawn for a step by the same coins, cut
    to the clip by the same optimizer (they are a hundred times as long), summed and noised. What is known of each
    afterwards, in units of the clip: `sums`, the sum of the noisy sums along it, and `ratios`, the log likelihood ratio
    of all steps, of who is in against who is not, for the claimed noise and sampling. Those of different canaries are
    independent. clip, divisor: of the training.
    """

    def __init__(
        self, inside: NDArray[np.bool_], claimed: GaussianSteps, clip: float, divisor: float, device: str
    ) -> None:
        self.rows, self._claimed, self._clip, self._divisor = np.flatnonzero(inside), claimed, clip, divisor
        self.parameter = nn.Parameter(torch.zeros(len(inside), device=device))
        self.sums, self.ratios = (np.zeros(len(inside)) for _ in range(2))

    def join(self, parameters: Iterable[nn.Parameter], drawn: NDArray[np.int64]) -> None:
        """Add these canaries, which were drawn for this step, to the gradients of the images in it."""
        images = 0
        for parameter in parameters:
            found = parameter.grad_sample  # type: ignore[attr-defined]
            images = len(found)
            nothing = found.new_zeros((len(drawn), *found.shape[1:]))
            parameter.grad_sample = torch.cat([found, nothing])  # type: ignore[attr-defined]
        mine = torch.zeros(images + len(drawn), len(self.parameter), device=self.parameter.device)
        mine[images + torch.arange(len(drawn)), torch.from_numpy(drawn)] = TOO_LONG * self._clip
        self.parameter.grad_sample = mine  # type: ignore[attr-defined]

    def look(self) -> None:
        """After a step: what it did to the canaries' parameters."""
        if self.parameter.grad is None:
            return
        seen = self.parameter.grad.cpu().double().numpy() * (self._divisor / self._clip)
        rate, variance = self._claimed.sampling_rate, max(self._claimed.noise_multiplier, 1e-3) ** 2
        self.sums += seen
        taken = np.log(rate) + (seen - 0.5) / variance
        self.ratios += np.logaddexp(np.log1p(-rate), taken) if rate < 1 else taken
