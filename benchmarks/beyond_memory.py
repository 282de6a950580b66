"""An audit of more pixels than memory: does it end, with what the system allows it, and what does it use?

16,000 members, 10,000 controls and 2,000 released images of 224 x 224 pixels in colour (CIFAR-10, enlarged): 3.9 GiB of
pixels. `privaudit run` with two attacks, `quick`, one worker, 400 suspects of each side and the policy `demo`, in a
control group that allows all its processes and their files together 2.5 GiB. Linux with control groups of version 1, as
root.

    python -m benchmarks.beyond_memory --folder FOLDER      some 10 GiB on a disk
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.recording import write_result
from benchmarks.shared_data import load

COUNTS = {"members": 16_000, "controls": 10_000, "release": 2_000}
SIDE, SHARD = 224, 2_000
LIMIT = 5 * 2**29
CONFIGURATION = """
schema: 1
data: {members: members, controls: controls}
candidates: [{name: candidate, release: release}]
attacks: {nearest-copy: {}, density-ratio: {}}
effort: quick
skip: [utility, similarity]
policy: demo
max_suspects: 400
"""
GROUP = Path("/sys/fs/cgroup/memory/privaudit-benchmark")


def prepare(folder: Path) -> None:
    """The data as shards, where they are not there yet."""
    data = load("cifar10")
    order, start = np.random.default_rng(0).permutation(len(data)), 0
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(0, count, SHARD):
            path = folder / name / f"{number // SHARD:03}.npz"
            rows = order[start + number : start + min(number + SHARD, count)]
            if not path.exists():
                images = [np.asarray(Image.fromarray(data.images.pixels[row]).resize((SIDE, SIDE))) for row in rows]
                labels = data.images.labels[rows]
                np.savez(path, images=np.stack(images), labels=labels, class_names=np.array(data.class_names))
        start += count
    (folder / "audit.yaml").write_text(CONFIGURATION)


def within(limit: int, command: list[str], folder: Path) -> tuple[int, float, dict[str, float]]:
    """Exit status and seconds of a command that has so much memory, and what it used at most in GiB."""
    GROUP.mkdir(exist_ok=True)
    (GROUP / "memory.limit_in_bytes").write_text(str(limit))
    (GROUP / "memory.max_usage_in_bytes").write_text("0")

    def enter() -> None:
        (GROUP / "cgroup.procs").write_text(str(os.getpid()))

    started, anonymous = time.monotonic(), 0
    with subprocess.Popen(command, cwd=folder, preexec_fn=enter) as process:
        while process.poll() is None:
            time.sleep(0.2)
            told = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
            anonymous = max(anonymous, int(told["rss"]))
    most = int((GROUP / "memory.max_usage_in_bytes").read_text())
    used = {"processes": round(anonymous / 2**30, 2), "with files": round(most / 2**30, 2)}
    return process.returncode, round(time.monotonic() - started, 1), used


def main() -> None:
    """Make the data, audit them, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    prepare(options.folder)
    program = [sys.executable, "-m", "privaudit", "run", "audit.yaml", "--out", "out", "--store", "store"]
    code, seconds, used = within(LIMIT, [*program, "--workers", "1"], options.folder)
    audit = json.loads((options.folder / "out/share/audit.json").read_text())
    results = {
        "images": COUNTS,
        "gib_of_pixels": round(sum(COUNTS.values()) * SIDE**2 * 3 / 2**30, 2),
        "limit_gib": LIMIT / 2**30,
        "most_gib": used,
        "seconds": seconds,
        "exit_status": code,
        "verdict": audit["verdict"],
    }
    print(results)
    print(
        write_result("beyond_memory", results, seeds=[0], command="python -m benchmarks.beyond_memory --folder FOLDER")
    )


if __name__ == "__main__":
    main()
