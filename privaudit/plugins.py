"""Attacks and synthesizers are found through entry points only; a third party's is used in exactly the same way."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from privaudit.attack import Attack
from privaudit.errors import InputError, suggestion
from privaudit.synthesizer import Synthesizer
from privaudit.validation import validated

ATTACKS = "privaudit.attacks"
SYNTHESIZERS = "privaudit.synthesizers"
_ATTACK_MEMBERS = ("name", "version", "sees", "threat_model", "reach", "expose", "attack")
_SYNTHESIZER_MEMBERS = ("name", "version", "shards", "make", "finish")


def installed(group: str) -> dict[str, EntryPoint]:
    """Entry points of a group by name. Raises InputError where two packages claim one name."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        if point.name in found and found[point.name].value != point.value:
            raise InputError(
                f"Two installed packages offer '{point.name}' ({found[point.name].value} and {point.value}). "
                "Uninstall one of them."
            )
        found[point.name] = point
    return found


def _class(group: str, what: str, members: tuple[str, ...], name: str) -> Any:
    points = installed(group)
    if name not in points:
        raise InputError(f"There is no {what} '{name}'. {suggestion(name, points)}")
    try:
        loaded: Any = points[name].load()
    except (ImportError, AttributeError) as error:
        raise InputError(f"The {what} '{name}' cannot be loaded from {points[name].value}: {error}.") from error
    missing = [member for member in members if not hasattr(loaded, member)]
    if missing:
        raise InputError(f"'{name}' ({points[name].value}) is no {what}: it lacks {', '.join(missing)}.")
    if loaded.name != name:
        raise InputError(f"The {what} installed as '{name}' calls itself '{loaded.name}'; the two names must agree.")
    return loaded


def attack_class(name: str) -> type[Attack]:
    """The class of an installed attack. Raises InputError for an unknown name or a class that is no attack."""
    return _class(ATTACKS, "attack", _ATTACK_MEMBERS, name)  # type: ignore[no-any-return]


def make_attack(name: str, settings: dict[str, Any]) -> Attack:
    """An attack with these settings. Raises InputError for unknown settings, with a suggestion."""
    kind: Any = attack_class(name)
    return validated(kind, settings, f"settings of the attack '{name}'")  # type: ignore[no-any-return]


def synthesizer_class(name: str) -> type[Synthesizer]:
    """The class of an installed engine. Raises InputError for an unknown name or a class that is no engine."""
    return _class(SYNTHESIZERS, "synthesizer", _SYNTHESIZER_MEMBERS, name)  # type: ignore[no-any-return]


def make_synthesizer(name: str, settings: dict[str, Any]) -> Synthesizer:
    """An engine with these settings. Raises InputError for unknown settings, with a suggestion."""
    kind: Any = synthesizer_class(name)
    return validated(kind, settings, f"settings of the synthesizer '{name}'")  # type: ignore[no-any-return]
