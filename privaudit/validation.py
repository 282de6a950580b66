"""From keys and values, such as a YAML file holds, to a settings model; what is wrong is said in plain words."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from privaudit.errors import InputError, suggestion

_MOST_BYTES = 2**18
_MOST_VALUES = 100_000
_DEEPEST = 50
_MOST_PROBLEMS = 20
_LONGEST = 200

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
    "string_too_short": "a text belongs here; it is empty",
}
"""What pydantic says in the words of a programmer, by its type of error."""


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


def _shown(value: Any) -> str:
    """The value as it may stand in a message."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _explain(error: ValidationError, model: type[BaseModel], what: str) -> InputError:
    """A message with one line per wrong key, with the nearest allowed key for an unknown one."""
    lines, keys = [], _keys(model)
    problems = error.errors(include_url=False)
    further, problems = len(problems) - _MOST_PROBLEMS, problems[:_MOST_PROBLEMS]
    places = [problem["loc"] for problem in problems]
    for problem in problems:
        if any(problem["loc"] == place[: len(problem["loc"])] != place for place in places):
            continue  # it follows from what is wrong within
        place = ".".join(str(part)[:_LONGEST] for part in problem["loc"])
        key = ".".join(part for part in problem["loc"] if isinstance(part, str))
        above = key.rpartition(".")[0]
        beside = [other.rpartition(".")[2] for other in keys if other.rpartition(".")[0] == above]
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key '{place}'. {suggestion(key.rpartition('.')[2], beside)}")
        elif problem["type"] == "missing":
            lines.append(f"key '{place}' is missing: {keys.get(key) or 'it is needed'}.")
        else:
            found = "" if isinstance(problem["input"], dict) else f" (found {_shown(problem['input'])})"
            message = _PLAIN.get(problem["type"], problem["msg"].removeprefix("Value error, ")).rstrip(".")
            if (least := problem.get("ctx", {}).get("min_length", 1)) > 1:
                message = f"at least {least} are needed"
            lines.append((f"key '{place}': " if place else "") + message + found + ".")
    if further > 0:
        lines.append(f"and {further:,} more.")
    return InputError(f"The {what} cannot be used:\n" + "\n".join(f"  - {line}" for line in lines))


def validated(model: type[Model], values: Any, what: str) -> Model:
    """The model made from these values; InputError with suggestions where they are wrong."""
    if not isinstance(values, dict):
        raise InputError(f"The {what} must hold keys and values; found {type(values).__name__}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _explain(error, model, what) from None


def text_of(path: Path, most: int) -> str:
    """The text of an ordinary file in UTF-8.

    Raises OSError for a pipe or a device, from which could be read for ever; ValueError for more than `most` bytes.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no file")
    if found.st_size > most:
        raise ValueError(f"it has {found.st_size:,} bytes; at most {most:,} are read")
    return path.read_text(encoding="utf-8")


def json_of(path: Path, most_bytes: int, most_values: int) -> Any:
    """The content of a JSON file. Raises OSError and ValueError as `text_of` does, and for more values than this.

    Values are counted by their commas before they are made, for an empty list of three letters takes sixty bytes.
    """
    text = text_of(path, most_bytes)
    if text.count(",") > most_values:
        raise ValueError(f"it holds over {most_values:,} values")
    return json.loads(text)


def bounded(values: Any, most: int, deepest: int | None = None) -> None:
    """Raise ValueError for more values than `most`, which few letters of YAML can stand for, and for deep nesting.

    What is wrong with a value takes far more memory than the value, so they are counted before they are judged.
    """
    count, left = 0, [(values, 0)]
    while left:
        value, depth = left.pop()
        inner = value.values() if isinstance(value, dict) else value
        if not isinstance(value, dict | list | tuple | set):
            continue
        count += len(inner)
        if count > most or depth == deepest:
            raise ValueError(f"it holds over {most:,} values" if count > most else "it is nested too deeply")
        left += [(one, depth + 1) for one in inner]


def read_yaml(path: Path, what: str) -> Any:
    """The content of a YAML file; InputError where it cannot be read."""
    import yaml

    from privaudit.yaml_text import parsed

    try:
        values = parsed(text_of(path, _MOST_BYTES))
        bounded(values, _MOST_VALUES, _DEEPEST)
        return values
    except FileNotFoundError:
        raise InputError(f"The {what} '{path}' does not exist.") from None
    except (OSError, ValueError) as error:
        raise InputError(f"The {what} '{path}' cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f" in line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"The {what} '{path}' is not valid YAML{place}: {problem or 'it cannot be read'}.") from None
