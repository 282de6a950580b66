"""The release folder: readable without this package, lossless, complete or absent.

release.json                                     class names, claim, provenance; written last
images/<class, 5 digits>/<row, 9 digits>.png     above 100,000 images: images/<number, 5 digits>.npz
soft_labels.npy                                  float [N, classes] in row order, where there are any; where
                                                 release.json names views, [N, views, classes]
statistics.npz                                   class-wise statistics (see `privaudit.released_statistics`), where any
croissant.json, DATASHEET.md                     what the others say, for catalogues and for readers; never read back
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from privaudit.data.croissant import CROISSANT, croissant_json
from privaudit.data.datasheet import DATASHEET, datasheet
from privaudit.data.decoding import Window, check_inside
from privaudit.data.description import describe_release
from privaudit.data.folders import MAX_NAME, decode_files
from privaudit.data.npy import printable, read_npy
from privaudit.data.npz import MAX_CLASSES, check_soft_labels, list_shards, load_npz
from privaudit.data.resizing import describe, plural
from privaudit.data.statistics_file import read_statistics
from privaudit.errors import InputError, suggestion
from privaudit.images import Dataset, Images
from privaudit.release import PrivacyClaim, Release
from privaudit.released_statistics import checked
from privaudit.views import COLUMNS, MOST_VIEWS, Views, soft_label_shape
from privaudit.views import checked as checked_views

MANIFEST = "release.json"
SOFT_LABELS = "soft_labels.npy"
STATISTICS = "statistics.npz"
SHARD_ABOVE = 100_000
SHARD_SIZE = 10_000

_MAX_MANIFEST = 64 * 2**20
_ROW = re.compile(r"([0-9]{5})/([0-9]{9})\.png")
_LOADED_ARTIFACTS = frozenset({"soft_labels", "statistics"})

Whole = Annotated[int, Field(ge=-(2**31), le=2**31, strict=True)]
View = Annotated[tuple[Whole, ...], Field(min_length=len(COLUMNS), max_length=len(COLUMNS))]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]


class Claim(BaseModel):
    """A privacy claim in release.json: all keys or none."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    epsilon: float = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["image", "person"]
    adjacency: Literal["add/remove", "replace"]
    mechanism: dict[str, Any]
    accountant: str
    trust_model: str
    sampling: str = ""


