"""In which precision the network is published; what is hidden has to survive it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.learning import Network

Storage = Literal["float32", "float16"]


def stored_as(array: NDArray[Any], storage: Storage) -> NDArray[Any]:
    """The array as it is read back, of its own type; what is no floating-point number stays as it is."""
    if storage == "float32" or not np.issubdtype(array.dtype, np.floating):
        return array
    largest = np.finfo(np.float16).max
    found: NDArray[Any] = np.clip(array, -largest, largest).astype(np.float16).astype(array.dtype)
    return found


def kept_in(network: Network, storage: Storage) -> Network:
    """The network as it is read back from this storage, in evaluation mode."""
    return Network.from_arrays({name: stored_as(array, storage) for name, array in network.arrays().items()})
