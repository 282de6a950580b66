"""The optimizer of a training with differential privacy."""

from __future__ import annotations

import numpy as np
import torch
from opacus.optimizers import DPOptimizer


class NoisyOptimizer(DPOptimizer):  # type: ignore[misc]
    """Opacus' optimizer, which cuts gradients and sums them, with noise from a generator of numpy.

    Torch's own generator on the CPU uses 32 bits of its seed: whoever sees a noisy sum could try all of them.
    """

    noise: np.random.Generator

    def add_noise(self) -> None:
        """Gaussian noise onto the sum of every parameter, of the noise multiplier times the clip."""
        for parameter in self.params:
            drawn = self.noise.standard_normal(parameter.summed_grad.shape) * self.noise_multiplier * self.max_grad_norm
            noise = torch.from_numpy(drawn).to(parameter.summed_grad)
            parameter.grad = (parameter.summed_grad + noise).view_as(parameter)
