"""Several copies of everything that is hidden, so that damage to one of them does not matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.attacks.model_memorization.encoder import Carrier, Encoder, Host
from privaudit.images import Images
from privaudit.learning import Network


@dataclass(frozen=True)
class Repeated:
    """Values are hidden `copies` times, one whole after the other; the reader takes the median of each."""

    encoder: Encoder
    copies: int

    def capacity(self, network: Network) -> int:
        """What a single copy may take."""
        return self.encoder.capacity(network) // self.copies

    def hide(self, values: NDArray[np.float32], host: Host) -> Carrier:
        """A network that holds all copies."""
        return self.encoder.hide(np.tile(values, self.copies), host)

    def readings(self, network: Network, count: int, reference: Images | None) -> list[NDArray[np.float32]]:
        """The medians over the copies, for each reading of the encoder."""
        found = self.encoder.readings(network, count * self.copies, reference)
        return [np.median(values.reshape(self.copies, count), axis=0).astype(np.float32) for values in found]
