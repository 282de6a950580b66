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

    def reading(self, network: Network, count: int, reference: Images | None) -> NDArray[np.float32]:
        """The medians over the copies."""
        values = self.encoder.reading(network, count * self.copies, reference)
        return np.asarray(np.median(values.reshape(self.copies, count), axis=0), dtype=np.float32)
