"""Random shifts and mirror images of a batch."""

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
