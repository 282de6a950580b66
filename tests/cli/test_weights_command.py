"""`privaudit weights` as a user meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from processes import assert_one_sentence, run

from privaudit.weights import KNOWN

NAME = "squeezenet1_1-features"


def write_weights(folder: Path) -> None:
    """weights.safetensors: random numbers in the shapes of a backbone."""
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape).astype(np.float32) for name, shape in KNOWN[NAME].items()}
    safetensors.numpy.save_file(tensors, folder / "weights.safetensors")


def test_add_and_list(tmp_path: Path) -> None:
    write_weights(tmp_path)
    before = run(tmp_path, "weights", "list", "--weights", "store")
    assert before.returncode == 0
    assert before.stderr == ""
    assert before.stdout.count("not added") == len(KNOWN)
    assert not (tmp_path / "store").exists()
    added = run(tmp_path, "weights", "add", "weights.safetensors", "--weights", "store")
    assert added.returncode == 0
    assert added.stderr == ""
    assert f"added: {NAME} (722,496 parameters) to store" in added.stdout
    sha256 = added.stdout.split("sha256: ")[1].strip()
    listed = run(tmp_path, "weights", "list", extra={"PRIVAUDIT_WEIGHTS": "store"})
    assert listed.returncode == 0
    assert f"{NAME}   722,496 parameters, sha256 {sha256}" in listed.stdout
    assert listed.stdout.count("not added") == len(KNOWN) - 1


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    write_weights(tmp_path)
    run(tmp_path, "weights", "add", "weights.safetensors", "--weights", "store")
    (tmp_path / "store" / f"{NAME}.safetensors").write_bytes(b"cut")
    done = run(tmp_path, "weights", "list", "--weights", "store")
    assert done.returncode == 2
    assert f"{NAME}   damaged" in done.stdout
    assert "damaged: their hash" in assert_one_sentence(done)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("missing.pth", None, "cannot be read"),
        ("notes.txt", b"no weights at all", "neither a safetensors file nor"),
        ("cut.pth", b"PK\x03\x04 and no more than that", "damaged"),
        ("cut.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00{", "not a whole safetensors file"),
    ],
)
def test_bad_files_are_sentences(tmp_path: Path, file: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / file).write_bytes(content)
    done = run(tmp_path, "weights", "add", file, "--weights", "store")
    assert done.returncode == 2
    assert message in assert_one_sentence(done)
    assert done.stdout == ""


def test_help(tmp_path: Path) -> None:
    listing = run(tmp_path, "--help")
    line = next(line for line in listing.stdout.splitlines() if line.split()[:1] == ["weights"])
    assert line.endswith("."), "cut off"
    for arguments in (("--help",), ("-h",), ("add", "--help"), ("list", "-h")):
        done = run(tmp_path, "weights", *arguments)
        assert done.returncode == 0
        assert done.stderr == ""
        for jargon in ("<str>", "TEXT"):
            assert jargon not in done.stdout
    alone = run(tmp_path, "weights")
    assert alone.returncode == 2
    assert "Usage: " in alone.stdout + alone.stderr


def test_the_command_loads_nothing_heavy_before_it_runs() -> None:
    program = (
        "import sys, privaudit.cli\n"
        "print(*(name for name in ('torch', 'numpy', 'safetensors', 'privaudit.weights') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
