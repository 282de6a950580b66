"""Random changes of images through which gradients flow."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_SMALLEST_CROP = 0.8
_MOST_DEGREES = 5.0


def transformed(images: Tensor, rng: np.random.Generator) -> Tensor:
    """All images cut alike, .8 to 1 of their sides at a random place, and turned by up to 5 degrees; edges repeat.

    The changes that AlignMI averages gradients over, without its mirror image, which makes other digits and organs.
    """
    scale = float(rng.uniform(_SMALLEST_CROP, 1))
    left, top = (float(place) for place in rng.uniform(scale - 1, 1 - scale, 2))
    angle = math.radians(float(rng.uniform(-_MOST_DEGREES, _MOST_DEGREES)))
    height, width = images.shape[2:]
    # The grid's coordinates are shares of the sides: a turn has to know how long these are.
    turn = [
        [scale * math.cos(angle), -scale * math.sin(angle) * height / width, left],
        [scale * math.sin(angle) * width / height, scale * math.cos(angle), top],
    ]
    affine = torch.tensor([turn], dtype=images.dtype, device=images.device).expand(len(images), 2, 3)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
