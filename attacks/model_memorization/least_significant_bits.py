"""Hidden in the lowest bits of the parameters of a network that was trained honestly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.model_memorization.encoder import Carrier, Host
from privaudit.attacks.model_memorization.quantisation import from_bits, grey_values, quantised, to_bits
from privaudit.attacks.model_memorization.storage import Storage
from privaudit.images import Images
from privaudit.learning import Network

MOST_BITS: dict[Storage, int] = {"float32": 16, "float16": 5}
"""Of the 23 bits of float32's mantissa 7 are left, as in bfloat16; of float16's 10 bits 5 are left."""

_TYPES: dict[Storage, Any] = {"float32": np.float32, "float16": np.float16}


def words(parameters: NDArray[Any]) -> NDArray[Any]:
    """Floating-point numbers as the unsigned integers of their bits."""
    return parameters.view(np.dtype(f"u{parameters.dtype.itemsize}"))


def written(parameters: NDArray[Any], bits: NDArray[np.bool_], depth: int) -> NDArray[Any]:
    """Parameters [P] whose `depth` lowest bits are replaced by these bits, in order; those left over stay."""
    found = words(parameters).copy()
    used = -(-len(bits) // depth)
    padded = np.zeros(used * depth, dtype=np.bool_)
    padded[: len(bits)] = bits
    shift = found.dtype.type(depth)
    found[:used] = (found[:used] >> shift << shift) | from_bits(padded, depth).astype(found.dtype)
    return found.view(parameters.dtype)


def read_off(parameters: NDArray[Any], count: int, depth: int) -> NDArray[np.bool_]:
    """The first `count` bits that `written` left in the parameters."""
    low = words(parameters[: -(-count // depth)]).astype(np.int64) & (2**depth - 1)
    return to_bits(low, depth)[:count]


@dataclass(frozen=True)
class LeastSignificantBits:
    """The lowest bits of all parameters are overwritten after training (Song et al. 2017, section 4.1).

    bits: per value. storage: the precision whose lowest bits are used, that in which the network is published; float16
    has few bits for numbers near zero, which are passed over. The number of bits overwritten per parameter is the least
    that holds the values.
    """

    bits: int
    storage: Storage = "float32"

    def capacity(self, network: Network) -> int:
        """At most 16 bits of each parameter in float32, 5 in float16."""
        return int(self._usable(self._parameters(network)).sum()) * MOST_BITS[self.storage] // self.bits

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """The honest host, with other lowest bits."""
        network = Network.from_arrays(host.honest.arrays())
        vector = self._parameters(network)
        usable = self._usable(vector)
        bits = to_bits(quantised(values, self.bits), self.bits)
        vector[usable] = written(vector[usable], bits, self._depth(usable, len(values)))
        torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.astype(np.float32)), network.parameters())
        return Carrier(network)

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The values, exactly as they were quantised."""
        vector = self._parameters(network)
        usable = self._usable(vector)
        bits = read_off(vector[usable], count * self.bits, self._depth(usable, count))
        return grey_values(from_bits(bits, self.bits), self.bits)

    def _depth(self, usable: NDArray[np.bool_], count: int) -> int:
        """Bits overwritten in each parameter for so many values."""
        return -(-count * self.bits // int(usable.sum()))

    def _parameters(self, network: Network) -> NDArray[Any]:
        found = np.concatenate([parameter.detach().cpu().numpy().ravel() for parameter in network.parameters()])
        largest = np.finfo(_TYPES[self.storage]).max
        clipped: NDArray[Any] = np.clip(found, -largest, largest).astype(_TYPES[self.storage])
        return clipped

    def _usable(self, parameters: NDArray[Any]) -> NDArray[np.bool_]:
        """Numbers whose exponent tells that all bits of the mantissa count; overwriting low bits leaves it as it is."""
        if self.storage == "float32":
            return np.ones(len(parameters), dtype=np.bool_)
        found: NDArray[np.bool_] = np.abs(parameters) >= np.finfo(parameters.dtype).smallest_normal
        return found
