"""Cells of a benchmark made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from privaudit.grid.comparison import Table, lines
from privaudit.grid.configuration import Grid
from privaudit.grid.record import EXPOSED, UTILITY, Cell, GridRecord

AUC = "nearest-copy auc"


def grid_of(names: tuple[str, ...], seeds: int = 5) -> Grid:
    return Grid.model_validate(
        {
            "data": {"source": "all", "split": {"members": 1, "controls": 2, "fresh": 1, "reference": 1}},
            "synthesizer": "toy",
            "settings": {name: {"each": place + 1} for place, name in enumerate(names)},
            "seeds": list(range(seeds)),
        }
    )


def table_of(grid: Grid, means: Mapping[str, tuple[float, float, float]], noise: float = 0.002, seed: int = 0) -> Table:
    """Figures around (exposed, AUC, accuracy) of each setting and what a seed has in common; the repeat as base."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, int], Cell] = {}
    for number in grid.seeds:
        common = rng.normal(0, 0.005, 3)
        for name in grid.names():
            values = np.array(means[grid.compared_with if name == grid.again else name]) + common
            values = values + rng.normal(0, noise, 3)
            found[name, number] = Cell(
                setting=name,
                seed=number,
                verdict="pass",
                release="00",
                images=10,
                figures=dict(zip((EXPOSED, AUC, UTILITY), values.tolist(), strict=True)),
            )
    return found


def record_of(grid: Grid, table: Table, **changes: Any) -> GridRecord:
    found, noise = lines(grid, table, 2000)
    given: dict[str, Any] = {
        "baseline": grid.compared_with,
        "again": grid.again,
        "seeds": grid.seeds,
        "lines": found,
        "noise": noise,
        "unfinished": tuple(cell for cell in table.values() if cell.failure is not None),
        "cells": tuple(table.values()),
        "facts": {"data": {"0": "ab"}, "attacks": {"nearest-copy": {"version": 1}}, "effort": "quick", "members": 2000},
        "manifest": {"versions": {}, "commit": None, "hardware": {}, "policy": "demo"},
    }
    return GridRecord.model_validate(given | changes)
