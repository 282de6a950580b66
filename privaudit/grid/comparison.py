"""From cells to lines: differences with intervals, the noise band, ranks and the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.grid.configuration import Grid
from privaudit.grid.record import EXPOSED, UTILITY, Cell, Change, Difference, GridRecord, Interval, Line
from privaudit.statistics.detection import holm
from privaudit.statistics.moderated import differences, noise_band, rank_ranges, shown_lower

ALPHA = 0.05

Table = Mapping[tuple[str, int], Cell]
Floats = NDArray[np.float64]


def complete(table: Table, names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """The settings that have figures for every seed."""
    return [
        name for name in names if all((name, seed) in table and table[name, seed].failure is None for seed in seeds)
    ]


def lines(grid: Grid, table: Table, members: int) -> tuple[tuple[Line, ...], dict[str, float]]:
    """A line for every setting that is complete, and the noise band of every figure.

    members: how many were scored; a share of them moves in steps of one.
    Raises InputError where the baseline, or its repeat, is not complete.
    """
    names = complete(table, grid.names(), grid.seeds)
    resolution = 1 / max(1, members)
    missing = [name for name in (grid.compared_with, grid.again) if name not in names]
    if missing:
        why = next((cell.failure for (name, _), cell in table.items() if name in missing and cell.failure), "")
        raise InputError(
            f"There is nothing to compare with: the baseline '{grid.compared_with}' was not finished for every seed. "
            f"{why}"
        )
    figures = _figures(table, names, grid.seeds)
    values = {figure: _values(table, figure, names, grid.seeds) for figure in figures}
    base, again = names.index(grid.compared_with), names.index(grid.again)
    noise = {figure: noise_band(found[again] - found[base], len(grid.seeds)) for figure, found in values.items()}
    others = [name for name in names if name not in (grid.compared_with, grid.again)]
    told = _differences(values, noise, resolution, base, [names.index(name) for name in others], others)
    settings = [name for name in names if name != grid.again]
    rows = [names.index(name) for name in settings]
    exposed, useful = (None if figure not in values else values[figure][rows] for figure in (EXPOSED, UTILITY))
    less_exposed = None if exposed is None else shown_lower(exposed, resolution)
    more_useful = None if useful is None else shown_lower(-useful)
    told_lines = []
    for place, name in enumerate(settings):
        engine, given = grid.resolved(name)
        verdicts = [str(table[name, seed].verdict) for seed in grid.seeds]
        told_lines.append(
            Line(
                name=name,
                synthesizer=engine,
                settings=given,
                verdicts={verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
                figures={figure: _interval(found, rows[place]) for figure, found in values.items()},
                differences=tuple(told.get(name, ())),
                leakage_ranks=_range(less_exposed, place),
                utility_ranks=_range(more_useful, place),
                on_frontier=_on_frontier(exposed, useful, place),
                dominated_by=tuple(
                    other
                    for number, other in enumerate(settings)
                    if less_exposed is not None and more_useful is not None
                    if less_exposed[number, place] and more_useful[number, place]
                ),
            )
        )
    return tuple(told_lines), noise


def _figures(table: Table, names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """Figures that every cell has, in the order of the first."""
    cells = [table[name, seed] for name in names for seed in seeds]
    return [figure for figure in cells[0].figures if all(figure in cell.figures for cell in cells)]


def _values(table: Table, figure: str, names: Sequence[str], seeds: Sequence[int]) -> Floats:
    return np.array([[table[name, seed].figures[figure] for seed in seeds] for name in names])


def _interval(values: Floats, row: int) -> Interval:
    found = differences(values)
    low, high = float(found.low[row]), float(found.high[row])
    return Interval(estimate=float(found.mean[row]), low=max(0.0, low), high=min(1.0, high))


def _range(lower: NDArray[np.bool_] | None, place: int) -> tuple[int, int] | None:
    if lower is None:
        return None
    best, worst = rank_ranges(lower)[place]
    return int(best), int(worst)


def _on_frontier(exposed: Floats | None, useful: Floats | None, place: int) -> bool:
    if exposed is None or useful is None:
        return False
    x, y = exposed.mean(axis=1), useful.mean(axis=1)
    better = (x <= x[place]) & (y >= y[place]) & ((x < x[place]) | (y > y[place]))
    return not bool(better.any())


def _differences(
    values: Mapping[str, Floats],
    noise: Mapping[str, float],
    resolution: float,
    base: int,
    rows: Sequence[int],
    names: Sequence[str],
) -> dict[str, list[Difference]]:
    """Every setting against the baseline in every figure; Holm over all of them in each direction."""
    if not rows:
        return {}
    gains = {figure: found[list(rows)] - found[base] for figure, found in values.items()}
    return _told(gains, noise, resolution, names)


def _told(
    gains: Mapping[str, Floats], noise: Mapping[str, float], resolution: float, names: Sequence[str]
) -> dict[str, list[Difference]]:
    tests = {
        figure: differences(rows, resolution if figure == EXPOSED or "tpr" in figure else 0.0)
        for figure, rows in gains.items()
    }
    worse = {figure: test.p_below if figure == UTILITY else test.p_above for figure, test in tests.items()}
    better = {figure: test.p_above if figure == UTILITY else test.p_below for figure, test in tests.items()}
    adjusted = [holm([float(p) for side in sides.values() for p in side]) for sides in (worse, better)]
    found: dict[str, list[Difference]] = {name: [] for name in names}
    place = 0
    for figure, test in tests.items():
        for row, name in enumerate(names):
            mean = float(test.mean[row])
            beyond = abs(mean) > noise[figure]
            words = ("worse", "better") if figure == UTILITY else ("leakier", "less leaky")
            verdict = next(
                (word for word, side in zip(words, adjusted, strict=True) if side[place] <= ALPHA and beyond),
                "no difference shown",
            )
            found[name].append(
                Difference(
                    figure=figure,
                    mean=mean,
                    low=float(test.low[row]),
                    high=float(test.high[row]),
                    p_leakier=float(worse[figure][row]),
                    verdict=verdict,
                )
            )
            place += 1
    return found


def against(record: GridRecord, earlier: GridRecord) -> tuple[Change, ...]:
    """Every setting against itself in an earlier benchmark of the same images.

    Raises InputError where the two cannot be compared: other data, seeds, attacks, effort, policy or settings.
    """
    for key in sorted({*record.facts, *earlier.facts}):
        if record.facts.get(key) != earlier.facts.get(key):
            raise InputError(
                f"The two benchmarks cannot be compared: they differ in {key}. Run the earlier grid again with this "
                "version, or leave out --against."
            )
    if record.seeds != earlier.seeds:
        raise InputError("The two benchmarks cannot be compared: they have other seeds.")
    before = {(cell.setting, cell.seed): cell for cell in earlier.cells}
    after = {(cell.setting, cell.seed): cell for cell in record.cells}
    given = [{line.name: (line.synthesizer, line.settings) for line in one.lines} for one in (earlier, record)]
    names = [name for name in given[1] if name in given[0]]
    changed = [name for name in names if given[0][name] != given[1][name]]
    if changed or not names:
        what = f"'{changed[0]}' has other settings in them" if changed else "they have no setting in common"
        raise InputError(f"The two benchmarks cannot be compared: {what}. Give a changed setting another name.")
    figures = [
        figure for figure in _figures(after, names, record.seeds) if figure in _figures(before, names, record.seeds)
    ]
    gains = {
        figure: _values(after, figure, names, record.seeds) - _values(before, figure, names, record.seeds)
        for figure in figures
    }
    noise = {figure: max(record.noise[figure], earlier.noise[figure]) for figure in figures}
    told = _told(gains, noise, 1 / max(1, int(record.facts["members"])), names)
    return tuple(Change(setting=name, difference=one) for name in names for one in told[name])


def is_worse(record: GridRecord) -> bool:
    """Whether a setting is shown to be leakier than the baseline, or than itself in the earlier benchmark."""
    mine = [one for line in record.lines for one in line.differences]
    return any(one.verdict == "leakier" for one in (*mine, *(change.difference for change in record.against or ())))
