"""`privaudit run --from-manifest`: a finished run repeated elsewhere, and every difference told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from processes import AUDIT, assert_one_sentence, run, write_small_audit


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and a finished run, `run`."""
    folder = tmp_path_factory.mktemp("finished")
    write_small_audit(folder)
    done = run(folder, *AUDIT, "--out", "run", "--seed", "3")
    assert done.returncode in (0, 1, 4), done.stderr
    return folder


def test_the_same_again_elsewhere(finished: Path, tmp_path: Path) -> None:
    """Another folder and a new store; the policy file is gone, for the manifest holds it."""
    for path in finished.glob("*.npz"):
        shutil.copy(path, tmp_path)
    shutil.copy(finished / "run/private/manifest.json", tmp_path)
    done = run(tmp_path, "run", "--from-manifest", "manifest.json", "--out", "again", "--workers", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REPRODUCED: the record and " in done.stdout
    assert "not the same" not in done.stdout
    assert (tmp_path / "again/private/differences.txt").read_text() == ""
    first, second = (
        json.loads((folder / "private/manifest.json").read_text()) for folder in (finished / "run", tmp_path / "again")
    )
    assert first["results"] == second["results"]
    assert len(first["results"]["hashes"]) > 10


def test_every_difference_is_told(finished: Path, tmp_path: Path) -> None:
    for path in finished.glob("*.npz"):
        shutil.copy(path, tmp_path)
    manifest = json.loads((finished / "run/private/manifest.json").read_text())
    manifest["surroundings"]["versions"]["torch"] = "1.0"
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with np.load(tmp_path / "release.npz") as arrays:
        held = dict(arrays)
    held["images"][0] ^= 255
    np.savez(tmp_path / "release.npz", **held)
    done = run(tmp_path, "run", "--from-manifest", "manifest.json", "--out", "again", "--workers", "1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not the same surroundings: versions.torch: 1.0 before" in done.stdout
    assert "not the same surroundings: plan.releases.candidate" in done.stdout
    assert "NOT REPRODUCED" in done.stdout
    told = (tmp_path / "again/private/differences.txt").read_text()
    assert "hashes.images of candidate: " in told
    assert "nearest-copy on candidate, release members" in told


def test_what_would_change_the_run_is_refused(finished: Path) -> None:
    for words in (["--seed", "1"], ["--demo"], ["audit.yaml"], ["--attacks", "nearest-copy"]):
        done = run(finished, "run", "--from-manifest", "run", *words, "--out", "other")
        assert done.returncode == 2
        assert "--from-manifest" in assert_one_sentence(done)
