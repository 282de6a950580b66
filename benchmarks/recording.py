"""Results of benchmarks as JSON, with what is needed to run them again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Processor and versions; no host, user or path."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=RESULTS.parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def commit() -> str | None:
    """Commit of the code, '+changes' where it differs from it (earlier results do not count)."""
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
