"""Load any dataset that a command accepts; what was detected and converted is told in the dataset's notes.

A source is a folder of class folders, a CSV table of files, a `.npz`, a folder of `.npz` shards, a release folder, a
folder written by `save_to_disk`, `torchvision:NAME/split` with a local root, or the built-in `digits`. Nothing is
downloaded, and no pickle is read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from privaudit.data.builtin import PREFIX, load_digits, load_torchvision
from privaudit.data.decoded import Window
from privaudit.data.decoding import is_image
from privaudit.data.folders import is_hidden, list_classes, load_folder
from privaudit.data.matching import match_classes, match_release
from privaudit.data.npy import printable
from privaudit.data.npz import list_shards, load_npz
from privaudit.data.release_folder import load_release_folder
from privaudit.data.release_manifest import MANIFEST
from privaudit.data.release_writing import write_release
from privaudit.data.resizing import conform_all, plural, resize_notes
from privaudit.data.saved_dataset import is_saved, load_saved, read_saved
from privaudit.data.stored import ImageFile, window_of
from privaudit.data.tables import is_table, load_table, read_table
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.release import Release

__all__ = ["load", "load_release", "match_classes", "match_release", "members_window", "write_release"]

DIGITS = "digits"


def load(
    source: str | Path,
    *,
    window: Window | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    root: str | Path | None = None,
) -> Dataset:
    """The dataset of a source.

    window: grey values shown as black and white, for images of more than 8 bits (see `members_window`).
    size: all images are resized to it, (height, width) or one number for both; default: the commonest size.
    channels: 1 or 3; default: 3 where any image has colour. root: local folder of a `torchvision:` source.
    Raises InputError for anything that cannot be loaded as it is.
    """
    return _load(source, window, size, channels, root)[1]


def load_release(
    source: str | Path,
    *,
    window: Window | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    root: str | Path | None = None,
) -> tuple[Release, Dataset]:
    """A release candidate and its dataset (class names, file names, notes); parameters as for `load`.

    Soft labels, claim and provenance come from a release folder, soft labels also from `.npz`. What is listed but
    cannot be loaded is named in the notes as not assessed.
    """
    release, dataset = _load(source, window, size, channels, root)
    return release, replace(dataset, notes=(*dataset.notes, *_unscanned(source)))


def members_window(source: str | Path) -> Window | None:
    """The window to load members, controls and release with: 0.5 and 99.5 percentile of the members' deep pixels.

    None where the members have no images of more than 8 bits.
    """
    path = Path(source)
    if is_named(source):
        return None
    _check_path(path)
    if is_table(path):
        table = read_table(path)
        return window_of([ImageFile(file, table.root) for file in table.files])
    if not path.is_dir() or (path / MANIFEST).exists():
        return None
    if is_saved(path):
        return window_of(read_saved(path).images)
    return None if _is_shards(path) else window_of([ImageFile(file, path) for file in list_classes(path).files])


def _load(
    source: str | Path,
    window: Window | None,
    size: int | tuple[int, int] | None,
    channels: int | None,
    root: str | Path | None,
) -> tuple[Release, Dataset]:
    target = _checked_size(size)
    if channels not in (None, 1, 3):
        raise InputError(f"Images have 1 channel (grey) or 3 (colour); found {channels}.")
    text = str(source)
    release: Release | None = None
    if text.startswith(PREFIX):
        dataset = _conformed(load_torchvision(text, None if root is None else Path(root)), target, channels)
    elif text == DIGITS and isinstance(source, str):
        dataset = _conformed(load_digits(), target, channels)
    else:
        _check_path(Path(source))
        release, dataset = _load_path(text, Path(source), window, target, channels)
    dataset = replace(dataset, notes=(*dataset.notes, *_small_classes(dataset)))
    return release or Release(dataset.images), dataset


def _check_path(path: Path) -> None:
    """Raise InputError for a path that the system refuses to look up, for its length or the rights above it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "no path has such letters"
        raise InputError(f"{printable(str(path))} cannot be opened ({what}). Give the path of a dataset.") from error


