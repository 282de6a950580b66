"""Results of benchmarks as JSON, with what is needed to run them again."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from privaudit.manifest import processor, versions

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor, cores and versions; no host, user or path."""
    return {"cpu": processor(), "cores": os.cpu_count(), **versions()}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def check_one_tree() -> None:
    """Exits where the core, the attacks and the engines come from different places, as they do where the working folder
    shadows an installation: then no commit names the code that ran.
    """
    import privaudit
    import privaudit.attacks
    import privaudit.synth

    core = Path(privaudit.__file__).parent
    for name, module in (("attacks", privaudit.attacks), ("synth", privaudit.synth)):
        found = Path(module.__path__[0])
        if found not in (core / name, core.parent / name):  # installed, or a checkout
            raise SystemExit(
                f"privaudit is {core}, but its {name} are {found}: no commit names this code. Set PYTHONSAFEPATH=1, or "
                "install this checkout."
            )


def commit() -> str | None:
    """Commit of the code, '+changes' where it differs from it (earlier results do not count)."""
    check_one_tree()
    head = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--", ":/", ":(exclude)results")
    return head if head is None or not changed else f"{head}+changes"


def write_result(name: str, results: Mapping[str, Any], *, seeds: int | Sequence[int], command: str) -> Path:
    """Write benchmarks/results/NAME.json."""
    record = {
        "name": name,
        "command": command,
        "seeds": seeds,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "results": results,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return path
