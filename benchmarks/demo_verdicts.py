"""What does the demo answer? Twenty seeds of the digits, with planted members and without.

    python -m benchmarks.demo_verdicts

Expected: `fail` with planted members, and `pass` or `inconclusive` without, because some hundred images are few.
"""

from __future__ import annotations

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


def one(seed: int) -> dict[str, Any]:
    """Both demos of one seed."""
    import torch

    torch.set_num_threads(1)
    policy, row = load_policy("demo"), dict[str, Any](seed=seed)
    for name, clean in (("planted", False), ("clean", True)):
        with tempfile.TemporaryDirectory() as folder:
            record = judge(collect(demo.plan(seed, clean), policy, Store(Path(folder))), policy)
        row[name] = {"verdict": record.verdict, "reasons": list(record.releases[0].reasons)}
    return row


def main() -> None:
    """All seeds, then the frequencies."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(one, SEEDS))
    counts = {name: dict(Counter(row[name]["verdict"] for row in rows)) for name in ("planted", "clean")}
    print(counts)
    command = "python -m benchmarks.demo_verdicts"
    print(write_result("demo_verdicts", {"verdicts": counts, "raw": rows}, seeds=list(SEEDS), command=command))


if __name__ == "__main__":
    main()
