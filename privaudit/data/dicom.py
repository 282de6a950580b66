"""Decode single grey DICOM images (with pydicom): rescaled, through a window, MONOCHROME1 turned.

The headers are full of names: nothing from them but sizes, types and transfer syntaxes ever stands in a message.
Source: DICOM PS3.5 8.1.1 (pixel cells) and annex A (transfer syntaxes).
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.decoded import (
    MALFORMED,
    MAX_PIXELS,
    Conversion,
    Decoded,
    Header,
    Window,
    apply_window,
    checked_window,
    damaged,
    some,
)
from privaudit.data.dicom_header import KEYWORDS, Frame, judged, transfer_syntax
from privaudit.data.dicom_rle import decode_rle
from privaudit.data.optional import optional
from privaudit.errors import InputError

SUFFIXES = frozenset({".dcm", ".dicom"})
MAX_BYTES = 5 * MAX_PIXELS
"""A larger file is refused: four bytes a pixel, and a fifth for the header."""

_RLE = "1.2.840.10008.1.2.5"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_SYNTAXES = "Implicit or Explicit VR uncompressed, RLE Lossless"
_MOST_READS = 200_000


class _Bounded:
    """A file that cannot be made to read beyond its end, nor over and over: a header can declare any length."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._reads = 0
        file.seek(0)

    def read(self, count: int = -1) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise ValueError("too many elements")
        rest = max(0, self._size - self._file.tell())
        return self._file.read(rest if count < 0 else min(count, rest))

    def seek(self, place: int, whence: int = 0) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def has_preamble(head: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file."""
    return head[128:132] == b"DICM"


def probe(file: IO[bytes], name: str) -> Header:
    """What the image declares; refuses all that can be refused without decoding. `name` stands in messages.

    Only single-frame MONOCHROME1 and MONOCHROME2, uncompressed or RLE. `deep`: more than 8 bits, signed, or rescaled.
    """
    with _opened(file, name, pixels=False) as (frame, _):
        return Header(frame.height, frame.width, 1, frame.deep)


def decode(file: IO[bytes], name: str, window: Window | None) -> Decoded:
    """The image through the window: the one given (deep images only), else the file's own, else its 8 bits as stored.

    Raises InputError for a deep image with neither; for parameters see `decoding.decode`.
    """
    with _opened(file, name, pixels=True) as (frame, dataset):
        conversions: list[Conversion] = []
        if frame.deep and window is not None:
            chosen = checked_window(window, name, "DICOM")
            conversions.append(Conversion.WINDOWED)
        elif frame.own is not None:
            chosen = frame.own
            conversions.append(Conversion.OWN_WINDOW)
        elif frame.deep:
            chosen = checked_window(None, name, "DICOM without a window of its own")
        else:
            chosen = 0.0, float(2**frame.stored - 1)
        pixels = apply_window(_values(frame, dataset, name), chosen)
        if frame.rescaled:
            conversions.append(Conversion.RESCALED)
        if frame.inverted:
            conversions.append(Conversion.INVERTED)
            pixels = 255 - pixels
        return Decoded(np.ascontiguousarray(pixels), tuple(conversions))


def deep_sample(file: IO[bytes], name: str, most: int) -> NDArray[np.float32] | None:
    """Rescaled values of at most `most` pixels of a deep image; None for others."""
    with _opened(file, name, pixels=True) as (frame, dataset):
        return some(_values(frame, dataset, name), most) if frame.deep else None


@contextmanager
def _opened(file: IO[bytes], name: str, pixels: bool) -> Iterator[tuple[Frame, Any]]:
    """The declared frame and pydicom's data set, with or without pixel data; malformed files become InputError.

    pydicom's errors and log quote header values, which may be a patient's: none is kept as a cause, none is logged.
    """
    if not has_preamble(file.read(132)):
        raise InputError(
            f"'{name}' is in a format that is not read as an image: it is named as DICOM, but lacks the preamble of "
            "one (DICM at byte 128). Save it as a DICOM file or as PNG, or remove it."
        )
    if file.seek(0, os.SEEK_END) > MAX_BYTES:
        raise InputError(
            f"'{name}' is larger than {MAX_BYTES // 2**20} MiB, the most that is read as one image. Convert it to "
            "PNG or remove it."
        )
    pydicom = optional("pydicom", "dicom", f"'{name}' is a DICOM file, which")
    with warnings.catch_warnings(), _unlogged():
        warnings.simplefilter("ignore")
        try:
            syntax = transfer_syntax(file)
            if syntax != _RLE and syntax not in _NATIVE:
                shown = pydicom.uid.UID(syntax).name
                raise InputError(
                    f"'{name}' is compressed or encoded as {shown[:80]}; read are: {_SYNTAXES}. Save it uncompressed."
                )
            tags = [*KEYWORDS, *(["PixelData"] if pixels else [])]
            dataset = pydicom.dcmread(_Bounded(file), stop_before_pixels=not pixels, specific_tags=tags)
            yield judged(dataset, name, syntax == _RLE), dataset
        except (*MALFORMED, pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException):
            raise damaged(name) from None


@contextmanager
def _unlogged() -> Iterator[None]:
    logger = logging.getLogger("pydicom")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _values(frame: Frame, dataset: Any, name: str) -> NDArray[np.float32]:
    """Rescaled values [H, W]."""
    if "PixelData" not in dataset:
        raise InputError(f"'{name}' holds no pixels of whole numbers (no Pixel Data). Remove it.")
    if frame.compressed:
        encaps = optional("pydicom.encaps", "dicom", "DICOM")
        stored = decode_rle(
            encaps.get_frame(dataset.PixelData, 0, number_of_frames=1), frame.height, frame.width, frame.allocated // 8
        )
    else:
        stored = np.asarray(dataset.pixel_array)
    if stored.shape != (frame.height, frame.width):
        raise ValueError
    values = stored.astype(np.int64) & (2**frame.stored - 1)
    if frame.signed:
        values -= (values >> (frame.stored - 1)) << frame.stored
    scaled: NDArray[np.float32] = (values * frame.slope + frame.intercept).astype(np.float32)
    if not np.isfinite(scaled).all():
        raise InputError(f"'{name}' has pixels that are not numbers after rescaling. Repair or remove it.")
    return scaled
