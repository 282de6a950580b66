"""Writing a release folder: complete or not at all, and equal releases as equal files."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privaudit.data.croissant import CROISSANT, croissant_json
from privaudit.data.datasheet import DATASHEET, datasheet
from privaudit.data.description import describe_release
from privaudit.data.npz import list_shards
from privaudit.data.release_folder import SOFT_LABELS, STATISTICS, image_files
from privaudit.data.release_manifest import MANIFEST, Manifest, as_json
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import Release
from privaudit.released_statistics import checked
from privaudit.views import soft_label_shape

SHARD_ABOVE = 100_000
SHARD_SIZE = 10_000

_LOADED_ARTIFACTS = frozenset({"soft_labels", "statistics"})


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
    pictures, labels = ([], None) if shards else image_files(folder)
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
        return as_json(content)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The release's class names, claim or provenance cannot be written as JSON: {error}"
        ) from error


def _compact(soft_labels: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """In half the bytes where that loses nothing."""
    half = soft_labels.astype(np.float16)
    return half if np.array_equal(half, soft_labels) else soft_labels


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
