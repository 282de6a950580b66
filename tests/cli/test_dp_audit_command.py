"""`privaudit dp-audit`: an engine's claim tested in a process of its own, and what is refused before work begins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from processes import run

SETTINGS = {"epsilon": 10.0, "delta": 1e-5, "divisor": 3.0, "teacher_steps": 4, "sampling_rate": 1.0}


def test_the_command_line(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "members.npz", images=pixels, labels=np.arange(12) % 2)
    chosen = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    words = [
        "dp-audit",
        "dp-bn-matching",
        "--members",
        "members.npz",
        *chosen,
        "--canaries",
        "400",
        "--effort",
        "quick",
    ]
    done = run(tmp_path, *words, "--out", "found")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("NOT REFUTED: epsilon 10 at delta 1e-05, at 95 % for all parts together.\n")
    assert "A claim that is not refuted is not proved" in done.stdout
    found = json.loads((tmp_path / "found/dp-audit.json").read_text())
    assert [stage["name"] for stage in found["stages"]] == ["teacher", "statistics"]
    assert len(found["stages"][0]["scores"]) == 400
    assert found["refuted"] is False
    again = run(tmp_path, *words, "--out", "again", "--json")
    assert json.loads(again.stdout)["stages"] == found["stages"]
    refused = run(tmp_path, "dp-audit", "noise", "--members", "members.npz")
    assert refused.returncode == 2
    assert "cannot be audited from within" in refused.stderr
