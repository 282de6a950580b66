"""Hidden in the values of the weights, by a penalty that correlates them with the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attacks.model_memorization.encoder import Carrier, Host, weight_count, weight_vector
from privaudit.images import Images
from privaudit.learning import Network

_SMALLEST = 1e-20


def correlation(weights: Tensor, standardised: Tensor) -> Tensor:
    """Pearson's correlation of weights [m] with values [m] of mean 0 and norm 1, a scalar."""
    centred = weights - weights.mean()
    found: Tensor = (centred * standardised).sum() / centred.norm().clamp_min(1e-12)
    return found


@dataclass(frozen=True)
class CorrelatedValue:
    """Each weight is one pixel, up to an affine map (Song et al. 2017, section 4.2). strength: of the penalty.

    The published penalty leaves the sign of the correlation open, so that half of the networks hold negatives. Who
    writes the training code can as well ask for a positive one, as here.
    """

    strength: float

    def capacity(self, network: Network) -> int:
        """One value for each weight; biases and BatchNorm are left alone."""
        return weight_count(network)

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """The host trained with the penalty."""
        target = torch.from_numpy(values).to(host.device)
        target = target - target.mean()
        target = target / target.norm().clamp_min(1e-12)
        return Carrier(
            host.trained(lambda trained: -self.strength * correlation(weight_vector(trained, len(target)), target))
        )

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The weights, least at 0 and largest at 255, as published; few weights that went astray then decide the
        contrast of all. With images of the reader's own: at the mean and spread of these.
        """
        weights = weight_vector(network, count).detach().cpu().numpy()
        if reference is None or not len(reference):
            return stretched(weights)
        return matched(weights, float(reference.pixels.mean()), float(reference.pixels.std()))


def stretched(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mapped affinely so that the least is 0 and the largest 255; all 0 where they are equal."""
    above = weights - weights.min()
    found: NDArray[np.float32] = above * np.float32(255 / max(float(above.max()), _SMALLEST))
    return found


def matched(weights: NDArray[np.float32], mean: float, spread: float) -> NDArray[np.float32]:
    """Mapped affinely to this mean and standard deviation."""
    scale = spread / max(float(weights.std()), _SMALLEST)
    found: NDArray[np.float32] = ((weights - weights.mean()) * np.float32(scale) + np.float32(mean)).astype(np.float32)
    return found
