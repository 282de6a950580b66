"""Every engine, killed with all its workers at random moments, goes on and makes the same release byte by byte."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from processes import run, start
from test_faults import processes_of_group
from test_synthesize_command import content

from privaudit.plugins import SYNTHESIZERS, installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

ENGINES = sorted(name for name, one in installed(SYNTHESIZERS).items() if one.dist and one.dist.name == "privaudit")
LONG = {
    "bn-matching": ("teacher.network=convnet", "teacher.epochs=2", "images_per_class=40", "steps=150", "batch_size=5"),
    "dp-bn-matching": (
        *("epsilon=8", "delta=1e-4", "sampling_rate=1", "teacher_steps=4", "images_per_class=40", "steps=60"),
        *("batch_size=10", "noise=seeded"),
    ),
    "privimage": (
        *("public=digits", "epsilon=8", "delta=1e-4", "classifier.network=convnet", "classifier.epochs=1"),
        *("pretraining_images=12000", "steps=12", "images_per_class=40", "batch_size=10", "noise=seeded"),
    ),
    "spinml": (
        *("public=digits", "foreground=L1", "background=L2", "pretraining_images=3000", "edges_images=3000"),
        *("fine_tuning_steps=60", "images_per_class=40", "batch_size=10"),
    ),
}
"""Settings with which an engine takes seconds and makes several parts."""


def members(folder: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2000, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "members.npz", images=pixels, labels=np.arange(2000) % 4)


def made(engine: str, out: str, *further: str) -> tuple[str, ...]:
    chosen = [word for setting in LONG.get(engine, ()) for word in ("--set", setting)]
    return ("synthesize", engine, "--members", "members.npz", *chosen, "--workers", "2", "--out", out, *further)


def killed(folder: Path, command: tuple[str, ...], out: str, whole: float) -> int:
    """How often it was killed before it was done."""
    rng, times = random.Random(time.time_ns()), 0  # new moments every time; printed, so that a failure can be looked at
    for part in range(4):
        delay = whole * (part + rng.random()) / 4
        print(f"killed after {delay:.2f} of {whole:.2f} s")
        with start(folder, *command) as process:
            time.sleep(delay)
            if processes_of_group(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
                times += 1
        if (folder / out).exists():
            break  # it was quicker this time
    return times


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_random_moments(engine: str, tmp_path: Path) -> None:
    members(tmp_path)
    begun = time.monotonic()
    plain = run(tmp_path, *made(engine, "plain", "--store", "new"))
    assert plain.returncode == 0, plain.stderr
    assert killed(tmp_path, made(engine, "out"), "out", time.monotonic() - begun) > 0
    if not (tmp_path / "out").exists():
        done = run(tmp_path, *made(engine, "out"))
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(tmp_path / "plain")


def test_secret_noise_is_not_drawn_again(tmp_path: Path) -> None:
    """Of two releases with noises of their own, whoever holds both learns more than was counted."""
    members(tmp_path)
    command = tuple("noise=secret" if word == "noise=seeded" else word for word in made("dp-bn-matching", "out"))
    assert killed(tmp_path, command, "out", 12.0) > 0
    if not (tmp_path / "out").exists():
        assert run(tmp_path, *command).returncode == 0
    again = tuple("again" if word == "out" else word for word in command)
    assert run(tmp_path, *again).returncode == 0
    first, second = (content(tmp_path / name) for name in ("out", "again"))
    assert first == second
    assert json.loads(first["release.json"])["claim"]["epsilon"] <= 8
