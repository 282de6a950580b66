"""Random changes of a batch: shifts and mirror images; those through which a generator learns from few images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.views import random_box


def augment(images: Tensor, shift: int, flip: bool, rng: np.random.Generator) -> Tensor:
    """Each image [N, C, H, W] moved by up to `shift` pixels in both directions (zeros come in), half of them mirrored.

    All random numbers come from `rng`, so that the device does not matter.
    """
    count = len(images)
    mirrored = rng.random(count) < 0.5 if flip else None
    up, left = (rng.integers(-shift, shift + 1, count) for _ in range(2)) if shift else (None, None)
    return moved(images, None if up is None else -up, None if left is None else -left, mirrored)


def moved(
    images: Tensor,
    down: NDArray[np.int64] | None,
    right: NDArray[np.int64] | None,
    mirrored: NDArray[np.bool_] | None,
) -> Tensor:
    """Each image [N, C, H, W] moved by its own numbers of pixels (zeros come in), then mirrored where it is asked for;
    None: not at all. Further than the image is large: nothing of it is left.
    """
    _, _, height, width = images.shape
    number = torch.arange(len(images), device=images.device)
    if down is not None and right is not None and (down.any() or right.any()):
        rows, columns = (
            (torch.arange(side) - torch.from_numpy(moves)[:, None]).to(images.device)
            for side, moves in ((height, down), (width, right))
        )
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        taken = images.permute(0, 2, 3, 1)[number[:, None, None], rows[:, :, None], columns[:, None, :]]
        images = (taken * inside[:, :, :, None]).permute(0, 3, 1, 2)
    if mirrored is not None:
        where = torch.from_numpy(mirrored).to(images.device)
        images = torch.where(where[:, None, None, None], images.flip(3), images)
    return images


def with_boxes(images: Tensor, targets: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al. 2019, arXiv 1905.04899): a box of each image shows another image of the batch, and its target
    [N, classes] the other's in the same proportion. One `random_box` for the batch.
    """
    _, _, height, width = images.shape
    partner = torch.from_numpy(rng.permutation(len(images))).to(images.device)
    top, left, bottom, right = random_box((height, width), rng)
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner][:, :, top:bottom, left:right]
    share = (bottom - top) * (right - left) / (height * width)
    return mixed, (1 - share) * targets + share * targets[partner]


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
