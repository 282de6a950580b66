"""A small run of privaudit in a process group of its own, for benchmarks that disturb it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CONFIGURATION = """
schema: 1
data: {members: members.npz, controls: controls.npz}
candidates: [{name: made, synthesizer: pixelise, settings: {cell: 3}}]
attacks: {nearest-copy: {}, density-ratio: {}}
policy: small.yaml
effort: quick
skip: [utility, similarity]
"""
POLICY = """
schema: 2
name: small
required_attacks: [nearest-copy]
rules:
  - {id: identical-copies, metric: identical_copies, at_most: 0, severity: fail, reason: proof}
  - {id: file-traces, metric: file_traces, at_most: 0, severity: fail, reason: links}
  - {id: left-out, metric: left_out_share, at_most: 0.1, severity: inconclusive, reason: test}
  - {id: exposed-share, metric: tpr_at_1pct_fpr, side: upper, at_most: 0.5, minimum_n: 20, severity: fail, reason: test}
"""
DONE, INTERRUPTED = (0, 1, 4), 130
LONGEST = 300.0
INPUTS = ("members.npz", "controls.npz", "small.yaml")


def prepare(folder: Path) -> None:
    """Data, configuration and limits."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 230, (200, 4, 4)).repeat(3, 1).repeat(3, 2)
    pixels = np.clip(coarse + rng.normal(0, 15, coarse.shape), 0, 255).astype(np.uint8)
    for name, rows in (("members", slice(0, 50)), ("controls", slice(50, 200))):
        np.savez(folder / f"{name}.npz", images=pixels[rows], labels=np.arange(len(pixels[rows])) % 2)
    (folder / "audit.yaml").write_text(CONFIGURATION)
    (folder / "small.yaml").write_text(POLICY)


@dataclass(frozen=True)
class Run:
    """A run in a folder of its own, `place` within it for what it writes."""

    folder: Path
    process: subprocess.Popen[str]

    @property
    def place(self) -> Path:
        return self.folder / "place"

    def files(self, pattern: str) -> list[Path]:
        """Files that the run has written."""
        return sorted(path for path in self.place.glob(pattern) if path.is_file())

    def workers(self) -> list[int]:
        """Processes that it has started."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                    found.append(int(status.parent.name))
        return found


def started(folder: Path, further: Sequence[str] = ()) -> Run:
    """Start the run, as the leader of a process group of its own."""
    places = ("--out", "place/run", "--store", "place/store", "--quiet", *further)
    command = [sys.executable, "-W", "error", "-m", "privaudit", "run", "audit.yaml", *places]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What is started in the background ignores Ctrl-C, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return Run(folder, process)


def ended(run: Run) -> tuple[int, str]:
    """Its exit code and what it said on the way."""
    try:
        said = run.process.communicate(timeout=LONGEST)[1]
    except subprocess.TimeoutExpired:
        os.killpg(run.process.pid, signal.SIGKILL)
        return -99, "it did not end"
    return run.process.returncode, said
