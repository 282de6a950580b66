"""`privaudit synthesize`: only a candidate, whatever happens on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from processes import assert_one_sentence, assert_refused, environment, run, write_images, write_small_audit
from test_faults import started, wait_until_gone

TINY = (
    *("--set", "teacher.network=convnet", "--set", "teacher.epochs=2", "--set", "teacher.batch_size=16"),
    *("--set", "steps=5", "--set", "images_per_class=6"),
)
SYNTHESIZE = ("synthesize", "bn-matching", "--members", "members.npz", *TINY)
LONG = (
    "synthesize",
    "bn-matching",
    "--members",
    "members.npz",
    *TINY[:6],
    "--set",
    "steps=150",
    "--set",
    "batch_size=5",
)

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("made")
    write_small_audit(folder)
    return folder, run(folder, *SYNTHESIZE, "--out", "a b/candidate", "--workers", "0")


def test_a_release_folder_and_nothing_else(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = finished
    assert done.returncode == 0, done.stderr
    assert sorted(content(folder / "a b")) == [
        "candidate/DATASHEET.md",
        "candidate/croissant.json",
        *(f"candidate/images/{row // 6:05d}/{row:09d}.png" for row in range(12)),
        "candidate/release.json",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == f"candidate: {Path('a b/candidate')} (12 images, not audited yet)"
    assert lines[1] == "next: privaudit audit --members members.npz --controls ... --release 'a b/candidate'"
    assert len(lines) == 2
    text = (folder / "a b/candidate/release.json").read_text()
    assert str(folder) not in text
    assert "members.npz" not in text


def test_it_can_be_audited(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    sources = ("--members", "members.npz", "--controls", "controls.npz", "--release", "a b/candidate")
    options = ("--policy", "small.yaml", "--effort", "quick", "--skip", "utility", "--workers", "0", "--out", "audit")
    done = run(folder, "audit", *sources, *options, "--attacks", "nearest-copy", "--no-fail")
    assert done.returncode == 0, done.stderr


def test_again_it_takes_all_from_the_store(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = finished
    before = sorted((folder / ".privaudit/entries").rglob("*.json"))
    done = run(folder, *SYNTHESIZE, "--out", "again", "--workers", "0", "--quiet")
    assert done.returncode == 0
    assert done.stderr == ""
    assert content(folder / "again") == content(folder / "a b/candidate")
    assert sorted((folder / ".privaudit/entries").rglob("*.json")) == before


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refused")
    write_small_audit(folder)
    write_images(folder / "folder")
    return folder


HERE = "--members members.npz --out out"
COMMANDS: dict[str, tuple[str, str]] = {
    "unknown engine": (f"bn-matchin {HERE}", "Did you mean 'bn-matching'?"),
    "unknown setting": (f"bn-matching {HERE} --set step=3", "unknown key 'step'. Did you mean 'steps'?"),
    "unknown deep setting": (f"bn-matching {HERE} --set teacher.epoch=3", "Did you mean 'epochs'?"),
    "setting of another type": (f"bn-matching {HERE} --set steps=many", "found 'many'"),
    "setting without a value": (f"bn-matching {HERE} --set steps", "--set needs KEY=VALUE; found 'steps'"),
    "setting without a key": (f"bn-matching {HERE} --set =3", "--set needs KEY=VALUE"),
    "key that ends with a dot": (f"bn-matching {HERE} --set teacher.=3", "--set needs KEY=VALUE"),
    "setting that is no YAML": (f"bn-matching {HERE} --set steps=[", "the value cannot be read"),
    "setting within a number": (f"bn-matching {HERE} --set teacher=3 --set teacher.epochs=3", "was given a value"),
    "setting over its own parts": (f"bn-matching {HERE} --set teacher.epochs=3 --set teacher=3", "were given a value"),
    "missing members": ("bn-matching --members nowhere --out out", "members: 'nowhere' does not exist"),
    "out exists": ("bn-matching --members members.npz --out folder", "exists and is not an empty folder"),
    "out is a file": ("bn-matching --members members.npz --out small.yaml", "exists and is not an empty folder"),
    "out below a file": ("bn-matching --members members.npz --out small.yaml/a", "cannot be written"),
    "out among the members": ("bn-matching --members folder --out folder/new", "lies in the folder of the members"),
    "store within the candidate": (f"bn-matching {HERE} --store out/store", "meant to be passed on"),
    "store below a file": (f"bn-matching {HERE} --store small.yaml/s", "store folder"),
    "no such network": (f"bn-matching {HERE} --set teacher.network=convnot", "convnot"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_refused(place: Path, case: str) -> None:
    words, said = COMMANDS[case]
    assert_refused(place, said, "synthesize", *words.split())


def test_a_batch_that_does_not_fit(place: Path) -> None:
    large = ("--set", "images_per_class=100000000", "--set", "batch_size=100000000")
    done = run(place, *SYNTHESIZE, *large, "--out", "out", "--workers", "1", "--store", "store of large")
    assert done.returncode == 2, done.stderr
    found = re.search(r"The largest batch_size that fits is (\d+)\.", assert_one_sentence(done))
    assert found is not None
    assert 100 < int(found[1]) < 10**8
    assert not (place / "out").exists()


@linux
@pytest.mark.slow
def test_ctrl_c_and_on(tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    with started(tmp_path, *LONG, "--out", "out", "--workers", "2", until="1 of ") as process:
        os.killpg(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130, rest
        assert rest.splitlines()[-1] == "interrupted. What was finished is kept; start the same command again to go on."
        assert "Traceback" not in rest
        wait_until_gone(process.pid, 10)
    assert not (tmp_path / "out").exists()
    assert run(tmp_path, *LONG, "--out", "out", "--workers", "0").returncode == 0
    assert run(tmp_path, *LONG, "--out", "plain", "--store", "new", "--workers", "0").returncode == 0
    assert content(tmp_path / "out") == content(tmp_path / "plain")


@pytest.mark.slow
def test_full_disk(finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a small disk")
    try:
        arguments = (*SYNTHESIZE, "--out", "small/out", "--store", "small/store", "--workers", "0")
        done = run(tmp_path, *arguments)
        assert done.returncode == 3, done.stderr
        assert "disk is full" in assert_one_sentence(done)
        assert not (small / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        done = run(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert content(small / "out") == content(finished[0] / "a b/candidate")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_an_engine_that_breaks_and_is_mended(tmp_path: Path) -> None:
    """A third party's, found through its entry point; its traceback is shown to those who ask for it."""
    tests = Path(__file__).parents[1]
    code = f"import sys; sys.path.insert(0, {str(tests)!r}); import engine_examples, pathlib; "
    code += "print(engine_examples.install(pathlib.Path('installed').absolute()))"
    path = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(tmp_path),
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout.strip()
    write_small_audit(tmp_path)
    (tmp_path / "broken").write_text("crash no more ideas")
    toy = ("synthesize", "toy", "--members", "members.npz", "--set", "broken=broken", "--out", "out", "--workers", "1")
    for extra in ({}, {"PRIVAUDIT_TRACEBACK": "1"}):
        done = run(tmp_path, *toy, extra={"PYTHONPATH": path} | extra)
        assert done.returncode == 3
        said = "error: The synthesizer 'toy' failed: RuntimeError: no more ideas. Finished parts are kept; start the "
        assert done.stderr.splitlines()[-1] == f"{said}same command again to go on."
        assert ("engine_examples.py" in done.stderr) == bool(extra)
    assert not (tmp_path / "out").exists()
    (tmp_path / "broken").unlink()
    done = run(tmp_path, *toy, "--set", "each=5", extra={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert np.sum([name.endswith(".png") for name in content(tmp_path / "out")]) == 10
