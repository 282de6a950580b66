"""What all pictures share: the shape of a result, the styles of the arms, logarithmic shares, words for the blind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from privaudit.reporting.svg import BLUE, MUTED, ORANGE
from privaudit.reporting.tables import Table

if TYPE_CHECKING:
    from matplotlib.axis import Axis

ARM_STYLE: Mapping[str, Mapping[str, Any]] = {
    "release": {"color": BLUE, "linestyle": "-", "marker": "o", "linewidth": 2.2},
    "raw": {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s", "linewidth": 1.8},
    "fresh": {"color": MUTED, "linestyle": (0, (1, 1.3)), "marker": "^", "linewidth": 1.8},
    "positive": {"color": ORANGE, "linestyle": (0, (5, 2)), "marker": "s", "linewidth": 1.8},
    "negative": {"color": MUTED, "linestyle": (0, (1, 1.3)), "marker": "^", "linewidth": 1.8},
}


@dataclass(frozen=True)
class Plot:
    """One picture: its heading, the inline SVG, the sentence under it, and the table of the same data."""

    title: str
    svg: str
    meaning: str
    table: Table


def share_axis(axis: Axis, floor: float) -> None:
    """Ticks at powers of ten, written as percentages."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    ticks = [share for share in (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0) if share >= floor]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([f"{share * 100:g} %" for share in ticks]))
    axis.set_minor_locator(NullLocator())


def spoken(table: Table) -> str:
    """The picture for those who cannot see it: short tables in full, long ones by reference."""
    if len(table.rows) > 8:
        return f"{table.caption}. The values stand in the table after the picture."
    rows = ("; ".join((row.head, *row.cells)) for row in table.rows)
    return f"{table.caption}: {'. '.join(rows)}."
