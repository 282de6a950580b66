"""The command line as a user meets it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SMALL_POLICY = """
schema: 2
name: small
required_attacks: [nearest-copy]
rules:
  - {id: identical-copies, metric: identical_copies, at_most: 0, severity: fail, reason: proof}
  - {id: file-traces, metric: file_traces, at_most: 0, severity: fail, reason: links}
  - {id: exposed-share, metric: tpr_at_1pct_fpr, side: upper, at_most: 0.5, minimum_n: 20, severity: fail, reason: test}
  - {id: left-out, metric: left_out_share, at_most: 0.1, severity: inconclusive, reason: test}
"""

AUDIT = (
    *("audit", "--members", "members.npz", "--controls", "controls.npz", "--release", "release.npz"),
    *("--policy", "small.yaml", "--effort", "quick", "--skip", "utility,similarity"),
    *("--attacks", "nearest-copy,density-ratio"),
)
"""An audit of what `write_small_audit` writes; without what takes longer than the attacks that hold the release."""


def cost(start: Callable[[], object]) -> float:
    """Processor seconds of what a call starts and waits for, the least of three; wall time tells of the neighbours."""

    def once() -> float:
        before = os.times()
        start()
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return min(once() for _ in range(3))


def environment(folder: Path) -> dict[str, str]:
    """That of the tests, without what would change the output; with a home and a user that can be searched for."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PRIVAUDIT_", "COV_"))}
    return kept | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "100", "XDG_CACHE_HOME": str(folder / "cache")}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "privaudit", *arguments]


def run(
    folder: Path, *arguments: str, seconds: float = 240, extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run privaudit in a folder to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(folder) | (extra or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start privaudit in a folder, as the leader of a process group of its own; stderr is to be read."""
    return subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def write_images(
    folder: Path, count: int = 2, classes: Sequence[str] = ("a", "b"), seed: int = 0, side: int = 8
) -> Path:
    """A folder of class folders with `count` random grey PNGs each."""
    rng = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (side, side), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def write_small_audit(folder: Path, seed: int = 0) -> None:
    """members.npz, controls.npz, release.npz and small.yaml: an audit with attacks that takes a second of work."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 230, (240, 4, 4))
    pixels = np.clip(coarse.repeat(3, 1).repeat(3, 2) + rng.normal(0, 15, (240, 12, 12)), 0, 255).astype(np.uint8)
    labels = np.arange(len(pixels)) % 2
    parts = {"members": slice(0, 50), "controls": slice(50, 200), "release": slice(200, 240)}
    for name, rows in parts.items():
        np.savez(folder / f"{name}.npz", images=pixels[rows], labels=labels[rows])
    (folder / "small.yaml").write_text(SMALL_POLICY)


def assert_one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The only `error:` message on stderr, which ends it; notes and progress may stand before it."""
    assert "Traceback" not in done.stderr, done.stderr
    assert "Warning" not in done.stderr.replace("Warning: ", ""), done.stderr
    before, found, message = done.stderr.partition("error: ")
    assert found, done.stderr + done.stdout
    assert before == "" or before.endswith("\n")
    assert "error: " not in message
    assert message.rstrip().endswith((".", "?", "--demo", "--example", "plugins")), message
    assert len(message.splitlines()) == 1 or "\n  - " in message, message
    return message


def assert_refused(folder: Path, said: str, *arguments: str) -> None:
    """A command that stops with one sentence, in which this is said, prints nothing else and makes no folder 'out'."""
    done = run(folder, *arguments, "--workers", "0")
    assert done.returncode == 2, done.stderr
    assert said in assert_one_sentence(done)
    assert done.stdout == ""
    assert not (folder / "out").exists()
