"""release.json: what a release folder says of itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from privaudit.data.decoding import check_inside
from privaudit.data.folders import MAX_NAME
from privaudit.data.npy import printable
from privaudit.data.npz import MAX_CLASSES
from privaudit.errors import InputError, suggestion
from privaudit.validation import bounded
from privaudit.views import COLUMNS, MOST_VIEWS

MANIFEST = "release.json"

_MOST_NOTES = 20
_MOST_VALUES = 200_000
_MAX_MANIFEST = 16 * 2**20

Whole = Annotated[int, Field(ge=-(2**31), le=2**31, strict=True)]
View = Annotated[tuple[Whole, ...], Field(min_length=len(COLUMNS), max_length=len(COLUMNS))]
ClassName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)]


class Claim(BaseModel):
    """A privacy claim in release.json: all keys or none."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    epsilon: float = Field(ge=0)
    delta: float = Field(ge=0, lt=1)
    unit: Literal["image", "person"]
    adjacency: Literal["add/remove", "replace"]
    mechanism: dict[str, Any]
    accountant: str
    trust_model: str
    sampling: str = ""


class Manifest(BaseModel):
    """release.json. `artifacts`: what is published beside the images, by name, with its file in the folder.

    views: what the soft labels of an image are given for, see `privaudit.views`; empty: for the image itself.
    """

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    format: Literal["privaudit release"] = "privaudit release"
    version: Literal[1] = 1
    class_names: tuple[ClassName, ...] = Field(min_length=1, max_length=MAX_CLASSES)
    images: int | None = Field(None, ge=1)
    artifacts: dict[str, str] = Field(default_factory=dict)
    views: tuple[View, ...] = Field((), max_length=MOST_VIEWS)
    claim: Claim | None = None
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("class_names")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names) or not all(name.isprintable() for name in names):
            raise ValueError("names must differ and be printable")
        return names


def read_manifest(folder: Path) -> tuple[Manifest, list[str]]:
    """release.json, validated, and one note per key that is not understood."""
    path = folder / MANIFEST
    check_inside(path, folder)
    try:
        if path.stat().st_size > _MAX_MANIFEST:
            raise InputError(f"{MANIFEST} is larger than {_MAX_MANIFEST // 2**20} MiB. It should hold names only.")
        content = json.loads(path.read_bytes())
        bounded(content, _MOST_VALUES)
        manifest = Manifest.model_validate(content)
        as_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        keys = Claim.model_fields if place.startswith("claim") else Manifest.model_fields
        raise InputError(
            f"{MANIFEST} is not usable: {printable(place)}: {first['msg']}. Keys: {', '.join(keys)}."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{MANIFEST} is not a JSON file in UTF-8. Write it again.") from error
    notes = _unknown(manifest, "")
    if manifest.claim is not None:
        notes += _unknown(manifest.claim, "claim.")
    return manifest, notes


def _unknown(model: BaseModel, prefix: str) -> list[str]:
    extra = list(model.model_extra or {})
    notes = [
        f"Not assessed: {MANIFEST} has the unknown key {printable(prefix + key)}. "
        f"{suggestion(key, type(model).model_fields)}"
        for key in extra[:_MOST_NOTES]
    ]
    if len(extra) > _MOST_NOTES:
        notes.append(f"Not assessed: {MANIFEST} has {len(extra) - _MOST_NOTES:,} more unknown keys.")
    return notes


def as_json(content: Any) -> bytes:
    """The content as JSON in UTF-8; ValueError for what JSON cannot carry (NaN, infinity, half of a character)."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
