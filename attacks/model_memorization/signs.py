"""Hidden in the signs of the weights, by a penalty on weights of the wrong sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attacks.model_memorization.encoder import Carrier, Host, replace_weights, weight_count, weight_vector
from privaudit.attacks.model_memorization.quantisation import from_bits, grey_values, quantised, to_bits
from privaudit.images import Images
from privaudit.learning import Network


def wrong_signs(weights: Tensor, signs: Tensor) -> Tensor:
    """Mean of max(0, -sign * weight): how far weights are on the wrong side of zero, a scalar."""
    return (-signs * weights).clamp_min(0).mean()


@dataclass(frozen=True)
class Signs:
    """The sign of each weight is one bit (Song et al. 2017, section 4.3). bits: per value. strength: of the penalty.

    Added to the publication: the training starts from random weights that have their signs already, so that the penalty
    need not carry half of them over zero, but only hold them; weights that end on the wrong side are set to zero, which
    has a sign too.
    """

    bits: int
    strength: float

    def capacity(self, network: Network) -> int:
        """One bit of each weight; biases and BatchNorm are left alone."""
        return weight_count(network) // self.bits

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """The host trained with the penalty; counts the bits that came out right before the last weights were set."""
        bits = to_bits(quantised(values, self.bits), self.bits)
        signs = torch.from_numpy(np.where(bits, 1, -1).astype(np.float32)).to(host.device)
        start = host.untrained()
        replace_weights(start, weight_vector(start, len(bits)).detach().abs() * signs.cpu())
        network = host.trained(
            lambda trained: self.strength * wrong_signs(weight_vector(trained, len(signs)), signs), start=start
        )
        held = self._signs(network, len(bits)) == bits
        weights = weight_vector(network, len(bits)).detach().cpu()
        replace_weights(network, torch.where(torch.from_numpy(held), weights, 0 * signs.cpu()))
        return Carrier(network, {"hidden bits right by training": (int(held.sum()), len(bits))})

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The values whose bits the signs are."""
        return grey_values(from_bits(self._signs(network, count * self.bits), self.bits), self.bits)

    def _signs(self, network: Network, count: int) -> NDArray[np.bool_]:
        # float16 makes zeros of very small weights, but leaves them their sign.
        found: NDArray[np.bool_] = ~torch.signbit(weight_vector(network, count)).cpu().numpy()
        return found
