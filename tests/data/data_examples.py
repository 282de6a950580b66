"""Random images and datasets for the tests of the loaders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Dataset, Images


def random_images(count: int, seed: int, side: int = 8) -> Images:
    """Grey images of two classes in turn."""
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % 2)


def dataset(images: Images, classes: tuple[str, ...] = ("0", "1"), groups: NDArray[np.str_] | None = None) -> Dataset:
    return Dataset(images, classes, groups, tuple(str(row) for row in range(len(images))), "made by a test")