class Manifest(BaseModel):
    """release.json. `artifacts`: what is published beside the images, by name, with its file in the folder.

    views: what the soft labels of an image are given for, see `privaudit.views`; empty: for the image itself.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    format: Literal["privaudit release"] = "privaudit release"
    version: Literal[1] = 1
    class_names: tuple[ClassName, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    images: int | None = Field(None, ge=1)
    artifacts: dict[str, str] = Field(default_factory=dict)
    views: tuple[View, ...] = Field((), max_length=MOST_VIEWS)
    claim: Claim | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("class_names")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names) or not all(name.isprintable() for name in names):
            raise ValueError("names must differ and be printable")
        return names


def read_manifest(folder: Path) -> tuple[Manifest, list[str]]:
    """release.json, validated, and one note per key that is not understood."""
    path = folder / MANIFEST
    check_inside(path, folder)
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise InputError(f"{MANIFEST} is larger than {_MAX_MANIFEST // 2**20} MiB. It should hold names only.")
        content = json.loads(path.read_bytes())
        manifest = Manifest.model_validate(content)
        _as_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        keys = Claim.model_fields if place.startswith("claim") else Manifest.model_fields
        raise InputError(
            f"{MANIFEST} is not usable: {printable(place)}: {first['msg']}. Keys: {', '.join(keys)}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{MANIFEST} is not a JSON file in UTF-8. Write it again.") from error
    notes = _unknown(manifest, "")
    if manifest.claim is not None:
        notes += _unknown(manifest.claim, "claim.")
    return manifest, notes


def _unknown(model: BaseModel, prefix: str) -> list[str]:
    return [
        f"Not assessed: {MANIFEST} has the unknown key {printable(prefix + key)}. "
        f"{suggestion(key, type(model).model_fields)}"
        for key in model.model_extra or {}
    ]


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
        files, labels = _rows(folder)
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


def _rows(folder: Path) -> tuple[list[Path], NDArray[np.int64]]:
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


def write_release(
    release: Release, class_names: Sequence[str], folder: Path, *, shard_above: int = SHARD_ABOVE
) -> None:
    """Write a release folder: everything into a hidden folder beside it, renamed when complete.

    `folder` must not exist or be empty. Loading it again gives the same pixels, labels and soft labels.
    Equal releases give equal files. Raises InputError for what the format cannot hold: a teacher, values that JSON
    cannot carry.
    """
    text = _manifest_text(release, class_names)
    statistics = None if release.statistics is None else checked(release.statistics, len(class_names))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' exists and is not an empty folder. Choose another one.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        if len(release.images) > shard_above:
            _write_shards(release.images, class_names, partial / "images")
        else:
            _write_files(release.images, partial / "images")
        if release.soft_labels is not None:
            np.save(partial / SOFT_LABELS, _compact(release.soft_labels), allow_pickle=False)
        if statistics is not None:
            np.savez(partial / STATISTICS, **statistics)  # type: ignore[arg-type]
        for name, content in describing_files(partial, Manifest.model_validate(json.loads(text))).items():
            (partial / name).write_bytes(content)
        with (partial / MANIFEST).open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def describing_files(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    """croissant.json and DATASHEET.md as they are written into a release folder with these files and this manifest.

    The file scan compares with it: where its words change, it reports the files of releases that were written before.
    Raises InputError where the folder holds no readable release.
    """
    images = folder / "images"
    shards = list_shards(images) if images.is_dir() else []
    pictures, labels = ([], None) if shards else _rows(folder)
    soft_labels = folder / SOFT_LABELS
    facts = describe_release(
        folder,
        pictures=pictures,
        labels=labels,
        shards=shards,
        soft_labels=soft_labels if soft_labels.exists() else None,
        class_names=manifest.class_names,
        artifacts=manifest.artifacts,
        claim=None if manifest.claim is None else manifest.claim.model_dump(),
        provenance=manifest.provenance,
    )
    return {CROISSANT: croissant_json(facts), DATASHEET: datasheet(facts)}


def _manifest_text(release: Release, class_names: Sequence[str]) -> bytes:
    unwritable = [name for name in release.artifacts if name not in _LOADED_ARTIFACTS]
    if unwritable:
        raise InputError(f"A release folder cannot hold {' and '.join(unwritable)} yet. Leave it out of the release.")
    if len(release.images) == 0:
        raise InputError("A release without images cannot be written.")
    if int(release.images.labels.min()) < 0 or int(release.images.labels.max()) >= len(class_names):
        raise InputError(f"The labels of the release must be 0 to {len(class_names) - 1}, one class name each.")
    wanted = soft_label_shape(len(release.images), release.views, len(class_names))
    if release.soft_labels is not None and release.soft_labels.shape != wanted:
        raise InputError(f"Soft labels need one row per image and one column per class ({len(class_names)}).")
    content: dict[str, Any] = {
        "format": "privaudit release",
        "version": 1,
        "images": len(release.images),
        "class_names": list(class_names),
        **({} if release.views is None else {"views": release.views.tolist()}),
        "claim": None if release.claim is None else _plain(asdict(release.claim)),
        "provenance": _plain(release.provenance),
    }
    try:
        Manifest.model_validate(content)
        return _as_json(content)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The release's class names, claim or provenance cannot be written as JSON: {error}"
        ) from error


def _compact(soft_labels: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """In half the bytes where that loses nothing."""
    half = soft_labels.astype(np.float16)
    return half if np.array_equal(half, soft_labels) else soft_labels


def _as_json(content: Any) -> bytes:
    """The content as JSON in UTF-8; ValueError for what JSON cannot carry (NaN, infinity, half of a character)."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): _plain(value) if isinstance(value, Mapping) else value for key, value in values.items()}


def _write_files(images: Images, folder: Path) -> None:
    for label in np.unique(images.labels):
        (folder / f"{label:05d}").mkdir(parents=True)
    for row, (image, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
        flat = np.ascontiguousarray(image[:, :, 0] if image.shape[2] == 1 else image)
        Image.fromarray(flat).save(folder / f"{label:05d}" / f"{row:09d}.png")


def _write_shards(images: Images, class_names: Sequence[str], folder: Path) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, len(images), SHARD_SIZE)):
        part = images.take(slice(start, start + SHARD_SIZE))
        np.savez_compressed(
            folder / f"{number:05d}.npz",
            images=part.pixels,
            labels=part.labels,
            class_names=np.array(class_names, np.str_),
        )
