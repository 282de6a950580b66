"""At which size hidden images fit, and how they get there and back."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from privaudit.images import Images

SMALLEST_SIDE = 4


def largest_fitting(size: tuple[int, int, int], images: int, capacity: int) -> tuple[int, int] | None:
    """The largest height and width, at most those of `size` and in their proportion, at which so many images of all
    channels are no more than `capacity` values; None where not even a smaller side of four pixels fits.
    """
    height, width, channels = size
    for shorter in range(min(height, width), SMALLEST_SIDE - 1, -1):
        scale = shorter / min(height, width)
        stored = max(shorter, math.floor(height * scale)), max(shorter, math.floor(width * scale))
        if images * stored[0] * stored[1] * channels <= capacity:
            return stored
    return None


def shrunk(images: Images, stored: tuple[int, int]) -> NDArray[np.float32]:
    """Values from 0 to 255 of the images averaged over areas to a stored size, float32 [N * H * W * C]."""
    batch = torch.from_numpy(images.pixels.astype(np.float32)).permute(0, 3, 1, 2)
    if batch.shape[2:] != stored:
        batch = functional.interpolate(batch, size=stored, mode="area")
    found: NDArray[np.float32] = batch.permute(0, 2, 3, 1).contiguous().numpy().ravel()
    return found


def grown(values: NDArray[np.float32], stored: tuple[int, int], size: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Pixels [N, H, W, C] of the given size from values at the stored size, by bicubic interpolation."""
    height, width, channels = size
    batch = torch.from_numpy(values.reshape(-1, *stored, channels)).permute(0, 3, 1, 2)
    if stored != (height, width):
        batch = functional.interpolate(batch, size=(height, width), mode="bicubic", align_corners=False)
    found: NDArray[np.uint8] = batch.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    return found
