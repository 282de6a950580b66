"""How many canaries it takes: from the bound itself."""

from __future__ import annotations

from page_markup import cell, table

from privaudit.canaries import KINDS
from privaudit.canary_bounds import LEVEL, corrected_level, epsilon, guesses_a_side

_COUNTS = (20, 50, 100, 200, 500, 1000, 5000)
_ROWS = 20
_DELTA = 1e-5


def kinds() -> str:
    """How canaries are changed."""
    return table(("kind", "how it is changed"), [(f"`{name}`", cell(text)) for name, text in KINDS.items()])


def largest() -> str:
    """The largest epsilon that so many canaries can show, alone and as one of twenty rows."""
    rows = []
    for count in _COUNTS:
        guesses = 2 * guesses_a_side(count)
        alone, together = (
            epsilon(count, guesses, guesses, _DELTA, level).largest for level in (LEVEL, corrected_level(_ROWS))
        )
        rows.append((f"{count:,}", f"{guesses:,}", f"{alone:.2f}", f"{together:.2f}"))
    heads = ("canaries", "guesses", "one row alone", f"as one of {_ROWS} rows")
    return table(heads, rows)
