"""What canaries.json holds: all that another needs to compute the bounds again."""

from __future__ import annotations

import math
import sys
from dataclasses import asdict
from typing import Any

from privaudit.canary_run import Result
from privaudit.manifest import commit, processor, versions
from privaudit.plan import member_id, settings_of
from privaudit.plugins import make_attack

SCHEMA = 1


def record(result: Result, command: str) -> dict[str, Any]:
    """All that another needs to compute the bounds again, JSON-able, without paths but those in the command.

    Scores are in the order of the canaries; null: no opinion, ranked last.
    """
    trial, canaries = result.trial, result.canaries
    return {
        "schema": SCHEMA,
        "command": command,
        "versions": versions(),
        "commit": commit(),
        "hardware": {"processor": processor(), "device": trial.device, "threads_per_task": 1},
        "seed": trial.seed,
        "effort": trial.effort,
        "delta": trial.delta,
        "engine": {"name": trial.engine.name, "version": trial.engine.version, "settings": settings_of(trial.engine)},
        "data": {
            "members": trial.members.digest,
            "reference": None if trial.reference is None else trial.reference.digest,
            "canaries": canaries.images.digest,
        },
        "members": len(trial.members),
        "released_images": result.released,
        "attacks": {name: {"version": make_attack(name, {}).version} for name in trial.attacks},
        "not_run": dict(result.not_run),
        "rows": result.rows,
        "kinds": list(trial.kinds),
        "canaries": [
            {
                "id": member_id(int(canaries.rows[place])),
                "kind": str(canaries.kinds[place]),
                "label": int(canaries.images.labels[place]),
                "label_before": int(trial.members.labels[canaries.rows[place]]),
                "in": bool(canaries.inside[place]),
                "tie": int(canaries.ties[place]),
            }
            for place in range(len(canaries))
        ],
        "scores": {name: [_number(one) for one in values] for name, values in result.scores.items()},
        "bounds": [
            asdict(bound) | {"auc": None if bound.auc is None else bound.auc.model_dump(mode="json")}
            for bound in result.bounds
        ],
        "claim": result.claim,
        "claim_answer": None if result.answer is None else asdict(result.answer),
    }


def _number(value: float) -> float | None:
    """A number that JSON has; None for no opinion."""
    if math.isnan(value) or value == -math.inf:
        return None
    return float(min(value, sys.float_info.max))
