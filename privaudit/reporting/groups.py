"""Groups of members in the report: by class, and by images per person. A table, described and not judged."""

from __future__ import annotations

from dataclasses import dataclass

from privaudit.record import AttackRecord, Stratum
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import count, decimal_interval, p_value, percent_interval

_FEW = "too few"


@dataclass(frozen=True)
class GroupsView:
    """The groups of one attack. sentence: which stand out. notable: whether one does."""

    attack: str
    sentence: str
    notable: bool
    table: Table


def groups(attack: AttackRecord) -> GroupsView | None:
    """None where the evidence does not tell groups."""
    if not attack.strata:
        return None
    out = [one.name for one in attack.strata if one.stands_out]
    few = sum(one.auc is None for one in attack.strata)
    if out:
        sentence = f"{attack.name} finds more than chance would in: {', '.join(out)}."
    elif few == len(attack.strata):
        sentence = f"{attack.name}: every group has too few members or controls to be assessed."
    else:
        sentence = f"{attack.name}: no group stands out."
    if few and few < len(attack.strata):
        sentence += f" {count(few)} {'has' if few == 1 else 'have'} too few members or controls to be assessed."
    columns = ("Group", "Members", "Controls", "AUC (95 % interval)", "Above the 1 % threshold", "Corrected p", "Mark")
    rows = tuple(
        Row(one.name if one.kind == "class" else f"Persons with {one.name}", _cells(one)) for one in attack.strata
    )
    return GroupsView(attack.name, sentence, bool(out), Table(f"Groups, {attack.name}", columns, rows))


def _cells(one: Stratum) -> tuple[str, ...]:
    sizes = count(one.members), count(one.controls)
    if one.auc is None or one.above_threshold is None or one.p_holm is None:
        return (*sizes, _FEW, _FEW, _FEW, "–")
    return (
        *sizes,
        decimal_interval(one.auc),
        percent_interval(one.above_threshold),
        p_value(one.p_holm),
        "! stands out" if one.stands_out else "–",
    )
