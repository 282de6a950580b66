"""The page and the Markdown of a benchmark."""

from __future__ import annotations

import re
from pathlib import Path

from grid_examples import grid_of, record_of, table_of

from privaudit.grid.record import GridRecord
from privaudit.reporting.grid_view import grid_html, grid_markdown, headline, write_grid

MEANS = {"base": (0.02, 0.52, 0.60), "leaky": (0.10, 0.60, 0.70)}


def record(name: str = "leaky") -> GridRecord:
    grid = grid_of(("base", name))
    means = {"base": MEANS["base"], name: MEANS["leaky"]}
    return record_of(grid, table_of(grid, means))


def test_the_headline_names_what_was_shown() -> None:
    assert headline(record()) == "Leakier than the baseline: leaky. More useful: leaky."


def test_the_page_stands_alone() -> None:
    page = grid_html(record())
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    assert not re.findall(r"https?://(?!www\.w3\.org)", page)
    assert "Leakage against usefulness" in page
    assert page.count("<svg") == 1
    assert 'role="img"' in page


def test_markdown_is_a_table_with_what_was_shown() -> None:
    text = grid_markdown(record())
    assert "| leaky | 5 pass |" in text
    assert "leakier" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("| ")}) <= 3


def test_files_and_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_grid(record(), tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["benchmark.html", "benchmark.json", "summary.md"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_usefulness_there_is_no_picture() -> None:
    grid = grid_of(("base", "leaky"))
    table = {
        place: cell.model_copy(update={"figures": {k: v for k, v in cell.figures.items() if k != "accuracy"}})
        for place, cell in table_of(grid, MEANS).items()
    }
    page = grid_html(record_of(grid, table))
    assert "<svg" not in page
    assert "Trade-off" not in page
