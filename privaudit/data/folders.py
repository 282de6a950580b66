"""A folder of class folders as a dataset: `folder/<class>/<image file>`, optionally with a `groups.csv` beside."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privaudit.data.csv_lines import lines
from privaudit.data.decoded import Window
from privaudit.data.decoding import SUFFIXES, is_image
from privaudit.data.places import check_inside, shown_name
from privaudit.data.resizing import describe, plural
from privaudit.data.stored import ImageFile, decode_all
from privaudit.errors import InputError
from privaudit.images import Dataset, Images

GROUPS_FILE = "groups.csv"
_EMPTY = "empty class folder"
MAX_NAME = 200
"""Longest name of a group or class."""

_SYSTEM = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"})
_UNREAD = frozenset(
    f".{suffix}"
    for suffix in (
        *("heic", "heif", "avif", "jp2", "j2k", "jxl", "svg", "nii", "gz", "nrrd", "mha", "mhd"),
        *("npy", "npz", "psd", "raw", "dng", "cr2", "nef", "arw", "exr", "hdr", "tga", "pcx", "ico", "eps", "pdf"),
        *("jfif", "jpe", "apng", "mpo", "pnm", "pfm"),
    )
)
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"P5\n", b"P6\n")


@dataclass
class Listing:
    """The image files of a dataset's folder in row order, and what else was met."""

    root: Path
    class_names: tuple[str, ...]
    files: list[Path] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def is_hidden(path: Path) -> bool:
    """Whether the operating system put it there, or it is hidden (.DS_Store, Thumbs.db, __MACOSX)."""
    return path.name.startswith(".") or path.name.lower() in _SYSTEM or path.name == "__MACOSX"


def _shown_suffix(path: Path) -> str:
    """The suffix as it may stand in a note: what is no common suffix could be a part of a name."""
    suffix = path.suffix.lower()
    return suffix if 1 < len(suffix) <= 5 and suffix[1:].isascii() and suffix[1:].isalnum() else "other"


def list_classes(root: Path) -> Listing:
    """The images under the class folders of `root`, classes and files sorted by name.

    Raises InputError for loose images, nested folders, and for files that are images under another name or in a
    format that is not read: leaving them out silently would audit less than the user thinks.
    """
    skipped: Counter[str] = Counter()
    folders: list[Path] = []
    loose = 0
    for path in _children(root, root):
        if is_hidden(path):
            skipped["hidden"] += 1
        elif path.is_dir():
            folders.append(path)
        elif is_image(path):
            loose += 1
        elif path.name != GROUPS_FILE:
            skipped[_shown_suffix(path)] += 1
    if loose:
        raise InputError(
            f"{plural(loose, 'image')} lie{'s' if loose == 1 else ''} directly in the folder, without a class. Put "
            "every image into a folder named after its class (folder/<class>/<image>); one class is enough."
        )
    if not folders:
        raise InputError(
            "The folder holds no class folders, no .npz files and no release.json. Expected is folder/<class>/<image>."
        )
    listing = Listing(root, tuple(folder.name for folder in folders))
    for label, folder in enumerate(folders):
        _list_class(folder, root, label, listing, skipped)
    if not listing.files:
        raise InputError(f"None of the {plural(len(folders), 'class folder')} holds an image.")
    empty = skipped.pop(_EMPTY, 0)
    if empty:
        listing.notes.append(f"{plural(empty, 'class folder has', 'class folders have')} no images.")
    hidden = skipped.pop("hidden", 0)
    if hidden:
        listing.notes.append(f"{plural(hidden, 'hidden or system file')} left out.")
    if skipped:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(skipped.items()))
        listing.notes.append(f"{plural(skipped.total(), 'file')} that hold no images left out ({kinds}).")
    return listing


def load_folder(
    source: str, root: Path, *, window: Window | None, size: tuple[int, int] | None, channels: int | None
) -> Dataset:
    """The dataset of a folder of class folders."""
    listing = list_classes(root)
    pixels, notes = decode_files(listing.files, root, window=window, size=size, channels=channels)
    names = tuple(path.relative_to(root).as_posix() for path in listing.files)
    groups, group_notes = _read_groups(root, names)
    detected = (
        f"Read as a folder of {plural(len(listing.class_names), 'class folder')}: {plural(len(names), 'image')} of "
        f"{describe(*pixels.shape[1:])}."
    )
    images = Images(pixels, np.array(listing.labels, np.int64))
    return Dataset(images, listing.class_names, groups, names, source, (detected, *listing.notes, *notes, *group_notes))


