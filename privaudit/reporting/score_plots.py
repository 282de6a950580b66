"""The pictures that are drawn from scores: ROC curves of the arms and the score laws of the release arm."""

from __future__ import annotations

from collections.abc import Mapping

from privaudit.record import Unit
from privaudit.reporting.drawing import ARM_STYLE, Plot, share_axis, spoken
from privaudit.reporting.explanations import ARMS, explain
from privaudit.reporting.scores import ArmScores, Curve, Law, curve, law, share_found, thinned
from privaudit.reporting.svg import BLUE, INK, ORANGE, figure, render
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import count, percent

_READ_AT = (0.001, 0.01, 0.1, 0.5)


def roc_plot(scores: ArmScores, ident: str) -> Plot | None:
    """ROC curves of the arms, both axes logarithmic."""
    curves = {arm: curve(scores.members[arm], scores.controls[arm]) for arm in scores.arms()}
    if not curves:
        return None
    table = _roc_table(scores, curves)
    floor = min(0.005, *(1 / line.n_controls for line in curves.values()))
    with figure() as (canvas, axes):
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            share_axis(axis, floor)
        axes.set_xlim(floor, 1.15)
        axes.set_ylim(floor, 1.25)
        axes.grid()
        axes.plot([floor, 1], [floor, 1], color=INK, linewidth=0.9, label="chance")
        for arm, full in curves.items():
            line = thinned(full)
            style = {key: value for key, value in ARM_STYLE[arm].items() if key != "marker"}
            axes.plot(
                line.fpr.clip(floor),
                line.tpr.clip(floor / 10),
                drawstyle="steps-post",
                label=ARMS[arm][0],
                solid_joinstyle="round",
                **style,
            )
        axes.set_xlabel("controls accused wrongly")
        axes.set_ylabel("members accused rightly")
        axes.legend(loc="lower right")
        svg = render(canvas, ident, explain("roc").title, spoken(table))
    return Plot(explain("roc").title, svg, explain("roc").text, table)


def law_plot(scores: ArmScores, unit: Unit, ident: str) -> Plot | None:
    """Histogram of the scores of members and controls in the release arm."""
    if "release" not in scores.arms():
        return None
    drawn = law(scores.members["release"], scores.controls["release"])
    if drawn is None:
        return None
    table = _law_table(drawn)
    floor = 0.5 / max(drawn.n_members, drawn.n_controls)
    with figure() as (canvas, axes):
        axes.set_yscale("log")
        share_axis(axes.yaxis, floor)
        axes.set_ylim(floor, 1.25)
        axes.grid(axis="y")
        axes.stairs(drawn.members.clip(floor), drawn.edges, baseline=floor, fill=True, color=BLUE, alpha=0.18)
        axes.stairs(drawn.members.clip(floor), drawn.edges, baseline=None, color=BLUE, linewidth=2.0, label="members")
        axes.stairs(
            drawn.controls.clip(floor),
            drawn.edges,
            baseline=None,
            color=ORANGE,
            linewidth=1.8,
            linestyle=(0, (5, 2)),
            label="controls",
        )
        axes.set_xlabel("score (right: surer that it was used)")
        axes.set_ylabel("share of the group")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=2)
        svg = render(canvas, ident, explain("score_law").title, spoken(table))
    silent = ""
    if drawn.silent_members or drawn.silent_controls:
        silent = (
            f" Without an opinion of the attack, and not drawn: {percent(drawn.silent_members)} of the members, "
            f"{percent(drawn.silent_controls)} of the controls."
        )
    size = f" {count(drawn.n_members)} members and {count(drawn.n_controls)} controls, counted by {unit}."
    return Plot(explain("score_law").title, svg, explain("score_law").text + size + silent, table)


def _roc_table(scores: ArmScores, curves: Mapping[str, Curve]) -> Table:
    rows = tuple(
        Row(
            f"at {percent(fpr)} of the controls",
            tuple(
                _found(share_found(line, scores.members[arm], scores.controls[arm], fpr))
                for arm, line in curves.items()
            ),
        )
        for fpr in _READ_AT
    )
    return Table(
        "Members accused rightly, by share of controls accused wrongly",
        ("Accused wrongly", *(ARMS[arm][0] for arm in curves)),
        rows,
    )


def _found(read: tuple[float, float, float] | None) -> str:
    if read is None:
        return "too few controls"
    found, low, high = map(percent, read)
    return f"{found} ({low} to {high})"


def _law_table(drawn: Law) -> Table:
    rows = tuple(
        Row(f"{low:.3g} to {high:.3g}", (percent(member), percent(control)))
        for low, high, member, control in zip(
            drawn.edges[:-1], drawn.edges[1:], drawn.members, drawn.controls, strict=True
        )
        if member or control
    )
    return Table("Share of members and controls by score", ("Score", "Members", "Controls"), rows)
