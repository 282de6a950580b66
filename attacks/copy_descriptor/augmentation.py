"""Strong random changes of a batch: what a publisher may have done to an image that he copied."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_TURN, _SMALLEST_CROP = 20.0, 0.65
_CHANCE = 0.3
"""Share of the images that get each of the changes but crop, turn and colour, which all get."""


def _some(count: int, rng: np.random.Generator, share: float = _CHANCE) -> Tensor:
    return torch.from_numpy(rng.random(count) < share)[:, None, None, None]


def _between(low: float, high: float, count: int, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.uniform(low, high, count)).float()


def warped(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image [N, C, H, W] cropped to 65 % of the side or more, turned by up to 20 degrees, half of them mirrored.

    A tenth is turned by a quarter more. What lies outside is black.
    """
    count = len(images)
    side = _between(_SMALLEST_CROP, 1, count, rng)
    angle = torch.deg2rad(_between(-_TURN, _TURN, count, rng) * torch.from_numpy(rng.random(count) < 0.5))
    angle = angle + torch.pi / 2 * torch.from_numpy(rng.integers(0, 4, count) * (rng.random(count) < 0.1))
    flip = torch.from_numpy(rng.choice([-1.0, 1.0], count)).float()
    shift = torch.stack([_between(-1, 1, count, rng), _between(-1, 1, count, rng)], 1) * (1 - side)[:, None]
    cosine, sine = torch.cos(angle) * side, torch.sin(angle) * side
    maps = torch.stack([cosine * flip, -sine, shift[:, 0], sine * flip, cosine, shift[:, 1]], 1).reshape(-1, 2, 3)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def recoloured(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Other brightness, contrast and channel gains, in [0, 1]."""
    count, channels = images.shape[:2]
    mean = images.mean((1, 2, 3), keepdim=True)
    contrast = _between(0.6, 1.3, count, rng)[:, None, None, None]
    brightness = _between(-0.15, 0.15, count, rng)[:, None, None, None]
    gains = torch.from_numpy(rng.uniform(0.75, 1.25, (count, channels, 1, 1))).float()
    return (((images - mean) * contrast + mean + brightness) * gains).clamp(0, 1)


def _blurred(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Gaussian blur, radius up to 1.2 px per 32 px of side."""
    count, channels, height, width = images.shape
    radius = _between(0.3, 1.2, count, rng) * max(1.0, min(height, width) / 32)
    reach = min(4, min(height, width) - 1)
    places = torch.arange(-reach, reach + 1).float()
    kernel = torch.exp(-0.5 * (places / radius[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    planes = functional.pad(images, (reach,) * 4, mode="reflect").reshape(
        1, count * channels, *[length + 2 * reach for length in (height, width)]
    )
    planes = functional.conv2d(planes, kernel[:, None, None, :], groups=len(kernel))
    planes = functional.conv2d(planes, kernel[:, None, :, None], groups=len(kernel))
    return planes.reshape(images.shape)


def _patches(shape: torch.Size, rng: np.random.Generator) -> Tensor:
    """A rectangle of a quarter to three quarters of each side per image, bool [N, 1, H, W]."""
    count, _, height, width = shape
    masks = []
    for length in (height, width):
        extent = np.maximum(1, np.rint(rng.uniform(0.25, 0.75, count) * length))
        first = np.floor(rng.random(count) * (length - extent + 1))
        places = np.arange(length)[None]
        masks.append(torch.from_numpy((places >= first[:, None]) & (places < (first + extent)[:, None])))
    return masks[0][:, None, :, None] & masks[1][:, None, None, :]


def changed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Images [N, C, H, W] in [0, 1], each cropped, turned, recoloured, and perhaps blurred, noisy, blended or covered.

    Strangers are other images of the batch. All random numbers come from `rng`.
    """
    count = len(images)
    found = recoloured(warped(images, rng), rng)
    found = torch.where(_some(count, rng), _blurred(found, rng), found)
    noise = torch.from_numpy(rng.standard_normal(tuple(found.shape), dtype=np.float32))
    found = torch.where(_some(count, rng), found + noise * _between(0, 0.1, count, rng)[:, None, None, None], found)
    strangers = images[torch.from_numpy((np.arange(count) + rng.integers(1, max(2, count))) % count)]
    share = _between(0.5, 0.9, count, rng)[:, None, None, None]
    found = torch.where(_some(count, rng), share * found + (1 - share) * strangers, found)
    found = torch.where(_some(count, rng) & _patches(found.shape, rng), strangers, found)
    flat = torch.from_numpy(rng.random((count, images.shape[1], 1, 1), dtype=np.float32))
    return torch.where(_some(count, rng) & _patches(found.shape, rng), flat, found).clamp(0, 1)
