"""What do the demos answer? Twenty seeds of the digits.

    python -m benchmarks.demo_verdicts --part audit     with planted members and without
    python -m benchmarks.demo_verdicts --part run       a candidate made by bn-matching

Expected: `fail` with planted members; `pass` or `inconclusive` otherwise, because some hundred images are few.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.recording import write_result
from privaudit import demo
from privaudit.audit import collect
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.store import Store

SEEDS = range(20)


def audited(seed: int) -> dict[str, Any]:
    """Both audits of one seed."""
    import torch

    torch.set_num_threads(1)
    policy, row = load_policy("demo"), dict[str, Any](seed=seed)
    for name, clean in (("planted", False), ("clean", True)):
        with tempfile.TemporaryDirectory() as folder:
            record = judge(collect(demo.plan(seed, clean), policy, Store(Path(folder))), policy)
        row[name] = {"verdict": record.verdict, "reasons": list(record.releases[0].reasons)}
    return row


def run_alone(seed: int) -> dict[str, Any]:
    """The whole demo of one seed as a user starts it, in one process; utility and similarity are left out."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--json", "--quiet", "--no-fail", "--workers", "1", "--skip", "utility,similarity")
        done = subprocess.run(
            [sys.executable, "-m", "privaudit", "run", "--demo", "--seed", str(seed), *options],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
    record = json.loads(done.stdout)
    return {"seed": seed, "run": {"verdict": record["verdict"], "reasons": record["releases"][0]["reasons"]}}


PARTS = {"audit": (audited, ("planted", "clean")), "run": (run_alone, ("run",))}


def main() -> None:
    """All seeds, then the frequencies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, required=True)
    part = parser.parse_args().part
    function, names = PARTS[part]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(function, SEEDS))
    counts = {name: dict(Counter(row[name]["verdict"] for row in rows)) for name in names}
    print(counts)
    command = f"python -m benchmarks.demo_verdicts --part {part}"
    name = "demo_verdicts" if part == "audit" else "demo_run_verdicts"
    print(write_result(name, {"verdicts": counts, "raw": rows}, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
