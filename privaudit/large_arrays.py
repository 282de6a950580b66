"""Arrays that may be larger than memory: from 256 mebibytes on they lie in a nameless temporary file.

The operating system keeps of it in memory what is in use. Python's rules say where it lies: in the folder of TMPDIR.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from privaudit.errors import InputError

IN_MEMORY = 2**28
"""Bytes up to which an array is an ordinary one."""

_CHUNK = 2**26
_NOT_KNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
"""What file systems answer that cannot reserve blocks."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array of any content. Raises InputError where neither memory nor the temporary folder has room for it."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size <= IN_MEMORY:
        return np.empty(shape, dtype)
    try:
        with tempfile.TemporaryFile(prefix="privaudit-") as file:
            _reserve(file, size)
            return np.asarray(np.memmap(file, dtype=dtype, mode="r+", shape=shape))
    except OSError as error:
        folder = f" in '{tempfile.tempdir}'" if tempfile.tempdir else ""
        raise InputError(
            f"Images of {size / 2**30:.1f} GiB do not fit in memory, and no temporary file could be made for "
            f"them{folder} ({error.strerror or error}). Free some space, let the environment variable TMPDIR name a "
            "folder on a larger disk, or give --size, to which all images are resized."
        ) from error


def taken(array: NDArray[Any], rows: NDArray[Any] | slice) -> NDArray[Any]:
    """`array[rows]`; of a slice, the same memory."""
    if isinstance(rows, slice):
        return array[rows]
    chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if len(chosen) * _row_bytes(array) <= IN_MEMORY:
        return np.asarray(array[chosen])
    found = empty((len(chosen), *array.shape[1:]), array.dtype)
    step = max(1, _CHUNK // _row_bytes(array))
    for start in range(0, len(chosen), step):
        found[start : start + step] = array[chosen[start : start + step]]
    return found


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """All rows of arrays that differ in their number of rows alone."""
    found = empty((sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype)
    start = 0
    for part in parts:
        step = max(1, _CHUNK // _row_bytes(part))
        for row in range(0, len(part), step):
            found[start + row : start + min(row + step, len(part))] = part[row : row + step]
        start += len(part)
    return found


def _row_bytes(array: NDArray[Any]) -> int:
    return max(1, math.prod(array.shape[1:]) * array.dtype.itemsize)


def _reserve(file: IO[bytes], size: int) -> None:
    """Give the file its size, with blocks on the disk: a disk that fills up under a mapped file kills the process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno not in _NOT_KNOWN:
                raise
    if shutil.disk_usage(tempfile.gettempdir()).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
