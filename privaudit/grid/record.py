"""What a benchmark found: `benchmark.json`. Keys are stable; `schema` rises when they change."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from privaudit.attack import Settings
from privaudit.record import Verdict

SCHEMA = 1

UTILITY, EXPOSED = "accuracy", "exposed"
"""Figures that no single attack gives: accuracy of students, and the strongest attack's share of members."""

Said = Literal["leakier", "less leaky", "worse", "better", "no difference shown"]


class Cell(Settings):
    """One setting with one seed."""

    setting: str
    seed: int
    verdict: Verdict | None = Field(description="under the policy, judged alone; None: it could not be made")
    failure: str | None = Field(None, description="why it could not be made or audited")
    release: str | None = Field(description="hash of the released images")
    images: int
    figures: dict[str, float] = Field(
        description="by 'ATTACK METRIC' (r0: share of members above every control), 'exposed' (the largest share at "
        "1 % false accusations) and 'accuracy'"
    )


class Interval(Settings):
    """A mean over seeds with its two-sided 95 % interval."""

    estimate: float
    low: float
    high: float


class Difference(Settings):
    """A setting against the baseline, in one figure: mean of the paired differences over seeds."""

    figure: str
    mean: float
    low: float
    high: float
    p_leakier: float = Field(description="one-sided; for accuracy: that it is lower")
    verdict: Said = Field(
        description="after Holm over all settings and figures, and beyond the noise band; worse and better: accuracy"
    )


class Line(Settings):
    """One setting over all seeds."""

    name: str
    synthesizer: str
    settings: dict[str, Any] = Field(description="as given in the grid, with what is common")
    verdicts: dict[str, int] = Field(description="how often each verdict was given")
    figures: dict[str, Interval]
    differences: tuple[Difference, ...] = Field(description="empty for the baseline")
    leakage_ranks: tuple[int, int] | None = Field(description="best and worst rank it may have; 1: least exposed")
    utility_ranks: tuple[int, int] | None = Field(description="the same; 1: most useful")
    on_frontier: bool = Field(description="no other setting is, by the estimates, both less exposed and more useful")
    dominated_by: tuple[str, ...] = Field(description="settings that are shown to be less exposed and more useful")


class Change(Settings):
    """A setting against itself in an earlier benchmark."""

    setting: str
    difference: Difference


class GridRecord(Settings):
    """Everything that a benchmark found, in shareable form."""

    model_config = Settings.model_config | {"populate_by_name": True}

    schema_: int = Field(SCHEMA, alias="schema")
    baseline: str
    again: str = Field(description="the baseline made once more from other random numbers: what it differs by is noise")
    seeds: tuple[int, ...]
    lines: tuple[Line, ...]
    noise: dict[str, float] = Field(
        description="by figure: half-width in which identical settings differ in 95 % of trials"
    )
    unfinished: tuple[Cell, ...] = Field(description="cells without figures; their settings have no line")
    against: tuple[Change, ...] | None = Field(None, description="None: no earlier benchmark was given")
    cells: tuple[Cell, ...]
    facts: dict[str, Any] = Field(description="what makes two benchmarks comparable: data, attacks, effort, policy")
    manifest: dict[str, Any] = Field(description="versions, commit, hardware")
