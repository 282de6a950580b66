"""Random changes of images through which gradients flow."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from privaudit.learning.augmentation import augment


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


def shifted(images: Tensor, rng: np.random.Generator) -> Tensor:
    """All images moved alike by up to a sixteenth of their side, at least a pixel; the edges are repeated."""
    height, width = images.shape[2:]
    most = max(1, min(height, width) // 16)
    top, left = (int(place) for place in rng.integers(0, 2 * most + 1, 2))
    padded = functional.pad(images, (most, most, most, most), mode="replicate")
    return padded[:, :, top : top + height, left : left + width]
