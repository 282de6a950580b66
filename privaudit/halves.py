"""The tasks of the two halves of an attack: what decides the result of each, and so is part of its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privaudit.attack import Attack, Effort, uses_backbones
from privaudit.cells import ATTACK, KEPT, what_runs
from privaudit.manifest import result_facts
from privaudit.plan import settings_of
from privaudit.store import Entry
from privaudit.weights import stored_backbones
from privaudit.worker import Task


@dataclass(frozen=True)
class Means:
    """What the halves of all attacks of a run are given beside their inputs.

    weights: folder of the weight store. backbones: hashes of what it has, by name; empty where no attack looks at them.
    """

    seed: int
    effort: Effort
    device: str
    weights: Path | None
    backbones: Mapping[str, str]


def backbones_for(attacks: Iterable[Attack], weights: Path | None) -> dict[str, str]:
    """Hashes of the stored backbones by name, if one of these attacks looks through them; else none is read.

    Raises InputError for a damaged one.
    """
    return stored_backbones(weights) if any(map(uses_backbones, attacks)) else {}


def half(
    function: str,
    label: str,
    attack: Attack,
    means: Means,
    inputs: dict[str, dict[str, str]],
    asked: Mapping[str, Any] | None = None,
) -> Task:
    """The task of the victim's half (EXPOSE) or the attacker's (ATTACK). asked: further arguments."""
    looks_through = function == ATTACK and uses_backbones(attack) and bool(means.backbones)
    return Task(
        label,
        function,
        {
            "attack": attack.name,
            "settings": settings_of(attack),
            "seed": means.seed,
            "effort": means.effort,
            "device": means.device,
            **(asked or {}),
            **({"weights": str(means.weights)} if looks_through else {}),
        },
        inputs,
        what_runs(attack)
        | ({"backbones": dict(means.backbones)} if looks_through else {})
        | result_facts(means.device),
    )


def handed(exposed: Entry) -> dict[str, str]:
    """What the victim's half shows to the attacker's; the rest is kept for the runner."""
    return {name: digest for name, digest in exposed.arrays.items() if not name.startswith(KEPT)}
