"""The generator and discriminator of a deep convolutional GAN (Radford, Metz, Chintala 2016, arXiv 1511.06434)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LATENT = 64
"""Numbers in a latent."""

_SMALLEST = 4
_WIDEST = 256


def doublings(height: int, width: int) -> int:
    """How often the generator doubles its maps; they start with at least four pixels a side. From 8 px a side on."""
    return max(1, int(math.log2(min(height, width) / _SMALLEST)))


def _maps(count: int, first: int) -> list[int]:
    """Maps per layer, from the images inwards."""
    return [min(_WIDEST, first * 2**place) for place in range(count)]


class Generator(nn.Module):
    """Latents [N, LATENT] to images [N, C, H, W] in [0, 1], by transposed 4x4 convolutions of stride 2.

    What they make is cropped in the middle where a side is no multiple of their factor. size: height, width, channels.
    """

    def __init__(self, size: tuple[int, int, int], width: int = 32) -> None:
        super().__init__()
        self.height, self.width, channels = size
        count = doublings(self.height, self.width)
        factor = 2**count
        maps = _maps(count, width)
        self.start = (maps[-1], math.ceil(self.height / factor), math.ceil(self.width / factor))
        self.project = nn.Linear(LATENT, math.prod(self.start), bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(maps[-1]), nn.ReLU()]
        for inner, outer in zip(maps[:0:-1], maps[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(maps[0], channels, 4, 2, 1), nn.Tanh())
        _draw_weights(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Images [N, C, H, W] in [0, 1]."""
        made: Tensor = self.layers(self.project(latents).unflatten(1, self.start))
        top, left = (made.shape[2] - self.height) // 2, (made.shape[3] - self.width) // 2
        return (made[:, :, top : top + self.height, left : left + self.width] + 1) / 2

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All weights and buffers by name."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]], size: tuple[int, int, int]) -> Generator:
        """The generator of images of this size that `arrays` came from, in evaluation mode."""
        last = max((name for name in arrays if name.endswith("weight") and arrays[name].ndim == 4), key=_place)
        generator = Generator(size, width=arrays[last].shape[0])
        generator.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        return generator.eval()


def _place(name: str) -> int:
    return int(name.split(".")[1])


class Discriminator(nn.Module):
    """Images [N, C, H, W] in [0, 1] to one logit each, [N]: how sure it is that an image is real."""

    def __init__(self, size: tuple[int, int, int], width: int = 32) -> None:
        super().__init__()
        height, wide, channels = size
        layers: list[nn.Module] = []
        for place, maps in enumerate(_maps(doublings(height, wide), width)):
            layers.append(nn.Conv2d(channels, maps, 4, 2, 1, bias=False))
            layers += [nn.BatchNorm2d(maps)] if place else []
            layers.append(nn.LeakyReLU(0.2))
            channels = maps
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(1))
        with torch.no_grad():
            self.eval()(torch.zeros(1, size[2], height, wide))
        self.train()
        _draw_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N]."""
        logits: Tensor = self.layers(images * 2 - 1)
        return logits.squeeze(1)


def _draw_weights(module: nn.Module) -> None:
    """Weights from N(0, 0.02), factors of BatchNorm from N(1, 0.02), as in the paper."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight, 1, 0.02)
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, 0, 0.02)


def random_latents(count: int, rng: np.random.Generator, device: str) -> Tensor:
    """Standard normal latents [count, LATENT]."""
    return torch.from_numpy(rng.standard_normal((count, LATENT), dtype=np.float32)).to(device)
