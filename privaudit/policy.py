"""The policy: the limits that a release candidate must keep, in a file that is reviewed like code."""

from __future__ import annotations

import datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator

from privaudit.attack import Settings
from privaudit.errors import InputError, suggestion

BUILT_IN = ("default", "demo")

Model = TypeVar("Model", bound=BaseModel)

_PLAIN = {
    "model_type": "keys and values belong here",
    "dict_type": "keys and values belong here",
    "tuple_type": "a list belongs here",
    "string_type": "a text belongs here; quote it",
    "int_type": "a whole number belongs here",
    "int_parsing": "a whole number belongs here",
    "int_from_float": "a whole number belongs here",
    "float_type": "a number belongs here",
    "float_parsing": "a number belongs here",
    "bool_type": "true or false belongs here",
    "bool_parsing": "true or false belongs here",
    "too_short": "at least one is needed",
}
"""What pydantic says in the words of a programmer, by its type of error."""


class Policy(Settings):
    """Limits of the verdict rule; see the comments of the shipped default policy."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of this format")
    name: str = Field(description="name printed in the report")
    owner: str = Field("", description="who answers for these limits")
    date: str = Field("", description="when they were reviewed")
    recipient: str = Field("public", description="who receives the release: a named party, or 'public'")
    tpr_limit: float = Field(gt=0.01, lt=1, description="largest accepted TPR at 1 % FPR")
    minimum_members: int = Field(ge=1, description="scored members (persons) needed to judge at all")
    minimum_controls: int = Field(ge=1, description="scored controls (persons), fresh ones included, needed to judge")
    required_attacks: tuple[str, ...] = Field(min_length=1, description="attacks that a pass needs")
    required_plants: tuple[str, ...] = Field(description="kinds of planted members that must have been found")
    plant_dose_images: int = Field(10, ge=1, description="largest dose at which they must be found, in images")
    plant_dose_share: float = Field(0.01, ge=0, le=0.2, description="the same as a share of the scored members")
    suspected_q: float = Field(0.1, gt=0, le=0.1, description="false discovery rate of the suspected list")
    left_out_share: float = Field(0.1, ge=0, le=1, description="largest share of members that may go unassessed")
    file_findings: Literal["fail", "inconclusive", "ignore"] = Field("fail", description="what traces in files mean")
    closest_members: Literal["chance", "none"] = Field("chance", description="members closer than every control")

    @field_validator("date", mode="before")
    @classmethod
    def _date_as_text(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, datetime.date) else value

    @field_validator("required_plants")
    @classmethod
    def _known_plants(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        from privaudit.plants import KINDS

        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"unknown kind of plant '{kind}'. {suggestion(kind, KINDS)}")
        return kinds

    def enough(self, n_members: int, n_controls: int) -> bool:
        """Whether so many scored members and controls can show the limit at all."""
        return n_members >= self.minimum_members and n_controls >= self.minimum_controls

    def plant_dose(self, n_members: int) -> int:
        """Largest dose at which required plants must be found."""
        return max(self.plant_dose_images, round(self.plant_dose_share * n_members))


def _keys(model: type[BaseModel]) -> dict[str, str | None]:
    """Descriptions by key; keys of models within it with dots."""
    found: dict[str, str | None] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        found[key] = field.description
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                found |= {f"{key}.{deeper}": text for deeper, text in _keys(inner).items()}
    return found


def _explain(error: ValidationError, model: type[BaseModel], what: str) -> InputError:
    """A message with one line per wrong key, with the nearest allowed key for an unknown one."""
    lines, keys = [], _keys(model)
    places = [problem["loc"] for problem in error.errors()]
    for problem in error.errors():
        if any(problem["loc"] == place[: len(problem["loc"])] != place for place in places):
            continue  # it follows from what is wrong within
        place = ".".join(str(part) for part in problem["loc"])
        key = ".".join(part for part in problem["loc"] if isinstance(part, str))
        above = key.rpartition(".")[0]
        beside = [other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == above]
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key '{place}'. {suggestion(key.rpartition('.')[2], beside)}")
        elif problem["type"] == "missing":
            lines.append(f"key '{place}' is missing: {keys.get(key) or 'it is needed'}.")
        else:
            found = "" if isinstance(problem["input"], dict) else f" (found {problem['input']!r})"
            message = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, "))
            lines.append((f"key '{place}': " if place else "") + message + found + ".")
    return InputError(f"The {what} cannot be used:\n" + "\n".join(f"  - {line}" for line in lines))


def validated(model: type[Model], values: Any, what: str) -> Model:
    """The model made from these values; InputError with suggestions where they are wrong."""
    if not isinstance(values, dict):
        raise InputError(f"The {what} must hold keys and values; found {type(values).__name__}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(error, model, what) from None


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file; InputError where it cannot be read."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"The {what} '{path}' does not exist.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"The {what} '{path}' is not valid YAML{place}: {problem or 'it cannot be read'}.") from None


def built_in_text(name: str) -> str:
    """The text of a shipped policy, comments included."""
    return resources.files("privaudit").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


def load_policy(name_or_file: str) -> Policy:
    """A shipped policy by name ('default', 'demo'), or a policy file."""
    import yaml

    if name_or_file in BUILT_IN:
        return Policy.model_validate(yaml.safe_load(built_in_text(name_or_file)))
    path = Path(name_or_file)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"There is no policy '{name_or_file}'. Allowed: {', '.join(BUILT_IN)}, or the path of a policy file."
        )
    return validated(Policy, read_yaml(path, "policy"), f"policy '{path.name}'")
