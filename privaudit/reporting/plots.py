"""The pictures of an attack: arms with intervals, ROC, score laws, power. Words, marks and line styles, then colour.

Every picture comes with the table of what it shows and with one sentence of meaning.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from privaudit.arms import in_order
from privaudit.record import AttackRecord, Unit
from privaudit.reporting.drawing import ARM_STYLE, Plot, share_axis, spoken
from privaudit.reporting.explanations import ARMS, explain, plant_name
from privaudit.reporting.score_plots import law_plot, roc_plot
from privaudit.reporting.scores import ArmScores
from privaudit.reporting.svg import BLUE, INK, ORANGE, PANEL, figure, render
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import count, percent, percent_interval, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KIND_STYLES = (
    (BLUE, "-", "o"),
    (ORANGE, (0, (5, 2)), "s"),
    (INK, (0, (1, 1.3)), "^"),
    (BLUE, (0, (5, 1.5, 1, 1.5)), "D"),
    (ORANGE, "-", "v"),
    (INK, (0, (8, 3)), "P"),
    (BLUE, (0, (1, 1.3)), "X"),
    (ORANGE, (0, (5, 1.5, 1, 1.5)), "*"),
)
_FLOOR, _CHANCE = 5e-4, 0.01


def attack_plots(
    attack: AttackRecord, scores: ArmScores | None, limit: float | None, unit: Unit, ident: str
) -> tuple[Plot, ...]:
    """All pictures that can be drawn for one attack; ids in them start with `ident`."""
    drawn = [arms_plot(attack, limit, f"{ident}-arms")]
    if scores is not None:
        drawn += [roc_plot(scores, f"{ident}-roc"), law_plot(scores, unit, f"{ident}-law")]
    drawn.append(power_plot(attack, unit, f"{ident}-power"))
    return tuple(plot for plot in drawn if plot is not None)


def arms_plot(attack: AttackRecord, limit: float | None, ident: str) -> Plot | None:
    """Members found at 1 % false accusations, one interval per arm, with chance and the policy limit."""
    found = {arm: record.tpr_at_1pct_fpr for arm in in_order(attack.arms) if (record := attack.arms[arm]) is not None}
    if not found:
        return None
    rows = tuple(Row(ARMS[arm][0], (percent_interval(value),)) for arm, value in found.items())
    if limit is not None:
        rows += (Row("Policy limit", (percent(limit),)),)
    table = Table("Members found at 1 % false accusations", ("Arm", "Share (95 % interval)"), rows)
    with figure(height=0.95 + 0.55 * len(found)) as (canvas, axes):
        share_axis(axes.xaxis, _FLOOR)
        axes.set_xscale("log")
        share_axis(axes.xaxis, _FLOOR)
        axes.set_xlim(_FLOOR, 1.25)
        axes.set_ylim(len(found) - 0.55, -0.95)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        above = limit is None or limit >= _CHANCE
        _mark(axes, _CHANCE, f"chance {percent(_CHANCE)}", (0, (1, 1.6)), to_the_left=above)
        if limit is not None and limit > 0:
            _mark(axes, limit, f"limit {percent(limit)}", (0, (5, 2)), to_the_left=not above)
        for place, (arm, value) in enumerate(found.items()):
            style = ARM_STYLE[arm]
            low, middle, high = (max(bound, _FLOOR) for bound in (value.low, value.estimate, value.high))
            axes.plot([low, high], [place, place], color=style["color"], linewidth=3, solid_capstyle="butt")
            axes.plot([middle], [place], color=style["color"], marker=style["marker"], markersize=8, linestyle="")
            axes.text(
                _FLOOR * 1.1,
                place - 0.2,
                f"{ARMS[arm][0]}: {percent_interval(value)}",
                va="bottom",
                backgroundcolor=PANEL,
            )
        axes.set_xlabel("share of members found (logarithmic)")
        svg = render(canvas, ident, explain("arms").title, spoken(table))
    return Plot(explain("arms").title, svg, explain("arms").text, table)


def power_plot(attack: AttackRecord, unit: Unit, ident: str) -> Plot | None:
    """How often the verdict rule notices planted images, by dose and kind."""
    kinds = {kind: tuple(sorted(doses, key=lambda one: one.dose)) for kind, doses in attack.power.items() if doses}
    if not kinds:
        return None
    rows = tuple(
        Row(printable(plant_name(kind)), (count(one.dose), percent(one.share), percent_interval(one.power)))
        for kind, doses in sorted(kinds.items())
        for one in doses
    )
    columns = ("Kind of plant", f"Planted {unit}s", "Share of the scored members", "Noticed (95 % interval)")
    table = Table("Planted images and how often they were noticed", columns, rows)
    labels = {kind: printable(plant_name(kind))[:36] for kind in kinds}
    columns_of_legend = 2 if max(map(len, labels.values())) <= 24 else 1
    with figure(height=2.9 + 0.21 * math.ceil(len(kinds) / columns_of_legend)) as (canvas, axes):
        axes.set_xscale("log")
        doses = sorted({max(one.dose, 1) for row in kinds.values() for one in row})
        axes.set_xlim(doses[0] / 1.3, doses[-1] * 1.3)
        axes.minorticks_off()
        axes.set_xticks(doses, [count(dose) for dose in doses])
        axes.set_ylim(-0.03, 1.06)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0 %", "25 %", "50 %", "75 %", "95 %"])
        axes.grid(axis="y")
        axes.axhline(0.95, color=INK, linewidth=0.9)
        for place, (kind, powers) in enumerate(sorted(kinds.items())):
            color, dashes, marker = _KIND_STYLES[place % len(_KIND_STYLES)]
            axes.plot(
                [max(one.dose, 1) for one in powers],
                [one.power.estimate for one in powers],
                color=color,
                linestyle=dashes,
                marker=marker,
                markersize=6,
                linewidth=1.6,
                label=labels[kind],
            )
        axes.set_xlabel(f"planted {unit}s (logarithmic)")
        axes.set_ylabel("noticed")
        canvas.legend(loc="outside lower center", ncols=columns_of_legend)
        svg = render(canvas, ident, explain("power").title, spoken(table))
    return Plot(explain("power").title, svg, explain("power").text, table)


def _mark(axes: Axes, place: float, words: str, dashes: tuple[int, tuple[float, ...]], *, to_the_left: bool) -> None:
    axes.axvline(place, color=INK, linewidth=1.1, linestyle=dashes)
    axes.annotate(
        words,
        (place, -0.92),
        xytext=(-4 if to_the_left else 4, 0),
        textcoords="offset points",
        va="top",
        ha="right" if to_the_left else "left",
    )
