"""Persons for the tests: each a pattern of its own, of which every image is a shifted and noisy view."""

from __future__ import annotations

import numpy as np
from audit_examples import dataset

from privaudit.images import Dataset, Images


def persons(names: list[str], images: int, seed: int, side: int = 16) -> Dataset:
    """So many images of each person. A person's pattern depends on the name alone."""
    rng = np.random.default_rng([seed, 1])
    pixels, groups = [], []
    for name in names:
        own = np.random.default_rng([int(part) for part in name.encode()])
        pattern = own.normal(0, 1, (side // 4, side // 4)).repeat(4, axis=0).repeat(4, axis=1)
        for _ in range(images):
            moved = np.roll(pattern, tuple(rng.integers(-1, 2, 2)), (0, 1))
            view = 120 + 45 * moved + rng.normal(0, 12, moved.shape)
            pixels.append(np.clip(np.rint(view), 0, 255).astype(np.uint8)[:, :, None])
            groups.append(name)
    labels = np.arange(len(pixels), dtype=np.int64) // images % 2
    return dataset(Images(np.stack(pixels), labels), np.array(groups, dtype=np.str_))


def named(letter: str, count: int) -> list[str]:
    return [f"{letter}{number}" for number in range(count)]
