"""What the private statistics are of: an image's mean activations and mean squared activations under a network with
GroupNorm, as one vector of limited length; and their noisy sums, class by class.

Each GroupNorm layer's input is taken after its own normalisation, before its factors: the mean square over a group is 1
by construction, so that few vectors are as long as the limit, whatever the weights are.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from privaudit.images import Images
from privaudit.learning import Network
from privaudit.learning.batches import as_float

_ROWS = 256


def cut(vectors: Tensor, length: float) -> Tensor:
    """The vectors [N, size], those that are longer made `length` long."""
    norms: Tensor = vectors.norm(dim=1, keepdim=True)
    return vectors * (length / norms.clamp_min(length))


class Embedding:
    """Vectors of images under a network. length: the longest that a vector may be; longer ones are cut to it."""

    def __init__(self, network: Network, length: float, device: str) -> None:
        self.network = network.to(device).eval().requires_grad_(False)
        self.length, self.device = length, device
        self._layers = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
        self.size = 2 * sum(layer.num_channels for layer in self._layers)
        self._parts: list[Tensor] = []
        self._hooks = [layer.register_forward_pre_hook(self._note) for layer in self._layers]

    def _note(self, layer: nn.GroupNorm, inputs: tuple[Tensor, ...]) -> None:
        plain = functional.group_norm(inputs[0], layer.num_groups, eps=layer.eps).flatten(2)
        self._parts += [plain.mean(2), plain.square().mean(2)]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [N, size] no longer than `length`, and logits, of images [N, C, H, W] in [0, 1]."""
        self._parts = []
        logits = self.network(images)
        vectors = torch.cat(self._parts, 1) / self.size**0.5
        self._parts = []
        return cut(vectors, self.length), logits

    def __enter__(self) -> Embedding:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()


@dataclass(frozen=True, eq=False)
class NoisySums:
    """sums: [classes, size], of the vectors over `length`, with noise. counts: [classes], noisy numbers of images."""

    sums: Tensor
    counts: Tensor

    @property
    def means(self) -> Tensor:
        """Mean vector of each class, over `length`; counts below one are taken for one."""
        return self.sums / self.counts.clamp_min(1)[:, None]


def exact_sums(embedding: Embedding, images: Images, classes: int) -> Tensor:
    """Sums over each class of (vector / length, 1) / sqrt(2), float64 [classes, size + 1]: an image adds a vector of
    length 1 at most to one row.
    """
    total = torch.zeros(classes, embedding.size + 1, dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(images), _ROWS):
            part = images.take(slice(start, start + _ROWS))
            vectors, _ = embedding(as_float(part.pixels, embedding.device))
            total.index_add_(0, torch.from_numpy(np.array(part.labels)), contributions(vectors, embedding.length))
    return total


def contributions(vectors: Tensor, length: float) -> Tensor:
    """What images with these vectors add to the sums of their classes, float64 [N, size + 1]."""
    return functional.pad(vectors.cpu().double() / length, (0, 1), value=1.0) / 2**0.5


def noisy_sums(exact: Tensor, noise_multiplier: float, rng: np.random.Generator) -> NoisySums:
    """With Gaussian noise on every component of every row; the sums' sensitivity to one image is 1."""
    noisy = exact + noise_multiplier * torch.from_numpy(rng.standard_normal(exact.shape))
    return NoisySums(noisy[:, :-1] * 2**0.5, noisy[:, -1] * 2**0.5)
