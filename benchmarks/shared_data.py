"""The shared images and networks for the benchmarks, and how images are dealt into the parts of an audit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from privaudit.data import loading
from privaudit.images import Dataset, Images
from privaudit.learning import Architecture, Network
from privaudit.learning.networks import load_body

SHARED = Path(__file__).parents[2] / "shared"
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""Mean and standard deviation with which the shared networks standardise."""


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


def cifar10_parts() -> tuple[Images, Images]:
    """The 30,000 training and the 10,000 test images."""
    everything = load("cifar10").images
    return everything.take(slice(0, 30_000)), everything.take(slice(30_000, None))


def cifar10_network(name: str) -> Network:
    """A network trained on all of CIFAR-10: resnet20 or resnet56."""
    network = Network(Architecture(name=name, channels=3, classes=10, side=32))
    network.set_standardisation(*IMAGENET)
    return load_body(network, SHARED / "weights" / f"cifar10-{name}.safetensors")


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
