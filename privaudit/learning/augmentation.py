"""Random changes of a batch: shifts and mirror images; those through which a generator learns from few images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, shift: int, flip: bool, rng: np.random.Generator) -> Tensor:
    """Each image [N, C, H, W] moved by up to `shift` pixels in both directions (zeros come in), half of them mirrored.

    All random numbers come from `rng`, so that the device does not matter.
    """
    count, _, height, width = images.shape
    mirrored = torch.from_numpy(rng.random(count) < 0.5).to(images.device) if flip else None
    if shift:
        top, left = (torch.from_numpy(rng.integers(0, 2 * shift + 1, count)).to(images.device) for _ in range(2))
        padded = functional.pad(images, (shift, shift, shift, shift)).permute(0, 2, 3, 1)
        rows = top[:, None] + torch.arange(height, device=images.device)
        columns = left[:, None] + torch.arange(width, device=images.device)
        number = torch.arange(count, device=images.device)
        images = padded[number[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if mirrored is not None:
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return images


def differentiable_augmentation(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, shifts by an eighth and a grey square of half the side, drawn for each image.

    The policy of Zhao et al. 2020 (arXiv 2006.10738) for few images; saturation is left alone.
    """
    count, _, height, width = images.shape
    drawn = rng.uniform(-0.5, 0.5, (2, count)).astype(np.float32)
    brightness, contrast = torch.from_numpy(drawn).to(images.device)[:, :, None, None, None]
    images = images + brightness / 2  # the paper's half is of a range of two
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (contrast + 1) + mean
    images = augment(images, max(1, min(height, width) // 8), False, rng)
    rows, columns = (_band(side, count, rng, images.device) for side in (height, width))
    hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.dtype)
    return images * (1 - hole) + 0.5 * hole


def _band(side: int, count: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """For each of `count` images the pixels within a quarter of the side of a random place, bool [count, side]."""
    centre = torch.from_numpy(rng.integers(0, side + 1, count)).to(device)
    return (torch.arange(side, device=device) - centre[:, None]).abs() < max(1, side // 4)
