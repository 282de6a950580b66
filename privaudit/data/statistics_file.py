"""Class-wise statistics that are published with a candidate, from a .npz file; see `privaudit.released_statistics`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from privaudit.data.named_file import ordinary_file
from privaudit.data.npy import open_npz, printable
from privaudit.errors import InputError
from privaudit.released_statistics import checked

_MOST_BYTES = 2**31


def read_statistics(path: Path, classes: int) -> dict[str, NDArray[Any]]:
    """The statistics in a file. Raises InputError where it is no .npz, or holds anything else."""
    ordinary_file(path, "statistics", _MOST_BYTES)
    shown = printable(path.name)
    with open_npz(path, shown) as file:
        if file.not_arrays:
            raise InputError(f"{shown} holds something beside arrays. Save statistics with numpy.savez.")
        return checked({name: file.read(name) for name in file.headers}, classes)
