"""Soft labels: probabilities of the classes, one row per released image; never logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.matching import match_release
from privaudit.data.named_file import ordinary_file
from privaudit.data.npy import read_npy
from privaudit.data.resizing import MAX_DATASET_BYTES
from privaudit.errors import InputError
from privaudit.images import Dataset
from privaudit.release import Release

_TOLERANCE = 1e-3
"""How far a row may be from a sum of 1: rounding to 16 bits takes less."""


def read_soft_labels(path: Path, count: int) -> NDArray[np.float32]:
    """The soft labels in a `.npy` file: float [count, classes], to float32; see `check_probabilities`."""
    ordinary_file(path, "soft labels", MAX_DATASET_BYTES)
    if path.suffix.lower() != ".npy":
        raise InputError(f"soft labels: '{path.name}' is no .npy file. Save them with numpy.save.")
    values = read_npy(path, f"soft labels: '{path.name}'")
    if values.dtype.kind != "f" or values.ndim != 2 or len(values) != count:
        raise InputError(
            f"soft labels: '{path.name}' holds {values.dtype} of shape {values.shape}; needed are floats of shape "
            f"({count}, classes), one row per released image in the order in which the release is read."
        )
    return check_probabilities(values, f"soft labels: '{path.name}'")


def check_probabilities(values: NDArray[Any], shown: str) -> NDArray[np.float32]:
    """The values [N, classes] or [N, views, classes] as float32.

    Raises InputError unless every row is finite, not negative, and sums to 1.
    """
    if values.ndim == 3:
        return check_probabilities(values.reshape(-1, values.shape[2]), f"{shown}, every view a row").reshape(
            values.shape
        )
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        raise InputError(f"{shown}: row {int(np.argmin(finite))} holds a value that is no finite number.")
    if not values.shape[1]:
        raise InputError(f"{shown}: there are no columns; needed is one per class.")
    with np.errstate(over="ignore"):
        sums = values.sum(axis=1, dtype=np.float64)
    wrong = (values < 0).any(axis=1) | (np.abs(sums - 1) > _TOLERANCE)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"{shown}: row {row} is no row of probabilities: it sums to {sums[row]:.4g}, its smallest value is "
            f"{values[row].min():.4g}; rows must sum to 1 and hold nothing negative. These may be logits: publish and "
            "audit their softmax."
        )
    return values.astype(np.float32)


def matched_with(
    members: Dataset, release: Release, dataset: Dataset, soft_labels: NDArray[np.float32] | None
) -> tuple[Release, Dataset]:
    """`match_release`, with soft labels from a file of their own, or else those that the release brings.

    Columns are the classes of the release in the order of its class numbers, or all classes of the members.
    Raises InputError for another number of columns, for values that are no probabilities, and for two sets of them.
    """
    if soft_labels is None:
        if release.soft_labels is not None:
            check_probabilities(release.soft_labels, "the release's soft labels")
        return match_release(members, release, dataset)
    if release.soft_labels is not None:
        raise InputError("The release brings soft labels of its own; leave out the file, or those of the release.")
    columns, own, all_ = soft_labels.shape[1], len(dataset.class_names), len(members.class_names)
    if columns == own:
        return match_release(members, replace(release, soft_labels=soft_labels), dataset)
    if columns == all_:
        matched, data = match_release(members, release, dataset)
        return replace(matched, soft_labels=soft_labels), data
    wanted = f"{all_}" if own == all_ else f"{own} (the release's classes) or {all_} (the members')"
    raise InputError(f"soft labels: there are {columns} columns; needed are {wanted}, one per class.")
