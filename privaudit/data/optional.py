"""Packages that only some formats need: imported when such a file is met."""

from __future__ import annotations

import importlib
from typing import Any

from privaudit.errors import InputError


def optional(module: str, extra: str, need: str) -> Any:
    """The module. need: what it is needed for, as the beginning of a sentence.

    Raises InputError with the line that installs the extra of privaudit which brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{need} needs the package '{module.partition('.')[0]}'. Install it: pip install 'privaudit[{extra}]'."
        ) from error
