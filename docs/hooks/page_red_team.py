"""How few copies are found: from the results of `benchmarks.red_team`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from page_markup import cell, table

_RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "red_team.json"


def _results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_RESULTS.read_text(encoding="utf-8"))["results"]
    return found


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['found'] / rate['of']:.0%} ({rate['low']:.0%} to {rate['high']:.0%})"


def red_team(data: str, attack: str) -> str:
    """Shares of plantings found with their intervals: a row for each kind, a column for each dose."""
    rates = _results()["table"][data]["rates"]
    places = [key.removeprefix(f"{attack} ").rsplit(" ", 1) for key in rates if key.startswith(f"{attack} ")]
    kinds = dict.fromkeys(place[0] for place in places if len(place) == 2)
    doses = sorted({int(place[1]) for place in places if len(place) == 2})
    rows = [
        [cell(kind), *(_rate(rates[f"{attack} {kind} {dose}"]) for dose in doses)]
        for kind in sorted(kinds, key=lambda kind: -rates[f"{attack} {kind} {doses[0]}"]["found"])
    ]
    return table(["kind", *(f"{dose:,} members" for dose in doses)], rows)


def false_alarms(data: str) -> str:
    """Alarms where nothing was planted."""
    rates = _results()["table"][data]["rates"]
    clean = {key.removesuffix(" clean"): rate for key, rate in rates.items() if key.endswith(" clean")}
    return table(
        ["attack", "alarms without a leak"],
        [[f"`{name}`" if name != "required" else "both required", _rate(rate)] for name, rate in clean.items()],
    )
