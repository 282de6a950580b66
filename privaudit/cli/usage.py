"""Wrong use of the command line, in words that need no knowledge of how options are checked."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

_PLAIN: Mapping[str, str] = {
    r"Value error, ": "",
    r"Input should be greater than or equal to (\S+)": r"it must be at least \1.",
    r"Input should be less than or equal to (\S+)": r"it must be at most \1.",
    r"Input should be a valid integer.*": "it must be a whole number.",
    r"Input should be a valid number.*": "it must be a number.",
}


class Commands(TyperGroup):
    """The commands; errors of use keep their place and get plain words."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the options that stand before the command."""
        with _in_plain_words():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """Read the rest, and run the command."""
        with _in_plain_words():
            return super().invoke(ctx)


@contextlib.contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except typer.BadParameter as error:
        for jargon, words in _PLAIN.items():
            error.message = re.sub(jargon, words, error.message)
        raise
