"""Tables of settings and keys, from the models that read and write them."""

from __future__ import annotations

import importlib
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from page_markup import cell, table
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from privaudit.attack import holds_release
from privaudit.plugins import attack_class, make_attack, synthesizer_class


def attack(name: str) -> str:
    """What the attacker holds, and what his silence can support."""
    kind = attack_class(name)
    sees = ", ".join(sorted(sight.value.replace("_", " ") for sight in kind.sees))
    role = (
        "He holds the candidate: his silence can support a `pass`."
        if holds_release(make_attack(name, {}))
        else "He does not hold the candidate: he can make a verdict `fail`, and his silence supports no `pass`."
    )
    return f"{cell(kind.threat_model)}\n\nHe sees: {sees}. {role}"


def of_attack(name: str) -> str:
    """The settings of an attack."""
    return _settings(attack_class(name))


def of_engine(name: str) -> str:
    """The settings of an engine."""
    return _settings(synthesizer_class(name))


def _settings(kind: Any) -> str:
    rows = []
    for name, field in kind.model_fields.items():
        about = f"{cell(field.description)}<br><small>{_type(field.annotation)}; {_default(field)}</small>"
        rows.append((f"`{field.alias or name}`", about))
    return table(("setting", "meaning"), rows)


def model(place: str) -> str:
    """The keys of a file, from `module:Class`."""
    module, _, name = place.partition(":")
    return _settings(getattr(importlib.import_module(module), name))


def record() -> str:
    """Every key of audit.json, one table for each object in it."""
    from privaudit.record import AuditRecord

    parts = []
    for kind in _models(AuditRecord):
        about = " ".join((kind.__doc__ or "").split())
        rows = [
            (f"`{field.alias or name}`", f"{cell(field.description or '')} <small>{_linked(field.annotation)}</small>")
            for name, field in kind.model_fields.items()
        ]
        parts.append(f"### {kind.__name__}\n\n{cell(about)}\n\n{table(('key', 'meaning'), rows)}")
    return "\n\n".join(parts)


def _linked(kind: Any) -> str:
    """The type, with a link to the table of the object that it holds."""
    text = _type(kind)
    for one in {held.__name__ for held in _held(kind)}:
        text = text.replace(one, f"[{one}](#{one.lower()})")
    return text


def _models(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model and those that its fields hold, each once, outermost first."""
    waiting, seen = [kind], []
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.append(one)
        yield one
        for field in one.model_fields.values():
            waiting += _held(field.annotation)


def _held(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [found for part in get_args(kind) for found in _held(part)]


_PLAIN: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "nothing",
    Any: "anything",
}


def _type(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in parts if part is not type(None))
    if origin in (tuple, list):
        return f"list of {_type(parts[0])}"
    if origin in (dict, Mapping):
        return f"by name: {_type(parts[1])}" if _held(parts[1]) else "keys and values"
    if hasattr(kind, "__metadata__"):
        return _type(kind.__origin__)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.__name__
    return _PLAIN.get(kind, "path" if getattr(kind, "__name__", "") == "Path" else str(kind))


def _default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    if value is None or value in ((), {}, ""):
        return "may be left out"
    return f"default: {cell(_shown(value))}"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value)
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)
