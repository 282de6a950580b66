"""The shared images for the benchmarks, and how they are dealt at random into the parts of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from privaudit.data import loading
from privaudit.images import Dataset, Images

SHARED = Path(__file__).parents[2] / "shared"


def load(name: str) -> Dataset:
    """cifar10: 30,000 training and 10,000 test images, pooled. mnist: 60,000 training images. chest_xray: at 64 x 64,
    with persons. Any other name is what privaudit itself loads by it, as digits.
    """
    if name == "cifar10":
        return _cifar10()
    if name == "mnist":
        return loading.load(str(SHARED / "data" / "mnist" / "train.npz"))
    if name == "chest_xray":
        return loading.load(str(SHARED / "data" / "chest_xray.npz"), size=64)
    return loading.load(name)


def _cifar10() -> Dataset:
    folder = SHARED / "data" / "cifar10"
    files = [*sorted(folder.glob("train-*.npz")), folder / "test.npz"]
    parts = [np.load(file, allow_pickle=False) for file in files]
    return Dataset(
        Images(np.concatenate([part["images"] for part in parts]), np.concatenate([part["labels"] for part in parts])),
        tuple(str(name) for name in parts[0]["class_names"]),
        None,
        tuple(str(row) for row in range(sum(len(part["labels"]) for part in parts))),
        "cifar10",
    )


def deal(data: Dataset, counts: Sequence[int], rng: np.random.Generator) -> list[Dataset]:
    """Disjoint random parts of these sizes. Plain sampling: near-duplicates stay where chance puts them."""
    order = rng.permutation(len(data))
    ends = np.cumsum(counts)
    return [data.take(part) for part in np.split(order[: ends[-1]], ends[:-1])]
