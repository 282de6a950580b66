"""The victim's half: a network trained on the release, and the gradients of some batches of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attacks.gradient_matching.gradients import BatchNormMode, Observed, prepared
from privaudit.attacks.gradient_matching.sending import (
    ONE_GRADIENT,
    Sending,
    batch_statistics,
    local_update,
    named_statistics,
    private_gradient,
)
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network
from privaudit.learning.batches import as_float

_NETWORK = "network "
_GRADIENT = "gradient "
_STATISTICS = "statistics "
LABELS = "labels of batches"


def exposed(
    network: Network,
    images: Images,
    batch_size: int,
    mode: BatchNormMode,
    device: str,
    sending: Sending = ONE_GRADIENT,
    noise_seed: int = 0,
) -> dict[str, NDArray[Any]]:
    """What the attacker gets to see: the network, the gradient of each batch, and how large batches and images are.

    images: of all victims, `batch_size` of each after one another. sending: how a gradient is made. noise_seed: of the
    noise of a defence. Raises InputError where a gradient is not finite.
    """
    double = sending.precision == "float64"
    device = "cpu" if double else device
    ready = prepared(network, mode, device).to(torch.float64 if double else torch.float32)
    noise = torch.Generator().manual_seed(noise_seed)
    gradients: dict[str, list[NDArray[Any]]] = {name: [] for name, _ in ready.named_parameters()}
    statistics = []
    for start in range(0, len(images), batch_size):
        batch = images.take(slice(start, start + batch_size))
        pixels = _double(batch.pixels) if double else as_float(batch.pixels, device)
        standardised = (pixels - ready.mean[:, None, None]) / ready.std[:, None, None]
        found = _sent(ready, standardised, torch.from_numpy(batch.labels).to(device), sending, noise)
        for kept, gradient in zip(gradients.values(), found, strict=True):
            kept.append(gradient.cpu().numpy())
        if sending.statistics:
            with torch.no_grad():
                statistics.append(batch_statistics(ready, standardised))
    arrays: dict[str, NDArray[Any]] = {f"{_GRADIENT}{name}": np.stack(kept) for name, kept in gradients.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(
            f"The gradients of '{network.architecture.name}' are not finite: its training diverged. Choose fewer "
            "epochs, or a smaller local_learning_rate where there are several local_steps."
        )
    if statistics:
        named = named_statistics(statistics)
        arrays |= {f"{_STATISTICS}{name}": sent.float().cpu().numpy() for name, sent in named.items()}
    arrays |= {f"{_NETWORK}{name}": array for name, array in network.arrays().items()}
    return arrays | {"batch size": np.asarray(batch_size), "image size": np.asarray(images.size)}


def _double(pixels: NDArray[np.uint8]) -> Tensor:
    """uint8 NHWC to float64 NCHW in [0, 1], on the CPU."""
    return torch.from_numpy(pixels.astype(np.float64)).permute(0, 3, 1, 2) / 255


def _sent(
    network: Network, images: Tensor, labels: Tensor, sending: Sending, noise: torch.Generator
) -> Sequence[Tensor]:
    if sending.clip_norm is not None:
        return private_gradient(network, images, labels, sending.clip_norm, sending.noise_multiplier, noise)
    return local_update(network, images, labels, sending.local_steps, sending.local_learning_rate)


def observed(
    arrays: Mapping[str, NDArray[Any]], mode: BatchNormMode, device: str, sending: Sending = ONE_GRADIENT
) -> Observed:
    """What `exposed` gave, as the attacker holds it."""

    def starting(prefix: str) -> dict[str, NDArray[Any]]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(device)

    network = prepared(Network.from_arrays(starting(_NETWORK)), mode, device)
    gradients = starting(_GRADIENT)
    height, width, channels = (int(length) for length in arrays["image size"])
    return Observed(
        network,
        {name: tensor(gradients[name]) for name, _ in network.named_parameters()},
        int(arrays["batch size"]),
        (height, width, channels),
        mode,
        sending.local_steps,
        sending.local_learning_rate,
        {name: tensor(array) for name, array in starting(_STATISTICS).items()},
        tensor(arrays[LABELS]) if LABELS in arrays else None,
    )
