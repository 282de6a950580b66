"""What a network says about images, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.batches import as_float, seen
from privaudit.learning.networks import Network, last_linear
from privaudit.views import Views

_CHUNK_PIXELS = 2**20


def _chunks(images: Images) -> Iterator[slice]:
    size = max(1, _CHUNK_PIXELS // (images.size[0] * images.size[1]))
    for start in range(0, len(images), size):
        yield slice(start, min(start + size, len(images)))


def logits(network: Network, images: Images, device: str = "cpu") -> NDArray[np.float32]:
    """Logits [N, classes] in evaluation mode, float32."""
    network.to(device).eval()
    with torch.inference_mode():
        parts = [network(as_float(images.pixels[rows], device)).float().cpu().numpy() for rows in _chunks(images)]
    return np.concatenate(parts)


def probabilities(
    network: Network, images: Images, views: Views | None = None, temperature: float = 1.0, device: str = "cpu"
) -> NDArray[np.float32]:
    """Softmax of the logits over the temperature, [N, classes]; with views, of each image through each of them,
    [N, views, classes].
    """
    if views is None:
        return _softmax(logits(network, images, device), temperature)
    network.to(device).eval()
    found = np.empty((len(images), len(views), network.architecture.classes), dtype=np.float32)
    with torch.inference_mode():
        for chunk in _chunks(images):
            rows = np.arange(chunk.start, chunk.stop)
            for number, view in enumerate(views):
                through = seen(images, rows, np.broadcast_to(view, (len(rows), len(view))), device)
                found[chunk, number] = network(through).float().cpu().numpy()
    return _softmax(found, temperature)


def _softmax(values: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    found: NDArray[np.float32] = (torch.from_numpy(values) / temperature).softmax(-1).numpy()
    return found


def accuracy(network: Network, images: Images, device: str = "cpu") -> float:
    """Share of images whose label has the largest logit."""
    return float((logits(network, images, device).argmax(1) == images.labels).mean())


def features(network: Network, images: Images, device: str = "cpu") -> NDArray[np.float32]:
    """What the last linear layer receives, [N, features], float32."""
    linear = last_linear(network)
    if linear is None:
        raise InputError(f"The network '{network.architecture.name}' ends in no linear layer, so it has no features.")
    kept: list[Tensor] = []
    handle = linear.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0].float().cpu()))
    try:
        logits(network, images, device)
    finally:
        handle.remove()
    return torch.cat(kept).numpy()