def _load_path(
    source: str, path: Path, window: Window | None, size: tuple[int, int] | None, channels: int | None
) -> tuple[Release | None, Dataset]:
    if path.is_dir():
        if (path / MANIFEST).exists():
            return load_release_folder(source, path, window=window, size=size, channels=channels)
        if is_saved(path):
            return None, load_saved(source, path, window=window, size=size, channels=channels)
        if not _is_shards(path):
            return None, load_folder(source, path, window=window, size=size, channels=channels)
        shards = list_shards(path)
    elif path.is_file() and path.suffix.lower() == ".npz":
        shards = [path]
    elif is_table(path):
        return None, load_table(source, path, window=window, size=size, channels=channels)
    elif path.exists():
        raise InputError(
            f"{printable(path.name)} is neither a folder nor a .npz file nor a .csv table. A dataset is a folder of "
            "class folders, a .csv table of files, a .npz, a folder of .npz shards, a release folder, a folder written "
            "by save_to_disk, torchvision:NAME/split or 'digits'."
        )
    else:
        raise InputError(
            f"'{source}' does not exist. Give the path of a folder of class folders, a .csv table of files, a .npz, a "
            "folder of .npz shards, a release folder or a folder written by save_to_disk; or torchvision:NAME/split or "
            "'digits'."
        )
    dataset, soft = load_npz(source, shards, size=size, channels=channels)
    return Release(dataset.images, soft_labels=soft), dataset


def _unscanned(source: str | Path) -> list[str]:
    """What the file scan of a release cannot cover, for the kinds of source where that is not obvious."""
    path = Path(source)
    if is_named(source):
        return []
    if is_table(path):
        return ["Not assessed: files beside the table that it does not list, were they published with it."]
    if path.is_dir() and is_saved(path) and not (path / MANIFEST).exists():
        return ["Not assessed: bytes between the values in the Arrow files."]
    return []


def _is_shards(path: Path) -> bool:
    """Whether a folder holds `.npz` shards; a mixture with images or class folders is an InputError."""
    try:
        entries = [entry for entry in path.iterdir() if not is_hidden(entry)]
    except OSError as error:
        raise InputError(f"{printable(path.name)} cannot be listed: {error.strerror}.") from error
    shards = [entry for entry in entries if entry.suffix.lower() == ".npz" and not entry.is_dir()]
    others = [entry for entry in entries if entry.is_dir() or is_image(entry)]
    if shards and others:
        raise InputError(
            f"The folder holds {plural(len(shards), '.npz file')} beside {plural(len(others), 'other')}; "
            "it is unclear which of them is the dataset. Keep one kind."
        )
    return bool(shards)


def _conformed(dataset: Dataset, size: tuple[int, int] | None, channels: int | None) -> Dataset:
    """The dataset at another size and number of channels, with notes."""
    images = dataset.images
    height, width, depth = images.size
    target, channels = size or (height, width), channels or depth
    sizes, depths = Counter({(height, width): len(images)}), Counter({depth: len(images)})
    notes = resize_notes(sizes, depths, target, channels)
    images = Images(conform_all(images.pixels, target, channels), images.labels)
    return replace(dataset, images=images, notes=(*dataset.notes, *notes))


def is_named(source: str | Path) -> bool:
    """Whether the source is named ('digits', 'torchvision:NAME'), not a path."""
    return isinstance(source, str) and (source == DIGITS or source.startswith(PREFIX))


def _checked_size(size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise InputError(f"A size must be between 1 and 8192 pixels; found {width} x {height}.")
    return height, width


def _small_classes(dataset: Dataset) -> list[str]:
    """A note without names: a class can be named after a person."""
    single = int((np.bincount(dataset.images.labels) == 1).sum())
    return [f"Warning: {plural(single, 'class has', 'classes have')} a single image."] if single else []
