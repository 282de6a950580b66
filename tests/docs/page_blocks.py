"""What stands in the pages of the documentation: front matter, blocks, and the commands in them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "pages"
_BLOCK = re.compile(
    r"^(?P<any><!-- any verdict -->\n\n)?(?P<indent> *)```(?P<language>[a-z]+)(?: title=\"(?P<title>[^\"]+)\")?\n"
    r"(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_FRONT = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
EXIT_CODE = "echo $?"


@dataclass(frozen=True)
class Block:
    """A fenced block. any_verdict: its commands may end with the exit code of any verdict."""

    language: str
    title: str | None
    text: str
    any_verdict: bool


@dataclass(frozen=True)
class Command:
    """A command of a console block. shown: lines of output that the page shows. exits: exit codes that it allows."""

    line: str
    shown: tuple[str, ...]
    exits: tuple[int, ...]


@cache
def filler() -> Callable[[str], str]:
    """What fills in the generated parts of a page; loaded when it is needed, for it imports all attacks."""
    spec = importlib.util.spec_from_file_location("generated_pages", ROOT / "docs" / "hooks" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    filled: Callable[[str], str] = module.filled
    return filled


def names() -> list[str]:
    """All pages, as paths within `docs/pages`."""
    return sorted(path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md"))


def text(page: str) -> str:
    """A page as it is written."""
    return (PAGES / page).read_text(encoding="utf-8")


def front(page: str) -> Mapping[str, Any]:
    """The keys at the head of a page."""
    found = _FRONT.match(text(page))
    return {} if found is None else yaml.safe_load(found[1])


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """All blocks of a page, those that are generated included."""
    return tuple(
        Block(found["language"], found["title"], found["text"], found["any"] is not None)
        for found in _BLOCK.finditer(filler()(text(page)))
    )


def console_commands(block: Block) -> Iterator[Command]:
    """The commands of a console block. `$ echo $?` after one tells its exit code in the line below; else it is 0."""
    parts = re.split(r"^\$ ", block.text, flags=re.MULTILINE)
    assert parts[0] == "", f"a console block begins with '$ ': {block.text!r}"
    whole = (re.sub(r"\\\n\s*", "", part).rstrip("\n").split("\n") for part in parts[1:])
    found = [(line, tuple(shown)) for line, *shown in whole]
    for place, (line, shown) in enumerate(found):
        if line == EXIT_CODE:
            continue
        after = found[place + 1] if place + 1 < len(found) else ("", ())
        told = (int(after[1][0]),) if after[0] == EXIT_CODE else None
        yield Command(line, shown, told or ((0, 1, 4) if block.any_verdict else (0,)))


def missing(shown: tuple[str, ...], printed: str) -> str | None:
    """The first shown line that was not printed in its place; None where all were.

    A line `...` stands for any lines, `...` within a line for any text in it. Nothing shown: nothing is compared.
    """
    if not shown:
        return None
    lines = [line.rstrip() for line in printed.rstrip("\n").split("\n")]
    place, skipping = 0, False
    for line in shown:
        if line == "...":
            skipping = True
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(r" ?\.\.\. ?", line.rstrip())))
        while skipping and place < len(lines) and not pattern.fullmatch(lines[place]):
            place += 1
        if place == len(lines) or not pattern.fullmatch(lines[place]):
            return line
        place, skipping = place + 1, False
    return None if skipping or place == len(lines) else f"more was printed: {lines[place]}"
