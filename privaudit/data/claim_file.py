"""A claim of differential privacy, as its maker states it in a YAML or JSON file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from privaudit.attack import Settings
from privaudit.data.named_file import ordinary_file
from privaudit.errors import InputError
from privaudit.images import Dataset
from privaudit.release import PrivacyClaim
from privaudit.validation import read_yaml, validated

_MOST_BYTES = 2**16


class ClaimFile(Settings):
    """The file. A claim is whole or none: only `mechanism` and `trust_model` may be left out, and are then missed."""

    epsilon: float = Field(gt=0, allow_inf_nan=False, description="the budget, above 0")
    delta: float = Field(ge=0, lt=1, allow_inf_nan=False, description="the budget's other part, from 0 to below 1")
    unit: Literal["image", "person"] = Field(description="whose presence is protected")
    adjacency: Literal["add/remove", "replace"] = Field(description="what neighbouring data sets differ by")
    sampling: str = Field(min_length=1, max_length=200, description="how batches were drawn, with the rate")
    accountant: str = Field(min_length=1, max_length=200, description="what added the budget up, with its version")
    mechanism: dict[str, str | float] = Field(
        default_factory=dict, description="what was noised and how: noise multiplier, steps, clip"
    )
    trust_model: str = Field("", max_length=200, description="who saw the data without noise")

    @field_validator("epsilon", "delta", mode="before")
    @classmethod
    def _no_switch(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("a number belongs here")
        return value


def read_claim(path: Path) -> PrivacyClaim:
    """The claim in a file. Raises InputError for unknown and missing keys, and for impossible values."""
    ordinary_file(path, "claim", _MOST_BYTES)
    try:
        values = read_yaml(path, "claim")
        found = validated(ClaimFile, values, f"claim '{path.name}'")
    except RecursionError:
        raise InputError(f"The claim '{path.name}' is nested too deeply. Write keys and values.") from None
    return PrivacyClaim(**found.model_dump())


def doubts(claim: PrivacyClaim, members: Dataset) -> list[str]:
    """What a reader of this claim should know, one sentence each."""
    units = len(set(members.units.tolist())) if claim.unit == "person" else len(members)
    if claim.delta <= 1 / units:
        return []
    return [
        f"The claimed delta of {claim.delta:g} is above 1 / {units:,}, one by the number of members: publishing one of "
        "them as it is would keep such a claim."
    ]
