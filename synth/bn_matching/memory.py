"""How many images fit into memory at once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from privaudit.errors import InputError
from privaudit.execution import cores
from privaudit.learning import Architecture, Network
from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.moments import EAGER

_RESERVE = 0.8
MOST_SOFT_LABELS = 8 * 2**30
_WORKING_COPIES = 4
"""Of the largest activation: float copies and gradients that are alive at once."""


def bytes_per_image(architecture: Architecture, height: int, width: int, dtype: torch.dtype) -> int:
    """What one more image of a batch takes while it is matched: measured on two small batches."""
    with torch.random.fork_rng(devices=[]):
        network = MatchedNetwork(Network(architecture).eval(), "cpu", dtype, EAGER)
    sizes: list[int] = []
    largest = 0
    for count in (1, 3):
        kept: dict[int, int] = {}

        def pack(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        images = torch.zeros(count, architecture.channels, height, width, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            network(images, 1)
        sizes.append(sum(kept.values()))
        largest = max(kept.values(), default=0) // count
    return (sizes[1] - sizes[0]) // 2 + _WORKING_COPIES * largest * (4 // dtype.itemsize)


def free_bytes(device: str) -> int | None:
    """Memory that one of the processes here may use; None where it cannot be told."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    limits = [limit for limit in (_available(), _cgroup(), _address_space()) if limit is not None]
    return min(limits) // cores() if limits else None


def check_fits(
    architecture: Architecture,
    height: int,
    width: int,
    dtype: torch.dtype,
    batch: int,
    device: str,
    beside: Architecture | None = None,
) -> None:
    """Raise InputError, naming the largest batch that fits, where `batch` images do not.

    beside: a network that sees the same images in the same step, in float32.
    """
    free = free_bytes(device)
    if free is None:
        return
    each = bytes_per_image(architecture, height, width, dtype)
    each += 0 if beside is None else bytes_per_image(beside, height, width, torch.float32)
    largest = int(_RESERVE * free / each)
    if batch > largest:
        raise InputError(
            f"A batch of {batch:,} images of {height} x {width} pixels does not fit: with {architecture.name} each "
            f"takes {each / 2**20:.2g} MiB, and {free / 2**20:,.0f} MiB are free for each process. "
            + (f"The largest batch_size that fits is {largest}." if largest else "Not even one image fits.")
        )


def _available() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE"))
    return None


def _cgroup() -> int | None:
    """What is left of the limit of a container."""
    folder = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((folder / limit).read_text()) - int((folder / used).read_text()))
        except (OSError, ValueError):
            continue
    return None


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limits: Any = resource.getrlimit(resource.RLIMIT_AS)
    return None if limits[0] == resource.RLIM_INFINITY else int(limits[0])


def check_soft_labels_fit(images: int, views: int, classes: int) -> None:
    """Raises InputError where soft labels, float32 [images, views, classes], are larger than `MOST_SOFT_LABELS`."""
    size = 4 * images * views * classes
    if size > MOST_SOFT_LABELS:
        fewest = MOST_SOFT_LABELS // (4 * images * classes)
        raise InputError(
            f"Soft labels of {views:,} views of {images:,} images in {classes:,} classes take {size / 2**30:.0f} GiB "
            f"of memory, here and for everyone who uses them; {MOST_SOFT_LABELS >> 30} are allowed. "
            + (f"Choose {fewest:,} views or fewer." if fewest else "Choose fewer images, or leave soft_labels out.")
        )
