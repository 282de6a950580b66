"""The picture of a benchmark: what each setting leaks against what it is worth, with intervals and the frontier."""

from __future__ import annotations

from privaudit.grid.record import EXPOSED, UTILITY, GridRecord
from privaudit.reporting.drawing import Plot, spoken
from privaudit.reporting.svg import BLUE, INK, MUTED, ORANGE, figure, render
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import percent, printable

TITLE = "Leakage against usefulness"


def frontier_plot(record: GridRecord, ident: str) -> Plot | None:
    """None where usefulness was not measured."""
    lines = [line for line in record.lines if EXPOSED in line.figures and UTILITY in line.figures]
    if not lines:
        return None
    rows = tuple(
        Row(
            printable(f"{place}: {line.name}"),
            (percent(line.figures[EXPOSED].estimate), percent(line.figures[UTILITY].estimate)),
        )
        for place, line in enumerate(lines, 1)
    )
    table = Table("The points of the picture", ("Setting", "Members found", "Accuracy of students"), rows)
    frontier = sorted(
        (line.figures[EXPOSED].estimate, line.figures[UTILITY].estimate) for line in lines if line.on_frontier
    )
    with figure(width=6.6, height=4.2) as (canvas, axes):
        axes.grid(visible=True)
        axes.step(*zip(*frontier, strict=True), where="post", color=BLUE, linewidth=1.6, label="frontier")
        for place, line in enumerate(lines, 1):
            x, y = line.figures[EXPOSED], line.figures[UTILITY]
            is_base = line.name == record.baseline
            color = ORANGE if is_base else BLUE if line.on_frontier else MUTED
            axes.plot([x.low, x.high], [y.estimate, y.estimate], color=color, linewidth=1.2)
            axes.plot([x.estimate, x.estimate], [y.low, y.high], color=color, linewidth=1.2)
            axes.plot(
                [x.estimate],
                [y.estimate],
                color=color,
                marker="s" if is_base else "o",
                markersize=8,
                linestyle="",
                label="baseline" if is_base else None,
            )
            axes.annotate(str(place), (x.estimate, y.estimate), xytext=(6, 5), textcoords="offset points", color=INK)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.set_xlabel("members found at 1 % false accusations (to the left is safer)")
        axes.set_ylabel("accuracy of students")
        canvas.legend(loc="outside lower center", ncols=2)
        svg = render(canvas, ident, TITLE, spoken(table))
    meaning = (
        "Safer is to the left, more useful is up. Lines are 95 % intervals over seeds. The frontier joins the settings "
        "that no other one beats in both, by the estimates; where intervals overlap it may run otherwise."
    )
    return Plot(TITLE, svg, meaning, table)
