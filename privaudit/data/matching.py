"""Give a second dataset the members' class numbers, size and channels, so that labels and pixels can be compared."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from privaudit.data.npy import printable
from privaudit.data.resizing import conform_all, plural, resize_notes
from privaudit.errors import InputError, suggestion
from privaudit.images import Dataset, Images
from privaudit.release import Release
from privaudit.released_statistics import with_classes


def match_classes(members: Dataset, other: Dataset, role: str) -> Dataset:
    """`other` with the members' class names, class numbers, size and channels.

    Classes are compared by name; where one side has no names (they are then "0", "1", ...), by number, with a note.
    `other` may lack classes. role: what `other` is, for messages ('release', 'controls').
    Raises InputError for a class that the members do not have.
    """
    numbers, notes = _numbering(members, other, role)
    labels = numbers[other.images.labels]
    present = np.unique(other.images.labels)
    unknown = present[numbers[present] < 0]
    if len(unknown):
        name = other.class_names[int(unknown[0])]
        more = f" (and {plural(len(unknown) - 1, 'more class', 'more classes')})" if len(unknown) > 1 else ""
        raise InputError(
            f"The {role} has a class that the members do not have: {printable(name)}{more}. Rename it, or remove its "
            f"images. {suggestion(name, members.class_names)}"
        )
    lacking = len(members.class_names) - len(np.unique(labels))
    if lacking:
        notes.append(f"No images of {lacking} of the members' {len(members.class_names)} classes.")
    height, width, channels = members.images.size
    found = other.images.size
    pixels = conform_all(other.images.pixels, (height, width), channels)
    sizes, depths = Counter({found[:2]: len(other)}), Counter({found[2]: len(other)})
    notes += resize_notes(sizes, depths, (height, width), channels)
    return replace(
        other,
        images=Images(pixels, labels),
        class_names=members.class_names,
        notes=(*other.notes, *(f"To match the members: {note[0].lower()}{note[1:]}" for note in notes)),
    )


def match_release(members: Dataset, release: Release, dataset: Dataset) -> tuple[Release, Dataset]:
    """A release and its dataset after `match_classes`; columns of its soft labels, and rows of its statistics,
    follow the members' classes.
    """
    matched = match_classes(members, dataset, "release")
    soft = release.soft_labels
    if soft is not None:
        numbers, _ = _numbering(members, dataset, "release")
        columns = numbers[: soft.shape[-1]]
        if len(columns) != soft.shape[-1] or (columns < 0).any():
            raise InputError("The release's soft labels have columns for classes that the members do not have.")
        renumbered = np.zeros((*soft.shape[:-1], len(members.class_names)), np.float32)
        renumbered[..., columns] = soft
        soft = renumbered
    statistics = release.statistics
    if statistics is not None:
        numbers, _ = _numbering(members, dataset, "release")
        statistics = with_classes(statistics, numbers, len(members.class_names))
    return replace(release, images=matched.images, soft_labels=soft, statistics=statistics), matched


def _is_unnamed(dataset: Dataset) -> bool:
    return dataset.class_names == tuple(map(str, range(len(dataset.class_names))))


def _numbering(members: Dataset, other: Dataset, role: str) -> tuple[NDArray[np.int64], list[str]]:
    """The members' number of each class of `other`, -1 where they have none."""
    count = len(members.class_names)
    if _is_unnamed(members) != _is_unnamed(other) and not set(members.class_names) & set(other.class_names):
        present = int(other.images.labels.max(initial=-1)) + 1
        if present > count:
            raise InputError(
                f"The {role} uses class numbers up to {present - 1}, but the members have {count} classes. Give both "
                "datasets class names."
            )
        numbers = np.arange(len(other.class_names))
        numbers[count:] = -1
        return numbers, ["One side has no class names: classes were compared by their numbers."]
    index = {name: number for number, name in enumerate(members.class_names)}
    return np.array([index.get(name, -1) for name in other.class_names], np.int64), []
