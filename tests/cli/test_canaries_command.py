"""`privaudit canaries`: an engine of a third party in a process of its own, and what is refused before work begins."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from canary_examples import install
from processes import assert_refused, run, write_images, write_small_audit

PLACES = ("canaries", "publisher", "--members", "members.npz", "--attacks", "nearest-copy", "--effort", "quick")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, subprocess.CompletedProcess[str]]:
    """An engine that publishes its members and claims to keep epsilon 0.5."""
    folder = tmp_path_factory.mktemp("canaries")
    write_small_audit(folder)
    path = install(folder / "plugin")
    arguments = ("--set", "claims=0.5", "--canaries", "45", "--kinds", "plain,mislabelled", "--workers", "0")
    return folder, path, run(folder, *PLACES, *arguments, "--out", "a b/found", extra={"PYTHONPATH": path})


def test_a_leak_is_told(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    _, _, done = finished
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("canaries: 45 of 50 members (23 plain, 22 mislabelled); by their coins ")
    words = [line.split() for line in lines]
    assert ["nearest-copy"] in words
    rows = {line.split("  ")[1]: line for line in lines if line.startswith("  ")}
    assert set(rows) == {"all kinds", "plain", "mislabelled"}
    assert "24 of 24" in rows["all kinds"]
    text = " ".join(done.stdout.split())
    assert "EPSILON IS AT LEAST 1." in text
    assert "for all 3 rows together" in text
    assert "This is contradicted: with that delta epsilon is at least 1." in text
    assert "A low bound is no proof of safety." in text
    assert "'if Gaussian' is no bound unless" in text
    assert lines[-1].startswith(f"written: {Path('a b/found/canaries.json')}; the images are not kept")


def test_what_is_written(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    """One file, without pictures; nothing of the release that was made of spoilt images."""
    folder, _, _ = finished
    assert [path.name for path in (folder / "a b/found").rglob("*")] == ["canaries.json"]
    found = json.loads((folder / "a b/found/canaries.json").read_text())
    assert found["command"].startswith("privaudit canaries publisher --members members.npz ")
    assert found["command"].endswith("--out 'a b/found'")
    assert found["engine"] == {
        "name": "publisher",
        "version": 1,
        "settings": {"made": "members", "claims": 0.5, "unit": "image", "soft_labels": False},
    }
    assert {"numpy", "torch", "privaudit"} <= set(found["versions"])
    assert len(found["canaries"]) == len(found["scores"]["nearest-copy"]) == 45
    assert found["bounds"][0]["correct"] == 24
    assert found["claim_answer"]["answer"] == "contradicted"
    coins = [one["in"] for one in found["canaries"]]
    assert found["bounds"][0]["inside"] == sum(coins)


def test_again_from_the_store(finished: tuple[Path, str, subprocess.CompletedProcess[str]]) -> None:
    """The same numbers, and nothing is done twice; with --json nothing else is printed."""
    folder, path, _ = finished
    before = sorted((folder / ".privaudit/entries").rglob("*.json"))
    arguments = [*PLACES, "--set", "claims=0.5", "--canaries", "45", "--kinds", "plain,mislabelled", "--workers", "0"]
    again = run(folder, *arguments, "--out", "again", "--json", "--quiet", extra={"PYTHONPATH": path})
    assert (again.returncode, again.stderr) == (0, "")
    found, first = json.loads(again.stdout), json.loads((folder / "a b/found/canaries.json").read_text())
    assert found["bounds"] == first["bounds"]
    assert found["canaries"] == first["canaries"]
    assert sorted((folder / ".privaudit/entries").rglob("*.json")) == before


HERE = "bn-matching --members members.npz --out out"
COMMANDS: dict[str, tuple[str, str]] = {
    "no members": ("bn-matching --out out", "Name the private images with --members"),
    "out among the members": ("bn-matching --members folder --out folder/new", "lies in the folder of the members"),
    "demo with data": (f"{HERE} --demo", "--demo brings its own data"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    write_small_audit(folder)
    write_images(folder / "folder")
    return folder


@pytest.mark.parametrize("case", COMMANDS)
def test_refused(place: Path, case: str) -> None:
    words, said = COMMANDS[case]
    assert_refused(place, said, "canaries", *words.split())
