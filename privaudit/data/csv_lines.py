"""Lines of a CSV file, none of them long enough to fill the memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from privaudit.errors import InputError

_LONGEST = 2**20


def lines(file: TextIO, shown: str) -> Iterator[str]:
    """The lines from here on, ends included. Raises InputError for a line of over a million letters."""
    while line := file.readline(_LONGEST):
        if len(line) == _LONGEST:
            raise InputError(f"{shown} has a line of over {_LONGEST:,} letters. Put every file on a line of its own.")
        yield line
