"""The two shapes in which the report shows numbers: a fact with its sentence, and a table whose rows have sentences."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fact:
    """One number or statement, with the sentence that stands under it."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Row:
    """A row: its heading, its cells, and the sentence that stands under them (may be empty)."""

    head: str
    cells: tuple[str, ...]
    meaning: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first column holds the headings of the rows."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
