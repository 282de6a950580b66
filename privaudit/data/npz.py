"""Datasets in `.npz` files: one file, or a folder of shards that together are one dataset."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import large_arrays
from privaudit.data.folders import MAX_NAME
from privaudit.data.npy import Npz, open_npz, printable
from privaudit.data.places import check_inside
from privaudit.data.resizing import allocate, conform, describe, most_common_size, plural, resize_notes
from privaudit.errors import InputError
from privaudit.images import Dataset, Images

MAX_CLASSES = 100_000
KEYS = ("images", "labels", "class_names", "groups", "soft_labels")
"""Keys that are understood; `soft_labels` only in a release."""

_EXAMPLE = "numpy.savez(file, images=uint8 [N, H, W, C], labels=int [N], class_names=..., groups=...)"


@dataclass(frozen=True, eq=False)
class Shard:
    """What one file holds beside the pixels, checked."""

    path: Path
    shape: tuple[int, int, int, int]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...] | None
    groups: NDArray[np.str_] | None
    soft_labels: NDArray[np.float32] | None
    others: int


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts 'train-2' before 'train-10'."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name)]


def list_shards(root: Path) -> list[Path]:
    """The `.npz` files of a folder in natural order by name, hidden ones left out."""
    paths = [path for path in root.iterdir() if path.suffix.lower() == ".npz" and not path.name.startswith(".")]
    for path in paths:
        check_inside(path, root)
    return sorted(paths, key=lambda path: (natural_key(path.name), path.name))


def load_npz(
    source: str, paths: Sequence[Path], *, size: tuple[int, int] | None = None, channels: int | None = None
) -> tuple[Dataset, NDArray[np.float32] | None]:
    """The dataset of one file or of several shards in this order, and the soft labels where all shards have them."""
    shards = [_inspect(path) for path in paths]
    names = _class_names(shards)
    sizes: Counter[tuple[int, int]] = Counter()
    depths: Counter[int] = Counter()
    for shard in shards:
        sizes[shard.shape[1:3]] += shard.shape[0]
        depths[shard.shape[3]] += shard.shape[0]
    if not sizes.total():
        raise InputError("The .npz holds no images (N = 0). Save at least one.")
    target, depth = size or most_common_size(sizes), channels or max(depths)
    pixels = _read_pixels(shards, target, depth)
    labels = np.concatenate([shard.labels for shard in shards])
    notes = [
        f"Read as {'a folder of ' if len(paths) > 1 else ''}{plural(len(paths), '.npz file')}: "
        f"{plural(len(labels), 'image')} in {plural(len(names), 'class', 'classes')}, {describe(*target, depth)}."
    ]
    notes += resize_notes(sizes, depths, target, depth)
    if all(shard.class_names is None for shard in shards):
        notes.append("The .npz has no class_names: classes are compared by their numbers.")
    others = sum(shard.others for shard in shards)
    if others:
        notes.append(f"{plural(others, 'further entry', 'further entries')} of the .npz not read.")
    soft = [shard.soft_labels for shard in shards if shard.soft_labels is not None]
    if soft and (len(soft) != len(shards) or any(part.shape[1] != len(names) for part in soft)):
        raise InputError(f"soft_labels must be in all shards and have one column per class ({len(names)}).")
    dataset = Dataset(
        Images(pixels, labels), names, _groups(shards), tuple(map(str, range(len(labels)))), source, tuple(notes)
    )
    return dataset, np.concatenate(soft) if soft else None


def _read_pixels(shards: Sequence[Shard], size: tuple[int, int], channels: int) -> NDArray[np.uint8]:
    if len(shards) == 1 and shards[0].shape[1:] == (*size, channels):
        return _pixels(shards[0])
    pixels = allocate(sum(shard.shape[0] for shard in shards), size, channels)
    row = 0
    for shard in shards:
        for image in _pixels(shard):
            pixels[row] = conform(image, size, channels)
            row += 1
    return pixels


def _pixels(shard: Shard) -> NDArray[np.uint8]:
    with open_npz(shard.path, printable(shard.path.name)) as file:
        pixels = file.read("images").reshape(shard.shape)
    return pixels if pixels.flags.c_contiguous else large_arrays.taken(pixels, np.arange(len(pixels)))


def _inspect(path: Path) -> Shard:
    shown = printable(path.name)
    with open_npz(path, shown) as file:
        for key in ("images", "labels"):
            if key not in file.headers:
                found = ", ".join(printable(name) for name in sorted(file.headers)[:10]) or "none"
                raise InputError(f"{shown} has no key '{key}'; found: {found}. Save it as {_EXAMPLE}.")
        shape = _image_shape(file, shown)
        labels = _labels(file, shape[0], shown)
        names = _names(file, labels, shown)
        return Shard(
            path, shape, labels, names, _read_groups(file, shape[0], shown), _soft_labels(file, shape[0], shown),
            len(set(file.headers) - set(KEYS)) + len(file.not_arrays),
        )  # fmt: skip


def _image_shape(file: Npz, shown: str) -> tuple[int, int, int, int]:
    header = file.headers["images"]
    if header.dtype != np.uint8:
        hint = "scale to 0..255, round, and save as uint8" if header.dtype.kind == "f" else "save as uint8, 0..255"
        raise InputError(
            f"{shown}: images are {header.dtype}; only uint8 is allowed (a float or wide type has no fixed scale, and "
            f"can hold NaN). First {hint}."
        )
    shape = header.shape if len(header.shape) == 4 else (*header.shape, 1)
    if len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape[1:]:
        hint = " It looks like NCHW: transpose with images.transpose(0, 2, 3, 1)." if _is_nchw(header.shape) else ""
        raise InputError(
            f"{shown}: images have shape {header.shape}; allowed are [N, H, W, 1 or 3] and [N, H, W].{hint}"
        )
    return shape[0], shape[1], shape[2], shape[3]


def _is_nchw(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and shape[1] in (1, 3)


def _labels(file: Npz, count: int, shown: str) -> NDArray[np.int64]:
    header = file.headers["labels"]
    if header.dtype.kind not in "iu" or header.shape != (count,):
        raise InputError(
            f"{shown}: labels are {header.dtype} of shape {header.shape}; needed are integers of shape ({count},), "
            "one class number per image, counted from 0."
        )
    labels = file.read("labels")
    if count and (int(labels.min()) < 0 or int(labels.max()) >= MAX_CLASSES):
        raise InputError(
            f"{shown}: labels go from {labels.min()} to {labels.max()}; allowed are 0 to {MAX_CLASSES - 1}. Give every "
            "image a class number counted from 0."
        )
    return labels.astype(np.int64)


def _strings(values: NDArray[Any], what: str, shown: str) -> tuple[str, ...]:
    if values.dtype.kind == "S":
        try:
            texts = tuple(value.decode("utf-8") for value in values.tolist())
        except UnicodeDecodeError as error:
            raise InputError(f"{shown}: {what} are bytes that are not UTF-8. Save them as strings.") from error
    elif values.dtype.kind in "Uiu":
        texts = tuple(str(value) for value in values.tolist())
    else:
        raise InputError(f"{shown}: {what} are {values.dtype}; strings are needed.")
    if any(len(text) > MAX_NAME or not text.isprintable() for text in texts):
        raise InputError(f"{shown}: {what} must be printable and at most {MAX_NAME} letters long.")
    return texts


def _names(file: Npz, labels: NDArray[np.int64], shown: str) -> tuple[str, ...] | None:
    header = file.headers.get("class_names")
    if header is None:
        return None
    if len(header.shape) != 1 or not 0 < header.shape[0] <= MAX_CLASSES:
        raise InputError(f"{shown}: class_names have shape {header.shape}; needed is one name per class.")
    names = _strings(file.read("class_names"), "class_names", shown)
    double = [name for name, count in Counter(names).items() if count > 1]
    if double or "" in names:
        raise InputError(f"{shown}: class_names must differ and not be empty; found {printable((double or [''])[0])}.")
    if len(labels) and int(labels.max()) >= len(names):
        raise InputError(
            f"{shown}: the largest label is {labels.max()}, but there are only {len(names)} class_names (0 to "
            f"{len(names) - 1}). Add the missing names or correct the labels."
        )
    return names


def _read_groups(file: Npz, count: int, shown: str) -> NDArray[np.str_] | None:
    header = file.headers.get("groups")
    if header is None:
        return None
    if header.shape != (count,):
        raise InputError(f"{shown}: groups have shape {header.shape}; needed is one per image, ({count},).")
    return np.array(_strings(file.read("groups"), "groups", shown), np.str_)


def _soft_labels(file: Npz, count: int, shown: str) -> NDArray[np.float32] | None:
    if "soft_labels" not in file.headers:
        return None
    return check_soft_labels(file.read("soft_labels"), count, shown)


def check_soft_labels(values: NDArray[Any], count: int, shown: str, views: bool = False) -> NDArray[np.float32]:
    """The soft labels as float32 [count, classes], or [count, views, classes].

    Raises InputError for other shapes, types and NaN.
    """
    with np.errstate(over="ignore"):
        found = values.astype(np.float32) if values.dtype.kind == "f" else values
    if found.dtype != np.float32 or found.ndim != 2 + views or len(found) != count or not np.isfinite(found).all():
        raise InputError(
            f"{shown}: soft labels are {values.dtype} of shape {values.shape}; needed are finite float values of shape "
            f"({count}, {'views, ' if views else ''}classes)."
        )
    return found


def _class_names(shards: Sequence[Shard]) -> tuple[str, ...]:
    given = {shard.class_names for shard in shards}
    if len(given) > 1:
        raise InputError(
            "The .npz shards of the folder have different class_names. Shards of one dataset must have the same ones "
            "in the same order, or none."
        )
    names = given.pop()
    if names is not None:
        return names
    return tuple(map(str, range(max((int(s.labels.max()) for s in shards if len(s.labels)), default=0) + 1)))


def _groups(shards: Sequence[Shard]) -> NDArray[np.str_] | None:
    if all(shard.groups is None for shard in shards):
        return None
    parts = [np.full(shard.shape[0], "") if shard.groups is None else shard.groups for shard in shards]
    return np.concatenate(parts).astype(np.str_)
