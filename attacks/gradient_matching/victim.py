"""The victim's half: a network trained on the release, and the gradients of some batches of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.gradient_matching.gradients import BatchNormMode, Observed, batch_gradient, prepared
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network
from privaudit.learning.training import as_float

_NETWORK = "network "
_GRADIENT = "gradient "


def exposed(
    network: Network, images: Images, batch_size: int, mode: BatchNormMode, device: str
) -> dict[str, NDArray[Any]]:
    """What the attacker gets to see: the network, the gradient of each batch, and how large batches and images are.

    images: of all victims, `batch_size` of each after one another. Raises InputError where a gradient is not finite.
    """
    ready = prepared(network, mode, device)
    gradients: dict[str, list[NDArray[np.float32]]] = {name: [] for name, _ in ready.named_parameters()}
    for start in range(0, len(images), batch_size):
        batch = images.take(slice(start, start + batch_size))
        pixels = as_float(batch.pixels, device)
        standardised = (pixels - ready.mean[:, None, None]) / ready.std[:, None, None]
        found = batch_gradient(ready, standardised, torch.from_numpy(batch.labels).to(device))
        for kept, gradient in zip(gradients.values(), found, strict=True):
            kept.append(gradient.float().cpu().numpy())
    arrays = {f"{_GRADIENT}{name}": np.stack(kept) for name, kept in gradients.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(
            f"The gradients of '{network.architecture.name}' are not finite: its training diverged. Choose fewer "
            "epochs."
        )
    named = {f"{_NETWORK}{name}": array for name, array in network.arrays().items()}
    return named | arrays | {"batch size": np.asarray(batch_size), "image size": np.asarray(images.size)}


def observed(arrays: Mapping[str, NDArray[Any]], mode: BatchNormMode, device: str) -> Observed:
    """What `exposed` gave, as the attacker holds it."""

    def starting(prefix: str) -> dict[str, NDArray[Any]]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    network = prepared(Network.from_arrays(starting(_NETWORK)), mode, device)
    gradients = starting(_GRADIENT)
    height, width, channels = (int(length) for length in arrays["image size"])
    return Observed(
        network,
        {name: torch.from_numpy(np.array(gradients[name])).to(device) for name, _ in network.named_parameters()},
        int(arrays["batch size"]),
        (height, width, channels),
        mode,
    )
