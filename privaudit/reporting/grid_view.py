"""A benchmark for people: tables, the picture of leakage against usefulness, one HTML page, Markdown for a CI job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from privaudit.comparison import METRICS
from privaudit.grid.comparison import failing
from privaudit.grid.record import EXPOSED, UTILITY, Difference, GridRecord, Interval, Line
from privaudit.reporting.drawing import Plot
from privaudit.reporting.files import write_atomic
from privaudit.reporting.grid_plot import frontier_plot
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import count, decimal, markdown, p_value, percent
from privaudit.runs import BENCHMARK

_SHOWN = ("leakier", "less leaky", "worse", "better")


def headline(record: GridRecord) -> str:
    """What the benchmark says, in a sentence."""
    parts = [
        f"{word}: {', '.join(names)}"
        for word, names in (
            ("Leakier than the baseline", _with(record, "leakier")),
            ("Less leaky", _with(record, "less leaky")),
            ("Less useful", _with(record, "worse")),
            ("More useful", _with(record, "better")),
        )
        if names
    ]
    fails = {line.name: line.verdicts.get("fail", 0) for line in record.lines}
    if failing(record):
        told = (f"{name} in {fails[name]} of {len(record.seeds)} seeds" for name in failing(record))
        parts.insert(0, f"Fails the policy: {', '.join(told)} ('{record.baseline}' in {fails[record.baseline]})")
    shown = ". ".join(parts) or f"No difference from '{record.baseline}' was shown"
    changed = sorted({change.setting for change in record.against or () if change.difference.verdict == "leakier"})
    if record.against is not None:
        shown += f". Leakier than in the earlier benchmark: {', '.join(changed) or 'none shown'}"
    return f"{shown}."


def _with(record: GridRecord, verdict: str) -> list[str]:
    return [line.name for line in record.lines if any(one.verdict == verdict for one in line.differences)]


def tables(record: GridRecord) -> list[Table]:
    """The lines, the differences from the baseline, the noise, and where there is one the earlier benchmark."""
    has_utility = any(UTILITY in line.figures for line in record.lines)
    columns = ["Setting", "Verdicts", "Members found", "Rank by leakage (1: least)"]
    columns += ["Accuracy of students", "Rank by accuracy (1: most)", "Trade-off"] if has_utility else []
    found = [
        Table("Settings, means over seeds", tuple(columns), tuple(_row(line, has_utility) for line in record.lines))
    ]
    differences = [
        Row(
            f"{line.name}: {_named(one.figure)}",
            (_change(one), _noise(record, one.figure), p_value(one.p_leakier), one.verdict),
        )
        for line in record.lines
        for one in line.differences
    ]
    heads = ("Setting and figure", "Difference (95 % interval)", "Noise band", "p (small: worse)", "Shown")
    if differences:
        found.append(Table(f"Differences from '{record.baseline}'", heads, tuple(differences)))
    if record.against is not None:
        changes = tuple(
            Row(
                f"{change.setting}: {_named(change.difference.figure)}",
                (
                    _change(change.difference),
                    _noise(record, change.difference.figure),
                    p_value(change.difference.p_leakier),
                    change.difference.verdict,
                ),
            )
            for change in record.against
        )
        found.append(Table("Differences from the earlier benchmark", heads, changes))
    if record.unfinished:
        rows = tuple(
            Row(f"{cell.setting}, seed {cell.seed}", (cell.failure or "not finished",)) for cell in record.unfinished
        )
        found.append(Table("Not finished", ("Cell", "Why"), rows))
    return found


def notes(record: GridRecord) -> list[str]:
    """How to read the tables."""
    return [
        f"{len(record.seeds)} seeds. Every seed has its own split and its own networks; within a seed all settings "
        "meet the same suspects and attacks, so that differences are paired.",
        "Members found: the largest share of members that one attack that holds the release finds at 1 % false "
        "accusations. Chance gives about 1 %, and the largest of several attacks a little more.",
        f"The noise band is what '{record.again}', the baseline made once more from other random numbers, differs by: "
        "in 95 % of trials identical settings stay within it. A difference is called shown where it lies beyond the "
        "band and is significant at 5 % after Holm's correction over all settings and figures.",
        "Verdicts are those of each candidate alone under the policy. A setting that fails with more seeds than the "
        "baseline counts as leakier for the exit code, whatever the averages show.",
        "Intervals of differences borrow what the settings have in common (Smyth 2004). With few seeds a setting that "
        "is far noisier than the others has intervals that are too short, and is called leakier too often: simulated "
        "with three seeds, intervals of a setting five times as noisy as twelve others miss in 13 % instead of 5 %, "
        "and where a quarter of the settings are, some one is wrongly called leakier in 12 %. Nothing is called less "
        "leaky with fewer than five seeds, or unless every seed says so.",
        "Ranks are ranges: all places that the comparisons of all pairs leave open.",
        "A benchmark compares. It is no verdict on a release: audit the candidate that you choose with "
        "'privaudit run', with controls that were not used here.",
    ]


def _row(line: Line, has_utility: bool) -> Row:
    verdicts = ", ".join(f"{number} {verdict}" for verdict, number in line.verdicts.items())
    cells = [verdicts, _shares(line.figures.get(EXPOSED)), _range(line.leakage_ranks)]
    if has_utility:
        place = "on the frontier" if line.on_frontier else "behind the frontier"
        if line.dominated_by:
            place = f"beaten by {', '.join(line.dominated_by)}"
        cells += [_shares(line.figures.get(UTILITY)), _range(line.utility_ranks), place]
    return Row(line.name, tuple(cells))


def _shares(value: Interval | None) -> str:
    if value is None:
        return "not measured"
    return f"{percent(value.estimate)} ({percent(value.low)} to {percent(value.high)})"


def _range(ranks: tuple[int, int] | None) -> str:
    if ranks is None:
        return "not measured"
    return count(ranks[0]) if ranks[0] == ranks[1] else f"{count(ranks[0])} to {count(ranks[1])}"


def _named(figure: str) -> str:
    if figure == EXPOSED:
        return "members found at 1 % false accusations, by the best attack"
    if figure == UTILITY:
        return "accuracy of students"
    attack, _, metric = figure.partition(" ")
    return f"{attack}, {METRICS.get(metric, metric)}"


def _change(one: Difference) -> str:
    return f"{_signed(one.mean)} ({_signed(one.low)} to {_signed(one.high)})"


def _signed(number: float) -> str:
    return f"{'+' if number > 0 else ''}{decimal(number)}"


def _noise(record: GridRecord, figure: str) -> str:
    return f"\N{PLUS-MINUS SIGN}{decimal(record.noise.get(figure, 0.0))}"


def grid_markdown(record: GridRecord) -> str:
    """The short form, for the summary of a CI job."""
    lines = ["# Benchmark of synthesis settings", "", f"**{markdown(headline(record))}**"]
    for table in tables(record):
        lines += ["", f"## {markdown(table.caption)}", "", _line(table.columns), _line(["---"] * len(table.columns))]
        lines += [_line([markdown(row.head), *(markdown(cell) for cell in row.cells)]) for row in _interesting(table)]
    lines += ["", *(f"- {markdown(note)}" for note in notes(record)), ""]
    return "\n".join(lines)


def _interesting(table: Table) -> Sequence[Row]:
    """All rows of a short table; of a long one those in which something was shown."""
    if len(table.rows) <= 24:
        return table.rows
    return [row for row in table.rows if row.cells[-1] in _SHOWN] or table.rows[:24]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def grid_html(record: GridRecord) -> str:
    """The whole page: one file, no script, no outside address."""
    from privaudit.reporting.page import environment, text_of

    plot: Plot | None = frontier_plot(record, "frontier")
    return (
        environment()
        .get_template("grid.html")
        .render(
            record=record,
            headline=headline(record),
            tables=tables(record),
            notes=notes(record),
            plot=plot,
            style=text_of("report.css"),
        )
    )


def write_grid(record: GridRecord, folder: Path) -> None:
    """Write benchmark.json, summary.md and benchmark.html into `folder`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / BENCHMARK, f"{record.model_dump_json(indent=1, by_alias=True)}\n".encode())
    write_atomic(folder / "summary.md", grid_markdown(record).encode())
    write_atomic(folder / "benchmark.html", grid_html(record).encode())
