"""The file of a benchmark: one line for every setting."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from privaudit.attack import Effort, Settings
from privaudit.configuration import (
    CandidateSource,
    Configuration,
    Data,
    check_name,
    merged_settings,
    placed_data,
    placed_policy,
)
from privaudit.errors import InputError
from privaudit.validation import read_yaml, validated

AGAIN = "again"
ENGINE = "synthesizer"


class Grid(Settings):
    """Synthesis settings that are compared on the same images, seed by seed."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of this format")
    data: Data = Field(description="'source' and 'split' as in audit.yaml; dealt anew for every seed")
    synthesizer: str = Field(description="the engine (see: privaudit plugins)")
    common: dict[str, Any] = Field(default_factory=dict, description="what all settings of this engine share")
    settings: dict[str, dict[str, Any]] = Field(
        min_length=1,
        max_length=100,
        description="by name, what each setting changes; 'synthesizer' among it names another engine, without 'common'",
    )
    baseline: str | None = Field(None, description="the setting that others are compared with; default: the first")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=3, description="at least three; five tell much more")
    attacks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="attacks and their settings; default: those that the policy requires"
    )
    policy: str = Field("default", description="the limits: a policy file, or the name of a shipped policy")
    effort: Effort = Field("standard", description="how much is spent: quick, standard or thorough")
    max_suspects: int = Field(10_000, ge=100, description="most members, and most controls, that are scored")
    utility: bool = Field(True, description="whether students are trained to measure usefulness")
    utility_seeds: int = Field(3, ge=3, le=20, description="students trained on each side")

    @field_validator("settings", "attacks", mode="before")
    @classmethod
    def _left_empty(cls, found: Any) -> Any:
        if not isinstance(found, dict):
            return found
        return {str(name): {} if values is None else values for name, values in found.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Grid:
        known: dict[str, str] = {}
        for name in (*self.settings, self.again):
            check_name(name)
            same = unicodedata.normalize("NFKC", name).casefold()
            if same in known:
                raise ValueError(
                    f"each setting needs a name of its own, and '{self.again}' is kept for the repeat of the baseline: "
                    f"'{known[same]}' and '{name}'"
                )
            known[same] = name
        if self.data.split is None:
            raise ValueError(
                "a benchmark needs 'source' and 'split' in its data: every seed deals the images anew, or one lucky "
                "split would look like an effect of the settings"
            )
        if self.baseline is not None and self.baseline not in self.settings:
            raise ValueError(f"the baseline '{self.baseline}' is none of the settings: {', '.join(self.settings)}")
        if len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError("seeds must be different numbers from 0 on")
        return self

    @property
    def compared_with(self) -> str:
        """Name of the baseline."""
        return self.baseline or next(iter(self.settings))

    @property
    def again(self) -> str:
        """Name of the baseline's repeat from other random numbers: what it differs by is noise."""
        return f"{self.compared_with} {AGAIN}"

    def resolved(self, name: str) -> tuple[str, dict[str, Any]]:
        """Engine and all that is set for it; what a line changes goes over what is common."""
        line = dict(self.settings[self.compared_with if name == self.again else name])
        engine = str(line.pop(ENGINE, self.synthesizer))
        return engine, merged_settings(self.common, line) if engine == self.synthesizer else line

    def names(self) -> tuple[str, ...]:
        """All candidates of a seed: the settings, and the repeat of the baseline."""
        return (*self.settings, self.again)

    def configuration(self, seed: int, attacks: Mapping[str, Mapping[str, Any]]) -> Configuration:
        """The run of one seed."""
        candidates = []
        for name in self.names():
            engine, settings = self.resolved(name)
            candidates.append(
                CandidateSource(name=name, synthesizer=engine, settings=settings, repeat=int(name == self.again))
            )
        return Configuration(
            schema=1,
            data=self.data,
            candidates=tuple(candidates),
            attacks={name: dict(settings) for name, settings in attacks.items()},
            policy=self.policy,
            effort=self.effort,
            seed=seed,
            max_suspects=self.max_suspects,
            skip=("similarity",) if self.utility else ("similarity", "utility"),
            utility_seeds=self.utility_seeds,
        )


def load_grid(path: Path) -> Grid:
    """The grid in a file; its paths are relative to the file. InputError where it is wrong."""
    if not path.exists():
        raise InputError(f"There is no grid '{path}'. See one with: privaudit benchmark --example")
    found = validated(Grid, read_yaml(path, "grid"), f"grid '{path.name}'")
    update = {"data": placed_data(found.data, path.parent), "policy": placed_policy(found.policy, path.parent)}
    return found.model_copy(update=update)
