"""Bring images to one size and one number of channels, always in the same way (Pillow, Lanczos, 8 bit)."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privaudit import large_arrays
from privaudit.errors import InputError

MAX_DATASET_BYTES = 2**40
"""Largest dataset that is loaded; a larger one is refused with the advice to give a smaller size."""


def most_common_size(sizes: Counter[tuple[int, int]]) -> tuple[int, int]:
    """The commonest (height, width); among equally common ones the (lower) median by area."""
    most = max(sizes.values())
    tied = sorted((size for size, count in sizes.items() if count == most), key=lambda size: (size[0] * size[1], size))
    return tied[(len(tied) - 1) // 2]


def conform(image: NDArray[np.uint8], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """One image [H, W, C] at this (height, width) and number of channels; itself where nothing is to be done."""
    if image.shape[2] != channels:
        image = (
            np.repeat(image, 3, axis=2)
            if channels == 3
            else np.asarray(Image.fromarray(np.ascontiguousarray(image)).convert("L"))[:, :, None]
        )
    if image.shape[:2] != size:
        flat = np.ascontiguousarray(image[:, :, 0] if channels == 1 else image)
        resized = Image.fromarray(flat).resize((size[1], size[0]), Image.Resampling.LANCZOS)
        image = np.asarray(resized).reshape(*size, channels)
    return image


def conform_all(pixels: NDArray[np.uint8], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """All images [N, H, W, C] at this size and number of channels; the same array where nothing is to be done."""
    if pixels.shape[1:] == (*size, channels):
        return pixels
    result = allocate(len(pixels), size, channels)
    for row, image in enumerate(pixels):
        result[row] = conform(image, size, channels)
    return result


def allocate(count: int, size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    """An array for this many images. Raises InputError when they would take more than `MAX_DATASET_BYTES`, or
    than there is room for."""
    need = count * size[0] * size[1] * channels
    if need > MAX_DATASET_BYTES:
        raise InputError(
            f"{count} images of {size[1]} x {size[0]} pixels need {need / 2**30:.1f} GiB; at most "
            f"{MAX_DATASET_BYTES // 2**30} GiB are allowed. Give a smaller size, to which all images are resized."
        )
    return large_arrays.empty((count, *size, channels), np.uint8)


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """'1 image', '2 images'."""
    return f"{count} {noun if count == 1 else plural_noun or noun + 's'}"


def describe(height: int, width: int, channels: int) -> str:
    """'32 x 32 pixels, colour'."""
    return f"{width} x {height} pixels, {'colour' if channels == 3 else 'grey'}"


def resize_notes(
    sizes: Counter[tuple[int, int]], depths: Counter[int], size: tuple[int, int], channels: int
) -> list[str]:
    """One sentence for each thing that `conform` changed in images of these sizes and channels."""
    notes = []
    resized = sizes.total() - sizes[size]
    if resized:
        found = f"{len(sizes)} sizes were found" if len(sizes) > 1 else "all had another size"
        notes.append(
            f"{plural(resized, 'image')} of {sizes.total()} resized once to {size[1]} x {size[0]} pixels "
            f"(Lanczos; {found})."
        )
    changed = depths.total() - depths[channels]
    if changed:
        notes.append(
            f"{plural(changed, 'image')} turned from {'grey to colour' if channels == 3 else 'colour to grey'}."
        )
    return notes
