"""Every command on every page is run, in order, in a folder with the data that the page speaks of."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import page_blocks
import pytest
from page_data import PREPARE

_ENDED = 600


def _pages() -> list[Any]:
    found = []
    for page in page_blocks.names():
        if "```console" in page_blocks.text(page):
            marks = [pytest.mark.slow] if page_blocks.front(page).get("slow") else []
            found.append(pytest.param(page, marks=marks, id=page))
    return found


def _environment(folder: Path) -> dict[str, str]:
    """The program of this environment before all others; its words in one language and one order."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PRIVAUDIT_", "COV_", "PYTHONWARNINGS"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cache = str(folder.parent / "cache")
    found = {"PATH": path, "LC_ALL": "C.UTF-8", "COLUMNS": "100", "NO_COLOR": "1"}
    return kept | found | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": cache}


@pytest.mark.skipif(os.name == "nt", reason="the pages show commands of a POSIX shell")
@pytest.mark.parametrize("page", _pages())
def test_commands_do_what_the_page_says(page: str, tmp_path: Path) -> None:
    """Blocks with a file name are written first; exit codes and shown lines are compared."""
    folder = tmp_path / "work"
    folder.mkdir()
    PREPARE[page_blocks.front(page).get("data", "nothing")](folder)
    for block in page_blocks.blocks(page):
        if block.title is not None:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.text, encoding="utf-8")
        if block.language != "console":
            continue
        for command in page_blocks.console_commands(block):
            done = subprocess.run(
                ["bash", "-c", command.line],
                cwd=folder,
                env=_environment(folder),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                check=False,
                timeout=_ENDED,
            )
            told = f"{page}: $ {command.line}\n{done.stdout}"
            assert done.returncode in command.exits, f"exit code {done.returncode}, not {command.exits}\n{told}"
            assert "Traceback" not in done.stdout, told
            assert page_blocks.missing(command.shown, done.stdout) is None, (
                f"not printed: {page_blocks.missing(command.shown, done.stdout)}\n{told}"
            )


@pytest.mark.parametrize(
    ("shown", "printed", "expected"),
    [
        ((), "anything\n", None),
        (("one", "two"), "one\ntwo\n", None),
        (("one",), "one\ntwo\n", "more was printed: two"),
        (("...", "two"), "zero\none\ntwo\n", None),
        (("two", "..."), "one\ntwo\n", "two"),
        (("fail: ... copies", "..."), "fail: 5 copies\nmore\n", None),
        (("...", "three"), "one\ntwo\n", "three"),
        (("one", "two"), "one\n", "two"),
    ],
)
def test_shown_lines_are_compared(shown: tuple[str, ...], printed: str, expected: str | None) -> None:
    assert page_blocks.missing(shown, printed) == expected
