"""Where a dataset's files lie: names that are safe to print, and links that lead out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from privaudit.errors import InputError


def shown_name(path: Path, root: Path) -> str:
    """The name relative to the dataset's folder, safe to print."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def check_inside(path: Path, root: Path) -> None:
    """Raise InputError for what is not a regular file or folder inside the dataset's folder."""
    try:
        real = os.path.realpath(path, strict=True)
        mode = os.stat(real).st_mode
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{shown_name(path, root)}' cannot be opened ({type(error).__name__}). Remove it or repair the link."
        ) from error
    base = os.path.join(os.path.realpath(root), "")
    if not os.path.join(real, "").startswith(base):
        raise InputError(
            f"'{shown_name(path, root)}' is a link to a place outside the dataset's folder. Only files inside the "
            "folder are read: copy the file into the folder."
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"'{shown_name(path, root)}' is neither a file nor a folder (a pipe or a device). Remove it.")
