"""Cost of a whole audit: seconds per stage, peak memory, and how both grow with members, controls and release.

    python -m benchmarks.scale --part full      30,000 members, 10,000 controls, 10,000 released images
    python -m benchmarks.scale --part growth    a base size, and each of the three numbers doubled

The release consists of averages of pairs of members' strangers, so that CIFAR-10 has enough images.
"""

from __future__ import annotations

import argparse
import json
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
STAGES = {"looking for near-duplicates": "near-duplicates", "trying to tell": "blind baseline"}
"""By how they are announced."""

ATTACKS: dict[str, dict[str, Any]] = {"nearest-copy": {}, "density-ratio": {}}


class PeakMemory:
    """Largest sum of the private memory of this process and its children, sampled ten times a second (Linux)."""

    def __init__(self) -> None:
        self._peak = 0
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
            self._peak = max(self._peak, self._used())

    def taken(self) -> int:
        """The peak since this was asked last, in bytes."""
        peak, self._peak = max(self._peak, self._used()), 0
        return peak

    def _used(self) -> int:
        return sum(map(self._private, self._processes()))

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


class Stages:
    """Seconds, and peak memory in GiB, of stages that follow each other; some come back."""

    def __init__(self, memory: PeakMemory) -> None:
        self._memory, self._now, self._since = memory, "reading", time.perf_counter()
        self._found: dict[str, tuple[float, int]] = {}

    def begin(self, stage: str) -> None:
        """The stage before is over."""
        now, peak = time.perf_counter(), self._memory.taken()
        seconds, highest = self._found.get(self._now, (0.0, 0))
        self._found[self._now] = seconds + now - self._since, max(highest, peak)
        self._now, self._since = stage, now

    def table(self) -> dict[str, tuple[float, float]]:
        """Of the stages that are over."""
        return {stage: (round(seconds, 1), round(peak / 2**30, 2)) for stage, (seconds, peak) in self._found.items()}


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
    policy = load_policy("default")
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        stages = Stages(memory)
        started = time.perf_counter()

        def announce(what: str, done: int, total: int) -> None:
            stages.begin(next((stage for start, stage in STAGES.items() if what.startswith(start)), "attacks"))
            print(f"{time.perf_counter() - started:7.1f} {what}", flush=True)

        most = max(sizes.values())
        plan = Plan(members, [candidate], ATTACKS, controls, seed=1, max_suspects=most, workers=workers)
        evidence = collect(plan, policy, Store(Path(folder) / "store"), announce)
        stages.begin("judging")
        record = judge(evidence, policy)
        stages.begin("report")
        write_share(record, drawn(evidence), Path(folder) / "share")
        stages.begin("the end")
        ended = time.perf_counter()
    return {
        "sizes": sizes,
        "workers": workers,
        "seconds": round(ended - started, 1),
        "stages": stages.table(),
        "attack_core_seconds": {attack.name: attack.seconds for attack in record.releases[0].attacks},
        "peak_memory_gib": max(peak for _, peak in stages.table().values()),
        "verdict": record.verdict,
    }


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=("full", "growth"), required=True)
    parser.add_argument("--before", type=Path, help="result file of an older commit, to be kept beside")
    options = parser.parse_args()
    if options.part == "full":
        results: Any = measure(FULL, cores())
        if options.before is not None:
            older = json.loads(options.before.read_text())
            results = {"before": older["results"]["results"] | {"commit": older["commit"]}, "after": results}
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
