"""The random moves of a step: the batch is rolled and mirrored, and each image is seen in part, ever less of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Moves:
    """roll: the whole batch by up to so many pixels in both directions. flip: mirrored half of the time.

    crop: each image is seen through a square of its own, enlarged to the whole: of a share of the area between 1 and a
    bound that falls from 1 to `crop` along a cosine (Yin, Shen 2023, arXiv 2311.18838); of at least `crop` from the
    start where it is not a curriculum.
    """

    roll: int
    flip: bool
    crop: float = 1.0
    curriculum: bool = True

    def __call__(self, images: Tensor, done: float, rng: np.random.Generator) -> Tensor:
        """The images [N, C, H, W] as a step sees them. done: share of the steps that are done."""
        down, right = (int(move) for move in rng.integers(-self.roll, self.roll + 1, 2))
        moved = torch.roll(images, (down, right), (2, 3)) if self.roll else images
        if self.flip and rng.random() < 0.5:
            moved = moved.flip(3)
        if self.crop < 1:
            moved = seen_in_part(moved, rng.uniform(self.smallest(done), 1, len(moved)), rng)
        return moved

    def smallest(self, done: float) -> float:
        """The smallest share of the area that is seen when this share of the steps is done."""
        start = (1 + math.cos(math.pi * done)) / 2 if self.curriculum else 0.0
        return self.crop + (1 - self.crop) * start


def seen_in_part(images: Tensor, areas: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Each image through a part of it at a random place, of its own shape and this share of its area, enlarged."""
    side = np.sqrt(areas)
    places = rng.uniform(-1, 1, (2, len(images))) * (1 - side)
    zero = np.zeros_like(side)
    maps = np.stack([np.stack([side, zero, places[0]], 1), np.stack([zero, side, places[1]], 1)], 1)
    where = functional.affine_grid(
        torch.from_numpy(maps.astype(np.float32)).to(images.device), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, where, padding_mode="border", align_corners=False)
