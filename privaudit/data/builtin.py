"""Datasets that are named, not pointed at: `digits` (ships with scikit-learn) and `torchvision:NAME` on local files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privaudit.data.resizing import describe, plural
from privaudit.errors import InputError, suggestion
from privaudit.images import Dataset, Images
from privaudit.torchvision_compat import import_torchvision

DIGITS_SIZE = 16
PREFIX = "torchvision:"

_BY_TRAIN = ("CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "KMNIST", "USPS")
_BY_SPLIT = ("SVHN", "STL10")
TORCHVISION_NAMES = (*_BY_TRAIN, *_BY_SPLIT)


def load_digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8 values 0 to 16: scaled to 0..255 and enlarged to 16x16 (bicubic)."""
    from sklearn import datasets

    bunch = datasets.load_digits()
    small = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    enlarged = [
        np.asarray(Image.fromarray(image).resize((DIGITS_SIZE, DIGITS_SIZE), Image.Resampling.BICUBIC))
        for image in small
    ]
    pixels = np.stack(enlarged)[:, :, :, None]
    note = f"Built-in digits: {len(pixels)} images of 8 x 8 pixels enlarged to {describe(*pixels.shape[1:])}."
    return _dataset(pixels, bunch.target, tuple(map(str, range(10))), "digits", note)


def load_torchvision(source: str, root: Path | None) -> Dataset:
    """`torchvision:NAME/train` or `/test` (default train) from files in `root`; nothing is ever downloaded.

    Only datasets whose files torchvision checks by hash or reads as plain arrays are offered. The folder-based ones
    can be given as a folder of class folders.
    """
    name, _, split = source.removeprefix(PREFIX).partition("/")
    name = {known.casefold(): known for known in TORCHVISION_NAMES}.get(name.casefold(), name)
    if name not in TORCHVISION_NAMES:
        raise InputError(
            f"'{PREFIX}{name}' is not among the torchvision datasets that are read. "
            f"{suggestion(name, TORCHVISION_NAMES)} Others can be given as a folder of class folders."
        )
    if split not in ("", "train", "test"):
        raise InputError(
            f"'{source}' asks for the split '{split}'. Allowed: {PREFIX}{name}/train, {PREFIX}{name}/test."
        )
    if root is None or not root.is_dir():
        raise InputError(
            f"'{source}' needs the local folder that holds its files (root), as torchvision lays them out; nothing is "
            "downloaded. Give an existing folder."
        )
    try:
        datasets: Any = import_torchvision().datasets
    except ImportError as error:
        raise InputError(f"'{source}' needs torchvision. Install it: pip install torchvision.") from error
    make: Callable[..., Any] = getattr(datasets, name)
    choice = {"train": split != "test"} if name in _BY_TRAIN else {"split": split or "train"}
    try:
        found = make(root=str(root), download=False, **choice)
    except (RuntimeError, OSError, ValueError, EOFError, AssertionError) as error:
        raise InputError(
            f"'{source}' was not found in its folder, or its files are damaged. Put the original files there, as "
            "torchvision lays them out; nothing is downloaded."
        ) from error
    pixels = _pixels(found.data)
    labels = np.asarray(found.labels if name in _BY_SPLIT else found.targets).astype(np.int64)
    names = tuple(map(str, getattr(found, "classes", ()))) or tuple(map(str, range(int(labels.max()) + 1)))
    note = (
        f"Read from torchvision's {name} ({split or 'train'}): {plural(len(labels), 'image')} of "
        f"{describe(*pixels.shape[1:])}."
    )
    return _dataset(pixels, labels, names, source, note)


def _pixels(data: Any) -> NDArray[np.uint8]:
    """uint8 NHWC from torchvision's NHWC, NCHW or NHW, array or tensor."""
    pixels: NDArray[np.uint8] = np.asarray(data)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise InputError(f"torchvision gave images as {pixels.dtype} {pixels.shape}; uint8 was expected.")
    if pixels.ndim == 3:
        return np.ascontiguousarray(pixels[:, :, :, None])
    if pixels.shape[3] not in (1, 3):
        pixels = pixels.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _dataset(pixels: NDArray[np.uint8], labels: Any, names: tuple[str, ...], source: str, note: str) -> Dataset:
    images = Images(pixels, np.asarray(labels, np.int64))
    return Dataset(images, names, None, tuple(map(str, range(len(images)))), source, (note,))
