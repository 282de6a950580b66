"""A CSV table that lists a dataset's image files: columns `file` and `label`, optionally `group`."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from privaudit.data.csv_lines import lines as bounded_lines
from privaudit.data.decoded import Window
from privaudit.data.folders import MAX_NAME, decode_files
from privaudit.data.npy import printable
from privaudit.data.npz import MAX_CLASSES
from privaudit.data.places import check_inside
from privaudit.data.resizing import describe, plural
from privaudit.errors import InputError
from privaudit.images import Dataset, Images

SUFFIXES = frozenset({".csv", ".tsv"})
MAX_BYTES = 256 * 2**20

_COLUMNS = ("file", "label", "group")
_DELIMITERS = (",", ";", "\t")
_MAX_HEADER = 10_000
_MOST_BLANK = 100_000
_FLOAT = re.compile(r"[+-]?(\d+[.,]\d*|[.,]\d+)([eE][+-]?\d+)?|[Nn]a[Nn]")


@dataclass(frozen=True, eq=False)
class Table:
    """What a table lists, in its order. names: files relative to `root`, the table's folder. others: unread columns."""

    root: Path
    names: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    groups: NDArray[np.str_] | None
    others: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """The image files."""
        return [self.root / name for name in self.names]


def is_table(path: Path) -> bool:
    """Whether the path is that of a table."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def load_table(
    source: str, path: Path, *, window: Window | None, size: tuple[int, int] | None, channels: int | None
) -> Dataset:
    """The dataset that a table lists."""
    table = read_table(path)
    pixels, notes = decode_files(table.files, table.root, window=window, size=size, channels=channels)
    detected = [
        f"Read as a table: {plural(len(table.names), 'image')} in "
        f"{plural(len(table.class_names), 'class', 'classes')}, {describe(*pixels.shape[1:])}."
    ]
    if table.others:
        shown = ", ".join(printable(name) for name in table.others[:5]) + (", ..." if len(table.others) > 5 else "")
        detected.append(f"{plural(len(table.others), 'further column')} of the table not read: {shown}.")
    return Dataset(
        Images(pixels, table.labels),
        table.class_names,
        table.groups,
        table.names,
        source,
        (*detected, *notes, *group_notes(table.groups, "the table")),
    )


def group_notes(groups: NDArray[np.str_] | None, origin: str) -> list[str]:
    """How many groups were read, and how many images are without one."""
    if groups is None:
        return []
    unknown = int((groups == "").sum())
    note = f"{plural(len({*groups.tolist()} - {''}), 'group')} read from {origin}"
    return [note + (f"; {plural(unknown, 'image')} without a group, each a unit of its own." if unknown else ".")]


def read_table(path: Path) -> Table:
    """What the table lists; every listed file is there, inside the table's folder, and listed once.

    The first line names the columns, in any order, separated by comma, semicolon or tab; UTF-8 with or without BOM.
    Raises InputError, naming line and file, for anything else.
    """
    shown = printable(path.name)
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{shown} is larger than {MAX_BYTES // 2**20} MiB. A table holds file names and labels only.")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(file, path, shown)
    except OSError as error:
        raise InputError(f"{shown} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{shown} is not a CSV file in UTF-8. Save it again as such.") from error


def _read(file: TextIO, path: Path, shown: str) -> Table:
    delimiter, header = _header(file.readline(_MAX_HEADER), shown)
    at = {name: header.index(name) for name in _COLUMNS if name in header}
    file.seek(0)
    reader = csv.reader(bounded_lines(file, shown), delimiter=delimiter, strict=True)
    next(reader)
    names: list[str] = []
    labels: list[str] = []
    groups: list[str] = []
    lines: dict[str, int] = {}
    blank = 0
    for fields in reader:
        if not any(field.strip() for field in fields):
            blank += 1
            if blank > _MOST_BLANK:
                raise InputError(f"{shown} has over {_MOST_BLANK} empty lines. Remove them.")
            continue
        where = f"{shown} line {reader.line_num}"
        if len(fields) != len(header):
            raise InputError(
                f"{where} has {plural(len(fields), 'field')}, but the first line names "
                f"{plural(len(header), 'column')}. "
                'Put a field that holds the separator into quotes ("...").'
            )
        name = fields[at["file"]].strip().replace("\\", "/")
        where += f", file {printable(name)}"
        real = _checked_file(name, path.parent, where)
        if real in lines:
            raise InputError(f"{where}: the same file as in line {lines[real]}. List every file once.")
        lines[real] = reader.line_num
        names.append(PurePosixPath(name).as_posix())
        labels.append(_checked_label(fields[at["label"]].strip(), where))
        if "group" in at:
            groups.append(_checked_group(fields[at["group"]].strip(), where))
    if not names:
        raise InputError(f"{shown} lists no files below its first line.")
    class_names = _class_names(labels)
    if len(class_names) > MAX_CLASSES:
        raise InputError(f"{shown} has {len(class_names)} different labels; at most {MAX_CLASSES} classes are allowed.")
    numbers = {name: number for number, name in enumerate(class_names)}
    others = tuple(name for name in header if name not in _COLUMNS)
    return Table(
        path.parent, tuple(names), np.array([numbers[label] for label in labels], np.int64), class_names,
        np.array(groups, np.str_) if "group" in at else None, others,
    )  # fmt: skip


def _header(line: str, shown: str) -> tuple[str, list[str]]:
    """The separator, told from the first line, and the names of the columns."""
    if len(line) >= _MAX_HEADER:
        raise InputError(f"{shown} has a first line of over {_MAX_HEADER} letters. It should name the columns only.")
    for delimiter in _DELIMITERS:
        header = [name.strip() for name in next(csv.reader([line], delimiter=delimiter, strict=True), [])]
        header = [name.lower() if name.lower() in _COLUMNS else name for name in header]
        if {"file", "label"} <= set(header):
            break
    else:
        raise InputError(
            f"{shown} needs the columns 'file' and 'label' in its first line, separated by comma, semicolon or tab; "
            f"found: {printable(line.strip())}."
        )
    double = sorted({name for name in header if name in _COLUMNS and header.count(name) > 1})
    if double:
        raise InputError(f"{shown} has the column {printable(double[0])} twice. Rename one of them.")
    return delimiter, header


def _checked_file(name: str, root: Path, where: str) -> str:
    """The real path of a listed file."""
    if not name:
        raise InputError(f"{where}: no file is named. Fill in the file, or remove the line.")
    if not name.isprintable():
        raise InputError(f"{where}: the name has unprintable characters (shown as '?'). Rename the file.")
    if name.startswith(("/", "~")) or re.match(r"[A-Za-z]:", name):
        raise InputError(f"{where}: an absolute path. Write it relative to the table's folder.")
    if ".." in PurePosixPath(name).parts:
        raise InputError(f"{where}: '..' in a path. Only files in the table's folder and below it are read.")
    path = root / name
    if not os.path.lexists(path):
        raise InputError(f"{where}: the file does not exist. Names are relative to the table's folder.")
    if path.is_dir():
        raise InputError(f"{where}: this is a folder. List its images one by one.")
    try:
        check_inside(path, root)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return os.path.realpath(path)


def _checked_label(label: str, where: str) -> str:
    if not label:
        raise InputError(f"{where}: the label is empty. Give every image a class name or number.")
    if _FLOAT.fullmatch(label):
        raise InputError(
            f"{where}: the label {printable(label)} is a decimal number. A label is a class name or a whole number: "
            "write 1 for 1.0."
        )
    if len(label) > MAX_NAME or not label.isprintable():
        raise InputError(f"{where}: the label must be printable and at most {MAX_NAME} letters long.")
    return label


def _checked_group(group: str, where: str) -> str:
    if len(group) > MAX_NAME or not group.isprintable():
        raise InputError(f"{where}: the group must be printable and at most {MAX_NAME} letters long.")
    return group


def _class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """The different labels, as numbers where all are numbers."""
    names = set(labels)
    if all(name.isascii() and name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (len(name.lstrip("0")), name.lstrip("0"), name)))
    return tuple(sorted(names))
