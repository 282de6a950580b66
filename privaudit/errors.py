"""Errors that a person can act on.

Every error that a user can cause derives from `PrivauditError`; its text says what was found, what is allowed
and what to do next. The command line prints the text alone and exits with `exit_code`.

    PrivauditError              2
    ├── InputError              2   data, configuration or command line
    └── IncompleteError         3   the audit could not be finished (an attack crashed, the disk is full)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class PrivauditError(Exception):
    """Root of all errors with a message for people."""

    exit_code = 2

    def __str__(self) -> str:
        """The text, safe to print: names in it may come from hostile files."""
        return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in super().__str__())


class InputError(PrivauditError):
    """The data, the configuration or the command line is not usable as given."""


class IncompleteError(PrivauditError):
    """The audit could not be finished; what was computed before is kept in the store."""

    exit_code = 3


def suggestion(found: str, allowed: Iterable[str]) -> str:
    """A closing sentence for an unknown name: the nearest allowed one, else the list of all."""
    names = sorted(allowed)
    close = difflib.get_close_matches(found, names, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Allowed: {', '.join(names)}." if names else "None are available."
