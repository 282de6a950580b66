"""The arms: the same attack is run against the candidate, against the originals, and against strangers' images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images

ARMS = ("release", "raw", "fresh")


def class_counts(images: Images) -> dict[int, int]:
    """Images per label."""
    labels, counts = np.unique(images.labels, return_counts=True)
    return {int(label): int(count) for label, count in zip(labels, counts, strict=True)}


def like(pool: Images, shape: dict[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a pool, as many as the candidate has and with its class counts, as far as the pool reaches.

    A pool smaller than the candidate gives the same proportions; a class that the pool lacks stays short.
    """
    wanted = sum(shape.values())
    scale = min(1.0, len(pool) / wanted) if wanted else 0.0
    chosen = []
    for label, count in shape.items():
        rows = rng.permutation(np.flatnonzero(pool.labels == label))
        chosen.append(rows[: max(1, int(scale * count))])
    rows = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    return rng.permutation(rows).astype(np.int64)
