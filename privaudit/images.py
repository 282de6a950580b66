"""Images: uint8 NHWC everywhere; float32 NCHW in [0, 1] exists only per batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit import large_arrays
from privaudit.errors import InputError

if TYPE_CHECKING:
    import torch


_BLOCK_IMAGES, _BLOCK_VALUES = 1024, 2**24


def images_per_block(size: tuple[int, ...], most: int = _BLOCK_IMAGES) -> int:
    """How many images of this height, width and channels are worked on at a time: as floats they take 64 MiB at most.

    At least one, and no more than `most`.
    """
    return max(1, min(most, _BLOCK_VALUES // max(1, math.prod(size))))


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images of one size; row i of both fields is the same image.

    pixels: uint8 [N, H, W, C], C in {1, 3}; an array, or a memory map where there are many (see `large_arrays`).
    labels: int64 [N], class numbers from 0.
    Raises InputError when shapes or types differ from this.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or self.pixels.shape[3] not in (1, 3):
            raise InputError(
                f"Images need uint8 pixels of shape [N, H, W, 1 or 3]; found {self.pixels.dtype} {self.pixels.shape}."
            )
        if self.labels.dtype != np.int64 or self.labels.shape != self.pixels.shape[:1]:
            raise InputError(
                f"Images need one int64 label per image ({self.pixels.shape[0]}); "
                f"found {self.labels.dtype} {self.labels.shape}."
            )

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Both fields by name, for the store."""
        return {"pixels": self.pixels, "labels": self.labels}

    @staticmethod
    def from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Images:
        """The images that `arrays` came from; what else is in them is left out."""
        return Images(arrays["pixels"], arrays["labels"])

    @property
    def size(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.pixels.shape[1:]
        return int(height), int(width), int(channels)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Images:
        """The images of these rows, in this order."""
        return Images(large_arrays.taken(self.pixels, rows), self.labels[rows])

    def batches(self, size: int) -> Iterator[torch.Tensor]:
        """Float32 NCHW tensors in [0, 1], `size` images at a time, in order: the only float border."""
        import torch

        for start in range(0, len(self), size):
            block = np.array(self.pixels[start : start + size].transpose(0, 3, 1, 2), order="C")
            yield torch.from_numpy(block).float().div_(255)

    def blocks(self) -> Iterator[torch.Tensor]:
        """All batches, so large that memory is bounded whatever the images' size."""
        return self.batches(images_per_block(self.size))

    @cached_property
    def digest(self) -> str:
        """Hash of the content (pixels, labels, shape), 32 hex digits: equal for equal content."""
        hasher = hashlib.blake2b(repr((self.pixels.shape, "uint8", "int64")).encode(), digest_size=16)
        for start in range(0, len(self), 4096):
            hasher.update(np.ascontiguousarray(self.pixels[start : start + 4096]).data)
        hasher.update(np.ascontiguousarray(self.labels).data)
        return hasher.hexdigest()

    def image_digests(self) -> list[bytes]:
        """One hash per image of its decoded pixels alone: equal exactly for identical images of one size."""
        return [hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in self.pixels]


def concatenate(parts: Sequence[Images]) -> Images:
    """All images of the parts in order. The parts must have one size."""
    sizes = {part.size for part in parts}
    if len(sizes) != 1:
        raise InputError(f"Only images of one size can be joined; found {sorted(sizes)}.")
    return Images(
        large_arrays.joined([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images as loaded, with what is known about them beside pixels and labels.

    class_names: name of class i at place i.
    groups: one string per image, the person it shows (None: every image is its own unit;
        an empty string: unknown, a unit of its own).
    names: file name relative to the dataset's folder, or the row number in an array; private.
    source: where it came from, as the user wrote it; private.
    notes: what was converted while loading, one sentence each, without paths.
    """

    images: Images
    class_names: tuple[str, ...]
    groups: NDArray[np.str_] | None
    names: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: NDArray[np.integer]) -> Dataset:
        """The images of these rows, in this order, with all that belongs to them."""
        return Dataset(
            self.images.take(rows),
            self.class_names,
            None if self.groups is None else self.groups[rows],
            tuple(self.names[int(row)] for row in rows),
            self.source,
            self.notes,
        )

    @cached_property
    def units(self) -> NDArray[np.str_]:
        """The unit of each image: its group where one is known, else the image itself."""
        own = np.array([f"image {row}" for row in range(len(self))], dtype=np.str_)
        if self.groups is None:
            return own
        return np.where(self.groups == "", own, np.char.add("group ", self.groups))
