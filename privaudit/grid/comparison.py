"""From cells to lines: differences with intervals, the noise band, ranks and the frontier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.grid.configuration import Grid
from privaudit.grid.record import EXPOSED, UTILITY, Cell, Change, Difference, GridRecord, Interval, Line, Said
from privaudit.statistics.detection import holm
from privaudit.statistics.moderated import differences, level, noise_band, rank_ranges, shown_lower

ALPHA = 0.05

FEWEST_SEEDS_FOR_LESS = 5
"""Seeds with fewer of which nothing is called less leaky: an engine that memorises in rare seeds would look so."""

Table = Mapping[tuple[str, int], Cell]
Floats = NDArray[np.float64]


def _complete(table: Table, names: Sequence[str], seeds: Sequence[int]) -> list[str]:
    """The settings that have figures for every seed."""
    return [
        name for name in names if all((name, seed) in table and table[name, seed].failure is None for seed in seeds)
    ]


def lines(grid: Grid, table: Table, members: int, alpha: float = ALPHA) -> tuple[tuple[Line, ...], dict[str, float]]:
    """A line for every setting that is complete, and the noise band of every figure.

    members: how many were scored; a share of them moves in steps of one. alpha: error rate of all that is shown.
    Raises InputError where the baseline, or its repeat, is not complete.
    """
    names = _complete(table, grid.names(), grid.seeds)
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
    rows_of = [names.index(name) for name in others]
    gains = {figure: found[rows_of] - found[base] for figure, found in values.items()}
    told = _told(gains, noise, resolution, others, alpha) if others else {}
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
                figures={figure: _interval(figure, found[rows[place]], members) for figure, found in values.items()},
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


def _interval(figure: str, values: Floats, members: int) -> Interval:
    estimate, low, high = level(values, _least_variance(values, members) if _is_share(figure) else 0.0)
    return Interval(estimate=estimate, low=max(0.0, low), high=min(1.0, high))


def _least_variance(values: Floats, members: int) -> float:
    """That of a share of so many members; with one more hit and miss, so that none at all is not certain."""
    share = (values.mean() * members + 1) / (members + 2)
    return float(share * (1 - share) / members)


def _is_share(figure: str) -> bool:
    return figure == EXPOSED or figure.endswith(" r0") or "tpr" in figure


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


def _told(
    gains: Mapping[str, Floats], noise: Mapping[str, float], resolution: float, names: Sequence[str], alpha: float
) -> dict[str, list[Difference]]:
    """What paired differences show of every setting; Holm over all settings and figures in each direction."""
    tests = {figure: differences(rows, resolution if _is_share(figure) else 0.0) for figure, rows in gains.items()}
    worse = {figure: test.p_below if figure == UTILITY else test.p_above for figure, test in tests.items()}
    better = {figure: test.p_above if figure == UTILITY else test.p_below for figure, test in tests.items()}
    adjusted = [holm([float(p) for side in sides.values() for p in side]) for sides in (worse, better)]
    found: dict[str, list[Difference]] = {name: [] for name in names}
    place = 0
    for figure, test in tests.items():
        for row, name in enumerate(names):
            mean, gain = float(test.mean[row]), gains[figure][row]
            steady = len(gain) >= FEWEST_SEEDS_FOR_LESS and bool((gain < 0).all())
            verdict: Said = "no difference shown"
            if abs(mean) > noise[figure]:
                if adjusted[0][place] <= alpha:
                    verdict = "worse" if figure == UTILITY else "leakier"
                elif adjusted[1][place] <= alpha and (figure == UTILITY or steady):
                    verdict = "better" if figure == UTILITY else "less leaky"
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


def against(record: GridRecord, earlier: GridRecord, alpha: float = ALPHA) -> tuple[Change, ...]:
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
    told = _told(gains, noise, 1 / max(1, int(record.facts["members"])), names, alpha)
    return tuple(Change(setting=name, difference=one) for name in names for one in told[name])


def failing(record: GridRecord) -> tuple[str, ...]:
    """Settings that fail the policy with more seeds than the baseline does."""
    fails = {line.name: line.verdicts.get("fail", 0) for line in record.lines}
    return tuple(name for name, count in fails.items() if count > fails[record.baseline])


def is_worse(record: GridRecord) -> bool:
    """Whether a setting fails more often than the baseline, or is shown to be leakier than it or than before."""
    mine = [one for line in record.lines for one in line.differences]
    leakier = any(one.verdict == "leakier" for one in (*mine, *(change.difference for change in record.against or ())))
    return leakier or bool(failing(record))
