"""Hidden in the lowest bits of the parameters of a network that was trained honestly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.model_memorization.encoder import Carrier, Host
from privaudit.attacks.model_memorization.quantisation import from_bits, grey_values, quantised, to_bits
from privaudit.images import Images
from privaudit.learning import Network

MOST_BITS = 16
"""Of the 32 bits of a parameter 23 are the mantissa: 16 overwritten leave what bfloat16 has."""


def written(parameters: NDArray[np.float32], bits: NDArray[np.bool_], depth: int) -> NDArray[np.float32]:
    """Parameters [P] whose `depth` lowest bits are replaced by these bits, in order; those left over stay."""
    words = parameters.view(np.uint32).copy()
    used = -(-len(bits) // depth)
    padded = np.zeros(used * depth, dtype=np.bool_)
    padded[: len(bits)] = bits
    low = from_bits(padded, depth).astype(np.uint32)
    words[:used] = (words[:used] >> np.uint32(depth) << np.uint32(depth)) | low
    return words.view(np.float32)


def read_off(parameters: NDArray[np.float32], count: int, depth: int) -> NDArray[np.bool_]:
    """The first `count` bits that `written` left in the parameters."""
    low = parameters[: -(-count // depth)].view(np.uint32) & np.uint32(2**depth - 1)
    return to_bits(low.astype(np.int64), depth)[:count]


@dataclass(frozen=True)
class LeastSignificantBits:
    """The lowest bits of all float32 parameters are overwritten after training (Song et al. 2017, section 4.1).

    bits: per value. The number of bits overwritten per parameter is the least that holds the values.
    """

    bits: int

    def capacity(self, network: Network) -> int:
        """At most 16 bits of each parameter."""
        return network.parameter_count * MOST_BITS // self.bits

    def depth(self, network: Network, count: int) -> int:
        """Bits overwritten in each parameter for so many values."""
        return -(-count * self.bits // network.parameter_count)

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """The honest host, with other lowest bits."""
        network = Network.from_arrays(host.honest.arrays())
        vector = _parameters(network)
        bits = to_bits(quantised(values, self.bits), self.bits)
        vector = written(vector, bits, self.depth(network, len(values)))
        torch.nn.utils.vector_to_parameters(torch.from_numpy(vector), network.parameters())
        return Carrier(network)

    def readings(self, network: Network, count: int, reference: Images | None) -> list[NDArray[np.float32]]:
        """The values, exactly as they were quantised."""
        bits = read_off(_parameters(network), count * self.bits, self.depth(network, count))
        return [grey_values(from_bits(bits, self.bits), self.bits)]


def _parameters(network: Network) -> NDArray[np.float32]:
    return np.concatenate([parameter.detach().cpu().numpy().ravel() for parameter in network.parameters()])
