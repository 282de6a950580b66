"""The release folder: readable without this package, lossless, complete or absent.

release.json                                     class names, claim, provenance; written last
images/<class, 5 digits>/<row, 9 digits>.png     above 100,000 images: images/<number, 5 digits>.npz
soft_labels.npy                                  float [N, classes] in row order, where there are any; where
                                                 release.json names views, [N, views, classes]
statistics.npz                                   class-wise statistics (see `privaudit.released_statistics`), where any
croissant.json, DATASHEET.md                     what the others say, for catalogues and for readers; never read back
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.decoding import Window, check_inside
from privaudit.data.folders import decode_files
from privaudit.data.npy import printable, read_npy
from privaudit.data.npz import check_soft_labels, list_shards, load_npz
from privaudit.data.release_manifest import MANIFEST, Claim, read_manifest
from privaudit.data.resizing import describe, plural
from privaudit.data.statistics_file import read_statistics
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.release import PrivacyClaim, Release
from privaudit.views import Views
from privaudit.views import checked as checked_views

SOFT_LABELS = "soft_labels.npy"
STATISTICS = "statistics.npz"

_ROW = re.compile(r"([0-9]{5})/([0-9]{9})\.png")


def load_release_folder(
    source: str,
    folder: Path,
    *,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> tuple[Release, Dataset]:
    """The release and its dataset, rows in published order. Artifacts that cannot be loaded yet are named in notes."""
    manifest, notes = read_manifest(folder)
    check_inside(folder / "images", folder)
    shards = list_shards(folder / "images") if (folder / "images").is_dir() else []
    if shards:
        dataset, _ = load_npz(source, shards, size=size, channels=channels)
        images, names, converted = dataset.images, dataset.names, list(dataset.notes[1:])
        if "class_names" in manifest.model_fields_set and dataset.class_names not in (
            manifest.class_names,
            tuple(map(str, range(len(dataset.class_names)))),
        ):
            raise InputError(f"The shards in images/ have other class_names than {MANIFEST}. Make them equal.")
        converted = [note for note in converted if "class_names" not in note]
    else:
        files, labels = image_files(folder)
        pixels, converted = decode_files(files, folder, window=window, size=size, channels=channels)
        images = Images(pixels, labels)
        names = tuple(path.relative_to(folder).as_posix() for path in files)
    classes = len(manifest.class_names)
    if int(images.labels.max()) >= classes:
        raise InputError(f"images/ has the class number {images.labels.max()}, but {MANIFEST} names {classes} classes.")
    if manifest.images not in (None, len(images)):
        raise InputError(
            f"{MANIFEST} promises {manifest.images} images, but {len(images)} are there. The release is incomplete."
        )
    soft, views = _soft_labels(folder, manifest.views, len(images), classes)
    statistics = _statistics(folder, classes)
    loaded = {"soft_labels"} | ({"statistics"} if statistics is not None else set())
    unread = [f"artifact {printable(name)}" for name in manifest.artifacts if name not in loaded]
    notes += [f"Not assessed: the release lists the {name}, which cannot be loaded yet." for name in unread]
    strangers = sum(path.is_file() for path in (folder / "images").rglob("*")) - (len(shards) or len(names))
    if strangers > 0:
        unread.append(f"{plural(strangers, 'file')} not named as a release's images are")
        notes.append(f"Not assessed: {unread[-1]}, under images/.")
    detected = f"Read as a release folder: {plural(len(images), 'image')} of {describe(*images.size)}."
    claim = manifest.claim
    release = Release(
        images,
        soft_labels=soft,
        views=views,
        statistics=statistics,
        claim=None if claim is None else PrivacyClaim(**claim.model_dump(include=set(Claim.model_fields))),
        provenance=manifest.provenance,
        unread=tuple(unread),
    )
    return release, Dataset(images, manifest.class_names, None, names, source, (detected, *converted, *notes))


def image_files(folder: Path) -> tuple[list[Path], NDArray[np.int64]]:
    """The image files in row order and their class numbers."""
    found: dict[int, tuple[int, Path]] = {}
    for path in (folder / "images").glob("*/*.png"):
        match = _ROW.fullmatch(f"{path.parent.name}/{path.name}")
        if match is None:
            continue
        row = int(match[2])
        if row in found:
            raise InputError(f"The release has the row {row} twice, under two classes. Every row number must differ.")
        found[row] = (int(match[1]), path)
    if not found:
        raise InputError(
            f"The folder has a {MANIFEST} but no images/<class, 5 digits>/<row, 9 digits>.png and no images/*.npz."
        )
    rows = [found[row] for row in sorted(found)]
    return [path for _, path in rows], np.array([label for label, _ in rows], np.int64)


def _soft_labels(
    folder: Path, listed: Sequence[Sequence[int]], count: int, classes: int
) -> tuple[NDArray[np.float32] | None, Views | None]:
    path = folder / SOFT_LABELS
    if not path.exists():
        if listed:
            raise InputError(f"{MANIFEST} names views, but there is no {SOFT_LABELS} with soft labels for them.")
        return None, None
    check_inside(path, folder)
    values = check_soft_labels(read_npy(path, SOFT_LABELS), count, SOFT_LABELS, views=bool(listed))
    if values.shape[-1] != classes:
        raise InputError(f"{SOFT_LABELS} has {values.shape[-1]} columns, but there are {classes} classes.")
    return values, checked_views(np.array(listed, np.int64), values.shape) if listed else None


def _statistics(folder: Path, classes: int) -> dict[str, NDArray[Any]] | None:
    path = folder / STATISTICS
    if not path.exists():
        return None
    check_inside(path, folder)
    return read_statistics(path, classes)
