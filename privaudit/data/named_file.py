"""Files that a user names one by one: ordinary ones only, so that nothing else is opened, waited for or followed."""

from __future__ import annotations

import stat
from pathlib import Path

from privaudit.data.npy import printable
from privaudit.errors import InputError


def ordinary_file(path: Path, what: str, most: int) -> int:
    """The size of the file in bytes. what: the option or key that names it, for messages.

    Raises InputError for what is missing, is a link, a folder or a device, is empty, or has more than `most` bytes.
    """
    shown = f"{what}: {printable(path.name or str(path))}"
    try:
        found = path.lstat()
    except OSError as error:
        raise InputError(f"{what}: '{path}' cannot be read ({error.strerror}). Give the path of a file.") from None
    if stat.S_ISLNK(found.st_mode):
        raise InputError(f"{shown} is a link. Give the file itself: what is published must be what is looked at.")
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{shown} is a folder or a device. Give the path of a file.")
    if not 0 < found.st_size <= most:
        raise InputError(f"{shown} has {found.st_size:,} bytes; 1 to {most:,} are read.")
    return found.st_size
