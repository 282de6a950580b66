"""What one step of training sees: rows in random order, as tensors, changed at random or through a view."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.augmentation import augment, moved, with_boxes
from privaudit.learning.recipe import Training
from privaudit.views import Views, soft_label_shape


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of one pass in random order, `size` at a time. A last single row joins the batch before it, for BatchNorm
    cannot be trained on one.
    """
    order = rng.permutation(count)
    starts = list(range(0, count, size))
    if count % size == 1 and len(starts) > 1:
        starts.pop()
    for start, end in zip(starts, [*starts[1:], count], strict=True):
        yield order[start:end]


def as_float(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """uint8 NHWC to float32 NCHW in [0, 1] on the device, channels last in memory."""
    whole = np.require(pixels, requirements=["C", "W"])  # a read-only memory map is copied, for torch warns of it
    return torch.from_numpy(whole).to(device).permute(0, 3, 1, 2).float().div_(255)


def drawn_batch(
    training: Training, rows: NDArray[np.int64], device: str, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """These rows as one step sees them: images [N, C, H, W] in [0, 1], changed at random, and what is to be learned,
    labels [N] or probabilities [N, classes].
    """
    recipe, images, targets, views = training.recipe, training.images, training.targets, training.views
    if views is not None:
        chosen = rng.integers(len(views), size=len(rows))
        return seen(images, rows, views[chosen], device), torch.from_numpy(targets[rows, chosen]).to(device)
    batch = augment(as_float(images.pixels[rows], device), recipe.crop, recipe.flip, rng)
    wanted = torch.from_numpy(targets[rows]).to(device)
    if recipe.cutmix:
        if wanted.ndim == 1:
            wanted = functional.one_hot(wanted, training.classes).float()
        batch, wanted = with_boxes(batch, wanted, rng)
    return batch, wanted


def seen(images: Images, rows: NDArray[np.int64], views: Views, device: str) -> Tensor:
    """These rows, each through a view of its own ([len(rows), 8]), float32 [N, C, H, W] in [0, 1]."""
    other, top, left, bottom, right, down, across, mirrored = np.array(views).T[:, :, None, None]
    height, width, _ = images.size
    inside_rows = (np.arange(height)[:, None] >= top) & (np.arange(height)[:, None] < bottom)
    inside_columns = (np.arange(width) >= left) & (np.arange(width) < right)
    partners = (rows + other[:, 0, 0]) % len(images)
    pixels = np.where((inside_rows & inside_columns)[..., None], images.pixels[partners], images.pixels[rows])
    return moved(as_float(pixels, device), down[:, 0, 0], across[:, 0, 0], mirrored[:, 0, 0] == 1)


def check_soft_labels(training: Training) -> None:
    """Raises InputError where soft labels are not float32 of `soft_label_shape`."""
    soft_labels, views = training.soft_labels, training.views
    if soft_labels is None:
        if views is not None:
            raise InputError("There are views, but no soft labels for them.")
        return
    shape = soft_label_shape(len(training.images), views, training.classes)
    if soft_labels.shape != shape or soft_labels.dtype != np.float32:
        raise InputError(
            f"Soft labels must be float32 {list(shape)}; found {soft_labels.dtype} {list(soft_labels.shape)}."
        )
