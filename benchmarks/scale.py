"""Cost of a whole audit: seconds per stage, peak memory, and how both grow with members, controls and release.

    python -m benchmarks.scale --part full      30,000 members, 10,000 controls, 10,000 released images
    python -m benchmarks.scale --part growth    a base size, and each of the three numbers doubled

The release consists of averages of pairs of members' strangers, so that CIFAR-10 has enough images.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import shared_data
from benchmarks.recording import write_result
from privaudit import seeds
from privaudit.audit import Candidate, Plan, collect
from privaudit.execution import cores
from privaudit.images import Images
from privaudit.judgement import judge
from privaudit.policy import load_policy
from privaudit.release import Release
from privaudit.reporting import write_share
from privaudit.runs import drawn
from privaudit.store import Store

FULL = {"members": 30_000, "controls": 10_000, "release": 10_000}
BASE = {"members": 6_000, "controls": 4_000, "release": 3_000}
ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}


class PeakMemory:
    """Largest sum of the private memory of this process and its children, sampled ten times a second (Linux)."""

    def __init__(self) -> None:
        self.peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, sum(map(self._private, self._processes())))

    @staticmethod
    def _processes() -> list[int]:
        mine = [os.getpid()]
        for task in Path(f"/proc/{os.getpid()}/task").iterdir():
            try:
                mine += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
        return mine

    @staticmethod
    def _private(process: int) -> int:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except OSError:
            return 0
        # Proportional set size: memory maps that several processes share are counted once.
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def measure(sizes: dict[str, int], workers: int) -> dict[str, Any]:
    """One audit of these sizes."""
    data = shared_data.load("cifar10")
    rng = seeds.generator(1, "scale")
    members, controls = shared_data.deal(data, [sizes["members"], sizes["controls"]], rng)
    pairs = rng.integers(0, len(data), (sizes["release"], 2))
    mean = (data.images.pixels[pairs[:, 0]].astype(np.uint16) + data.images.pixels[pairs[:, 1]] + 1) // 2
    images = Images(mean.astype(np.uint8), data.images.labels[pairs[:, 0]])
    del data, mean
    candidate = Candidate("averages", Release(images), replace(members, images=images, names=()))
    policy, stages = load_policy("default"), list[tuple[str, float]]()
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        started = last = time.perf_counter()

        def announce(what: str, done: int, total: int) -> None:
            nonlocal last
            now = time.perf_counter()
            stages.append((what, round(now - last, 1)))
            last = now
            print(f"{now - started:7.1f} {what}", flush=True)

        most = max(sizes.values())
        plan = Plan(members, [candidate], ATTACKS, controls, seed=1, max_suspects=most, workers=workers)
        evidence = collect(plan, policy, Store(Path(folder) / "store"), announce)
        collected = time.perf_counter()
        record = judge(evidence, policy)
        judged = time.perf_counter()
        write_share(record, drawn(evidence), Path(folder) / "share")
        ended = time.perf_counter()
    return {
        "sizes": sizes,
        "workers": workers,
        "seconds": round(ended - started, 1),
        "before_attacks": round(sum(seconds for what, seconds in stages[:3]), 1),
        "attack_core_seconds": {attack.name: attack.seconds for attack in record.releases[0].attacks},
        "judging": round(judged - collected, 1),
        "report": round(ended - judged, 1),
        "peak_memory_gib": round(memory.peak / 2**30, 2),
        "verdict": record.verdict,
        "announced": stages,
    }


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=("full", "growth"), required=True)
    options = parser.parse_args()
    if options.part == "full":
        results: Any = measure(FULL, cores())
    else:
        results = {"base": measure(BASE, 1)}
        for name, count in BASE.items():
            results[f"{name} doubled"] = measure(BASE | {name: 2 * count}, 1)
    print(
        write_result(
            f"scale_{options.part}",
            {"results": results},
            seeds=[1],
            command=f"python -m benchmarks.scale --part {options.part}",
        )
    )


if __name__ == "__main__":
    main()