def decode_files(
    files: Sequence[Path],
    root: Path,
    *,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels of all files in order, of one size, and notes on what was converted; see `stored.decode_all`."""
    return decode_all([ImageFile(path, root) for path in files], window=window, size=size, channels=channels)


def _children(folder: Path, root: Path) -> list[Path]:
    """Entries of a folder sorted by name, each inside the dataset's folder and with a printable name."""
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise InputError(f"A folder of the dataset cannot be listed: {error.strerror}.") from error
    for path in entries:
        if not path.name.isprintable():
            raise InputError(
                f"'{shown_name(path, root)}' has a name with unprintable characters (shown as '?'). Rename it."
            )
        if not is_hidden(path):
            check_inside(path, root)
    return entries


def _list_class(folder: Path, root: Path, label: int, listing: Listing, skipped: Counter[str]) -> None:
    if len(folder.name) > MAX_NAME:
        raise InputError(f"A class folder's name is longer than {MAX_NAME} letters. Rename it.")
    before = len(listing.files)
    for path in _children(folder, root):
        if is_hidden(path):
            skipped["hidden"] += 1
        elif path.is_dir():
            raise InputError(
                f"'{shown_name(path, root)}' is a folder inside the class folder '{folder.name}'. Expected is "
                "folder/<class>/<image>: give the folder that holds the class folders directly, or flatten it."
            )
        elif is_image(path):
            listing.files.append(path)
            listing.labels.append(label)
        else:
            _refuse_disguised(path, root)
            skipped[_shown_suffix(path)] += 1
    if len(listing.files) == before:
        skipped[_EMPTY] += 1


def _refuse_disguised(path: Path, root: Path) -> None:
    """Raise InputError where a file is data that would be left out: an unread format, or an image by its bytes."""
    with path.open("rb") as file:
        head = file.read(12)
    if path.suffix.lower() in _UNREAD:
        raise InputError(
            f"'{shown_name(path, root)}' is in a format that is not read as an image. Allowed: "
            f"{', '.join(sorted(SUFFIXES))}. Convert it to PNG or remove it."
        )
    if head.startswith(_MAGIC) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP"):
        raise InputError(
            f"'{shown_name(path, root)}' looks like an image, but its name does not say so. Rename it with the right "
            "suffix (.png, .jpg, ...) or remove it."
        )


def _read_groups(root: Path, names: tuple[str, ...]) -> tuple[NDArray[np.str_] | None, list[str]]:
    """The group of each file from groups.csv (columns file, group); files that it does not list: unknown."""
    path = root / GROUPS_FILE
    if not path.exists():
        return None, []
    check_inside(path, root)
    rows = {name: row for row, name in enumerate(names)}
    groups = [""] * len(names)
    seen: set[int] = set()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(lines(file, GROUPS_FILE))
            if not {"file", "group"} <= set(reader.fieldnames or ()):
                raise InputError(f"{GROUPS_FILE} needs the columns 'file' and 'group' in its first line.")
            for line in reader:
                if None in line or None in line.values():
                    raise InputError(f"{GROUPS_FILE} line {reader.line_num} has other columns than the first line.")
                name, group = line["file"].replace("\\", "/"), line["group"].strip()
                if name not in rows:
                    raise InputError(
                        f"{GROUPS_FILE} line {reader.line_num} names a file that is not among the images. Write it as "
                        "<class>/<file>, relative to the folder."
                    )
                if len(group) > MAX_NAME or not group.isprintable():
                    raise InputError(
                        f"{GROUPS_FILE} line {reader.line_num}: the group must be printable and at most {MAX_NAME} "
                        "letters long."
                    )
                row = rows[name]
                if row in seen and groups[row] != group:
                    raise InputError(f"{GROUPS_FILE} line {reader.line_num} gives a second group to a file.")
                seen.add(row)
                groups[row] = group
    except OSError as error:
        raise InputError(f"{GROUPS_FILE} cannot be read: {error.strerror}. It must be a file.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{GROUPS_FILE} is not a CSV file in UTF-8. Save it again as such.") from error
    unknown = groups.count("")
    note = f"{plural(len({*groups} - {''}), 'group')} read from {GROUPS_FILE}"
    note += f"; {plural(unknown, 'image')} without a group, each a unit of its own." if unknown else "."
    return np.array(groups, np.str_), [note]
