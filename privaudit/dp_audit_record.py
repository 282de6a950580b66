"""What dp-audit.json holds: all that another needs to compute the tests again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from privaudit.dp_audit import DPAudit
from privaudit.images import Images
from privaudit.manifest import commit, processor, versions
from privaudit.plan import settings_of
from privaudit.synthesizer import Synthesizer

SCHEMA = 1


def record(
    found: DPAudit, engine: Synthesizer, members: Images, seed: int, persons: bool, command: str
) -> dict[str, Any]:
    """JSON-able, without paths but those in the command. Scores are in the order of the canaries."""
    return {
        "schema": SCHEMA,
        "command": command,
        "versions": versions(),
        "commit": commit(),
        "hardware": {"processor": processor()},
        "seed": seed,
        "engine": {"name": engine.name, "version": engine.version, "settings": settings_of(engine)},
        "members": {"images": len(members), "digest": members.digest},
        "claim": {"epsilon": found.epsilon, "delta": found.delta, "unit": "image", "adjacency": "add/remove"},
        "members_have_persons": persons,
        "counted_epsilon": found.counted,
        "refuted": found.refuted,
        "without_power": found.without_power,
        "stages": [
            {
                "name": stage.name,
                "claimed": asdict(stage.claimed),
                "epsilon": stage.epsilon,
                "test": asdict(stage.test),
                "epsilon_at_least": {"if_gaussian": stage.lower_if_gaussian, "of_any": stage.lower_of_any},
                "one_run": None if stage.one_run is None else asdict(stage.one_run),
                "inside": stage.inside.tolist(),
                "scores": stage.scores.tolist(),
            }
            for stage in found.stages
        ],
    }
