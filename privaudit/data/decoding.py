"""Decode one image file of a dataset to uint8 [H, W, C], by what its name and first bytes say that it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from privaudit.data import dicom, pictures
from privaudit.data.decoded import (
    MAX_PIXELS,
    Conversion,
    Decoded,
    Header,
    Window,
    apply_window,
    conversion_notes,
)
from privaudit.data.places import check_inside, shown_name
from privaudit.errors import InputError

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "Conversion",
    "Window",
    "apply_window",
    "check_inside",
    "conversion_notes",
    "decode",
    "deep_sample",
    "is_dicom",
    "is_image",
    "probe",
    "shown_name",
]

SUFFIXES = pictures.SUFFIXES | dicom.SUFFIXES


def probe(path: Path, root: Path) -> Header:
    """What the file declares; refuses all that can be refused without decoding."""
    with _opened(path, root) as (file, name):
        return dicom.probe(file, name) if is_dicom(path) else pictures.probe(file, name)


def decode(path: Path, root: Path, window: Window | None = None) -> Decoded:
    """Decode one file of the dataset in `root`; not safe to call from several threads at once (Python's warnings).

    window: the grey values shown as black and white; used for images of more than 8 bits only, which are refused
    without it (DICOM files that have a window of their own are mapped through that one).
    Raises InputError for everything else that is not one ordinary picture.
    """
    with _opened(path, root) as (file, name):
        return dicom.decode(file, name, window) if is_dicom(path) else pictures.decode(file, name, window)


def deep_sample(path: Path, root: Path, most: int = 4096) -> NDArray[np.float32] | None:
    """Values of at most `most` pixels of an image of more than 8 bits (a fixed random choice); None for others."""
    with _opened(path, root) as (file, name):
        return dicom.deep_sample(file, name, most) if is_dicom(path) else pictures.deep_sample(file, name, most)


def is_image(path: Path) -> bool:
    """Whether the file is to be read as an image: by its name, or as DICOM by its first bytes."""
    return path.suffix.lower() in SUFFIXES or is_dicom(path)


def is_dicom(path: Path) -> bool:
    """Whether the file is to be read as DICOM: named so, or with its preamble and no other image's name."""
    suffix = path.suffix.lower()
    if suffix in dicom.SUFFIXES or suffix in pictures.SUFFIXES or not path.is_file():
        return suffix in dicom.SUFFIXES
    try:
        with path.open("rb") as file:
            return dicom.has_preamble(file.read(132))
    except OSError:
        return False


@contextmanager
def _opened(path: Path, root: Path) -> Iterator[tuple[IO[bytes], str]]:
    check_inside(path, root)
    name = shown_name(path, root)
    try:
        if path.stat().st_size == 0:
            raise InputError(f"'{name}' is empty (zero bytes). Remove it or restore the image.")
        file = path.open("rb")
    except OSError as error:
        raise InputError(
            f"'{name}' cannot be opened ({type(error).__name__}). Check its rights, or remove it."
        ) from error
    with file:
        yield file, name
