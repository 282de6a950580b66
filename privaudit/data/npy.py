"""Read numpy arrays from hostile `.npz` and `.npy` files: headers are judged before anything is allocated.

numpy's own reader is not used: it trusts the declared shape, and a kilobyte can declare a terabyte.
"""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from privaudit import large_arrays
from privaudit.data.resizing import MAX_DATASET_BYTES
from privaudit.errors import InputError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000
_MAX_STRING = 1_000
_SUSPECT_BYTES = 2**30
_SUSPECT_RATIO = 200
_TYPES = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|[US][0-9]{1,6})")
_CHUNK = 2**24
_MALFORMED: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    RuntimeError,
    MemoryError,
    ArithmeticError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)
try:
    from lzma import LZMAError
except ImportError:  # a Python built without it; then no LZMA member can be read either
    pass
else:
    _MALFORMED = (*_MALFORMED, LZMAError)


@dataclass(frozen=True)
class ArrayHeader:
    """What a stored array declares; checked against the bytes that follow."""

    dtype: np.dtype[Any]
    fortran: bool
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


class Npz:
    """An opened `.npz`: `headers` by key; `read` gives one array."""

    def __init__(self, archive: zipfile.ZipFile, headers: Mapping[str, ArrayHeader], extra: tuple[str, ...]) -> None:
        self.headers = headers
        self.not_arrays = extra
        self._archive = archive

    def read(self, key: str) -> NDArray[Any]:
        """The array of this key, allocated once and filled in chunks."""
        header = self.headers[key]
        with self._archive.open(f"{key}.npy") as stream:
            stream.read(header.offset)
            return _fill(stream, header)


@contextmanager
def open_npz(path: Path, shown: str) -> Iterator[Npz]:
    """Open an `.npz` and judge all its headers. `shown` names the file in messages.

    Raises InputError for damaged files, object arrays, declared sizes that differ from the stored ones or that are
    beyond `MAX_DATASET_BYTES`, and zip bombs (over 1 GiB and over 200 times the stored size).
    """
    with _readable(shown), zipfile.ZipFile(path) as archive:
        headers: dict[str, ArrayHeader] = {}
        others: list[str] = []
        size = path.stat().st_size
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                others.append(info.filename)
                continue
            key = info.filename[: -len(".npy")]
            if key in headers:
                raise InputError(f"{shown} holds the key {printable(key)} twice. Save it again with numpy.savez.")
            if info.flag_bits & 1:
                raise InputError(f"{shown} is encrypted. Save it again with numpy.savez.")
            with archive.open(info) as stream:
                headers[key] = _header(stream, f"{shown}, key {printable(key)}")
            compressed = min(info.compress_size, size)  # what a zip says of itself may be anything
            _judge(headers[key], info.file_size, compressed, f"{shown}, key {printable(key)}")
        yield Npz(archive, headers, tuple(others))


def read_npy(path: Path, shown: str) -> NDArray[Any]:
    """The array of an `.npy` file, under the same rules."""
    with _readable(shown), path.open("rb") as stream:
        header = _header(stream, shown)
        status = path.stat()
        _judge(header, status.st_size, _on_disk(status), shown)
        return _fill(stream, header)


def _on_disk(status: os.stat_result) -> int:
    """Bytes that a file takes: a sparse one is small, whatever its size."""
    return min(status.st_size, getattr(status, "st_blocks", status.st_size) * 512)


def printable(key: str) -> str:
    """A key of a file in quotes, shortened and safe to print."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in key)
    return f"'{safe[:60]}'"


@contextmanager
def _readable(shown: str) -> Iterator[None]:
    try:
        yield
    except _MALFORMED as error:
        raise InputError(
            f"{shown} is truncated, damaged or no numpy file. Save it again with numpy.savez (or numpy.save)."
        ) from error


def _header(stream: IO[bytes], shown: str) -> ArrayHeader:
    start = stream.read(len(_MAGIC) + 2)
    version = start[len(_MAGIC) : len(_MAGIC) + 1]
    if not start.startswith(_MAGIC) or version not in (b"\x01", b"\x02", b"\x03"):
        raise InputError(f"{shown} holds no numpy array. Save it again with numpy.savez (or numpy.save).")
    width, code = (2, "<H") if version == b"\x01" else (4, "<I")
    length = struct.unpack(code, stream.read(width))[0]
    if length > _MAX_HEADER:
        raise InputError(f"{shown} has an array header of {length} bytes; at most {_MAX_HEADER} are allowed.")
    text = stream.read(length)
    if len(text) != length:
        raise EOFError
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        declared = ast.literal_eval(text.decode("utf-8" if version == b"\x03" else "latin1").strip())
    dtype, fortran, shape = declared["descr"], declared["fortran_order"], declared["shape"]
    if isinstance(dtype, str) and dtype.lstrip("<>|=").startswith("O"):
        raise InputError(
            f"{shown} holds Python objects, which are never read (they can run code). Save plain arrays: uint8 "
            "images, integer labels, names as numpy.array(names, dtype=str)."
        )
    if not isinstance(dtype, str) or not _TYPES.fullmatch(dtype):
        raise InputError(f"{shown} holds values of an unknown type. Save plain numbers or strings.")
    if not (
        isinstance(fortran, bool)
        and isinstance(shape, tuple)
        and len(shape) <= 8
        and all(type(extent) is int and 0 <= extent < 2**48 for extent in shape)
    ):
        raise ValueError
    return ArrayHeader(np.dtype(dtype), fortran, shape, len(start) + width + length)


def _judge(header: ArrayHeader, stored: int, compressed: int, shown: str) -> None:
    if header.nbytes > MAX_DATASET_BYTES:
        raise InputError(
            f"{shown} declares {header.nbytes / 2**30:.1f} GiB; at most {MAX_DATASET_BYTES // 2**30} GiB are read. "
            "Use smaller images."
        )
    if header.offset + header.nbytes != stored:
        raise InputError(
            f"{shown} declares {header.nbytes} bytes of values, but {stored - header.offset} are stored. "
            "It is truncated or damaged: save it again."
        )
    if stored > _SUSPECT_BYTES and stored > _SUSPECT_RATIO * max(compressed, 1):
        raise InputError(
            f"{shown} expands to over {_SUSPECT_RATIO} times its size, like a zip bomb. If it is genuine, save it "
            "without compression (numpy.savez)."
        )
    if header.dtype.kind in "US" and header.dtype.itemsize > 4 * _MAX_STRING:
        raise InputError(f"{shown} holds strings of over {_MAX_STRING} letters. Shorten them.")


def _fill(stream: IO[bytes], header: ArrayHeader) -> NDArray[Any]:
    values = large_arrays.empty((math.prod(header.shape),), header.dtype)
    if header.nbytes:
        view = values.view(np.uint8)
        done = 0
        while done < header.nbytes:
            block = stream.read(min(_CHUNK, header.nbytes - done))
            if not block:
                raise EOFError
            view[done : done + len(block)] = np.frombuffer(block, np.uint8)
            done += len(block)
    if stream.read(1):  # reaching the end also verifies the checksum
        raise ValueError
    return values.reshape(header.shape, order="F" if header.fortran else "C")
