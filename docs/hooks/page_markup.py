"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """A text that can stand in a table: one line, no separator, no markup."""
    found = " ".join(str(text).split())
    for sign, code in (("&", "&amp;"), ("|", "&#124;"), ("<", "&lt;"), ("*", "&#42;"), ("_", "&#95;"), ("[", "&#91;")):
        found = found.replace(sign, code)
    return found


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; cells are Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
