"""Every unusable input, through the command line: exit 2, one message, no traceback, nothing left behind."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from processes import assert_one_sentence, environment, run, write_images

Build = Callable[[Path], object]


def _replace(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _truncated(folder: Path) -> None:
    path = folder / "a" / "0.png"
    path.write_bytes(path.read_bytes()[:-30])


def _deep(folder: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 900).save(folder / "a" / "0.png")


def _link(folder: Path) -> None:
    outside = write_images(folder.parent / "elsewhere") / "a" / "0.png"
    (folder / "a" / "link.png").symlink_to(outside)


def _bomb(folder: Path) -> None:
    """A PNG that declares 50,000 x 50,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")
    (folder / "a" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _empty(folder: Path) -> None:
    for path in [*folder.rglob("*.png")]:
        path.unlink()
    for path in [*folder.iterdir()]:
        path.rmdir()


def _moved_up(folder: Path) -> None:
    (folder / "a" / "0.png").rename(folder / "loose.png")


def _groups(folder: Path) -> None:
    (folder / "groups.csv").write_text("file,group\nc/9.png,p1\n")


FOLDERS: dict[str, tuple[Build, str]] = {
    "truncated": (_truncated, "truncated or damaged"),
    "zero bytes": (lambda folder: _replace(folder / "a" / "0.png", b""), "zero bytes"),
    "no image": (lambda folder: _replace(folder / "a" / "0.png", b"%PDF-1.4 ...."), "not an image"),
    "16 bits": (_deep, "--window"),
    "link out": (_link, "outside the dataset's folder"),
    "bomb": (_bomb, "more than 67,108,864 pixels"),
    "empty folder": (_empty, "no class folders"),
    "image without a class": (_moved_up, "without a class"),
    "DICOM": (lambda folder: _replace(folder / "a" / "x.dcm", b"x"), "format that is not read"),
    "wrong groups": (_groups, "groups.csv line 2"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_images(tmp_path / "good", seed=1)
    return tmp_path


def refused(folder: Path, *arguments: str, message: str) -> str:
    """Run privaudit; it must refuse with this message, and leave nothing behind."""
    before = sorted(path.name for path in folder.iterdir())
    done = run(folder, *arguments)
    assert done.returncode == 2, done.stderr
    said = assert_one_sentence(done)
    assert message in said
    assert done.stdout == ""
    assert sorted(path.name for path in folder.iterdir()) == before
    return said


@pytest.mark.parametrize("case", FOLDERS)
def test_folders(folder: Path, case: str) -> None:
    build, message = FOLDERS[case]
    build(write_images(folder / "bad"))
    said = refused(folder, "audit", "--members", "bad", "--release", "good", message=message)
    assert said.startswith("members: ")


@pytest.mark.parametrize("role", ["controls", "release"])
def test_the_message_says_which_part_is_meant(folder: Path, role: str) -> None:
    _truncated(write_images(folder / "bad"))
    options = {"members": "good", "controls": "good", "release": "good", role: "bad"}
    arguments = [word for option, source in options.items() for word in (f"--{option}", source)]
    if role == "release":
        write_images(folder / "others", seed=3)
        arguments[3] = "others"
    said = refused(folder, "audit", *arguments, message="truncated")
    assert said.startswith(f"{role}: ")


U8 = np.zeros((4, 8, 8), np.uint8)
LABELS = np.array([0, 0, 1, 1])
NAN = np.full((4, 8, 8), np.nan, np.float32)
ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"images": NAN, "labels": LABELS}, "only uint8 is allowed"),
    "wrong dtype": ({"images": U8.astype(np.int32), "labels": LABELS}, "only uint8 is allowed"),
    "objects": ({"images": np.array([U8, None], object), "labels": LABELS}, "object"),
    "object labels": ({"images": U8, "labels": np.array(["a", None, 1, 2], object)}, "object"),
    "shape": ({"images": U8[:, :, 0], "labels": LABELS}, "allowed are"),
    "no labels": ({"images": U8}, "no key 'labels'"),
    "too few labels": ({"images": U8, "labels": LABELS[:3]}, "one class number per image"),
    "float labels": ({"images": U8, "labels": LABELS / 2}, "labels are float64"),
    "negative labels": ({"images": U8, "labels": LABELS - 1}, "allowed are 0 to"),
    "labels beyond names": ({"images": U8, "labels": LABELS, "class_names": np.array(["a"])}, "largest label is 1"),
    "nothing": ({"images": U8[:0], "labels": LABELS[:0]}, "no images"),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(folder: Path, case: str) -> None:
    arrays, message = ARRAYS[case]
    np.savez(folder / "bad.npz", **arrays)
    refused(folder, "audit", "--members", "bad.npz", "--release", "good", message=message)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"text"])
def test_no_archive(folder: Path, content: bytes) -> None:
    (folder / "bad.npz").write_bytes(content)
    refused(folder, "audit", "--members", "bad.npz", "--release", "good", message="Save it again with numpy.savez")


def test_class_mismatch(folder: Path) -> None:
    write_images(folder / "bad", classes=("a", "bb"))
    message = "release: The release has a class that the members do not have: 'bb'."
    refused(folder, "audit", "--members", "good", "--release", "bad", message=message)


def test_label_mismatch(folder: Path) -> None:
    np.savez(folder / "bad.npz", images=U8, labels=LABELS + 3)
    message = "The release uses class numbers up to 4, but the members have 2 classes."
    refused(folder, "audit", "--members", "good", "--release", "bad.npz", message=message)


def test_same_images_for_two_options(folder: Path) -> None:
    write_images(folder / "release", seed=5)
    sources = ("--members", "good", "--controls", "good", "--release", "release")
    refused(folder, "audit", *sources, message="The members and the controls have 4 images in common")


def test_groups_on_one_side_only(folder: Path) -> None:
    """Found late; the folder of the run is then free for another audit."""
    for part, seed in (("controls", 7), ("release", 8)):
        write_images(folder / part, count=12, seed=seed)
    (folder / "good" / "groups.csv").write_text("file,group\na/0.png,p1\na/1.png,p1\n")
    sources = ("--members", "good", "--controls", "controls", "--release", "release", "--workers", "0")
    done = run(folder, "audit", *sources)
    assert done.returncode == 2
    assert "give groups for both, or for neither" in assert_one_sentence(done)
    assert not (folder / "privaudit-report" / "private" / "plan.json").exists()


COMMANDS: dict[str, tuple[str, str]] = {
    "missing folder": ("audit --members nowhere --release good", "'nowhere' does not exist"),
    "unknown torchvision": ("audit --members torchvision:CIFAR11 --release good", "Did you mean 'CIFAR10'?"),
    "torchvision without root": ("audit --members torchvision:CIFAR10 --release good", "local folder"),
    "neither folder nor npz": ("audit --members policy.yaml --release good", "neither a folder nor a .npz"),
    "no release": ("audit --members good", "needs --members and --release"),
    "demo with data": ("audit --demo --members good", "--demo brings its own data"),
    "demo with a claim": ("audit --demo --claim c.yaml", "--demo brings its own data"),
    "teacher of no architecture": ("audit --members good --release good --teacher t", "--teacher needs --architecture"),
    "teacher of unsaid training": (
        "audit --members good --release good --teacher t --architecture mlp",
        "--teacher needs --trained-on: 'members'",
    ),
    "architecture of nothing": ("audit --members good --release good --architecture mlp", "belong to --teacher"),
    "no soft labels": (
        "audit --members good --release good --soft-labels s.npy",
        "soft labels: 's.npy' cannot be read",
    ),
    "no claim": ("audit --members good --release good --claim c.yaml", "claim: 'c.yaml' cannot be read"),
    "claim of a policy": ("audit --members good --release good --claim policy.yaml", "unknown key 'schema'"),
    "nothing public": ("audit --members good --release good --also-released nowhere", "already released: 'nowhere'"),
    "out in what is public": (
        "audit --members x --release y --also-released good --out good/run",
        "lies in the folder of the already released (1)",
    ),
    "unknown attack": ("audit --members good --release good --attacks nearest-copi", "Did you mean 'nearest-copy'?"),
    "no attack": ("audit --members good --release good --attacks ,", "No attack is named"),
    "unknown key": ("audit --members good --release good --policy policy.yaml", "Did you mean 'at_most'?"),
    "policy of schema 1": ("audit --members good --release good --policy old.yaml", "init --policy-from old.yaml"),
    "nothing to write anew": ("init run --policy-from policy.yaml", "is not of schema 1"),
    "nothing to explain": ("explain nearest-copi", "Did you mean 'nearest-copy'?"),
    "no store": ("clean --store nowhere", "There is no store 'nowhere'"),
    "clean data": ("clean --store good --yes", "is no store of this program"),
    "missing policy": ("audit --members good --release good --policy none.yaml", "'none.yaml' does not exist"),
    "no policy": ("audit --members good --release good --policy defualt", "Allowed: default, demo"),
    "policy that is no YAML": ("audit --members good --release good --policy bad.yaml", "not valid YAML"),
    "unusable name": ("audit --members good --release good --name a/b", "The name 'a/b' is not usable"),
    "out is a file": ("audit --members good --release good --out policy.yaml", "is a file"),
    "out holds other files": ("audit --members good --release good --out .", "holds other files"),
    "out in the members": ("audit --members good --release good --out good/run", "lies in the folder of the members"),
    "store in the release": (
        "audit --members x --release good --store good/a/s",
        "lies in the folder of the release 'candidate'",
    ),
    "store in share": ("audit --members good --release good --out o --store o/share/s", "meant to be passed on"),
    "window": ("audit --members good --release good --window 5", "two numbers LOW,HIGH"),
    "window upside down": ("audit --members good --release good --window 9,5", "LOW below HIGH"),
    "check nothing": ("check nowhere", "no run folder 'nowhere'"),
    "check data": ("check good", "no finished run"),
    "check share": ("check run/share", "Give the folder above it: 'run'"),
    "compare nothing": ("compare good nowhere", "no finished run"),
    "report nothing": ("report good", "no finished run"),
    "init nowhere": ("init nowhere", "does not exist"),
    "init again": ("init .", "exists already"),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_command_lines(folder: Path, case: str) -> None:
    rule = "{id: a, metric: images, at_mots: 0.05, severity: fail, reason: none}"
    (folder / "policy.yaml").write_text(f"schema: 2\nname: mine\nrequired_attacks: [a]\nrules: [{rule}]\n")
    (folder / "old.yaml").write_text("schema: 1\nname: mine\ntpr_limit: 0.05\n")
    (folder / "bad.yaml").write_text("a: [1\n")
    (folder / "run" / "share").mkdir(parents=True)
    (folder / "run" / "private").mkdir()
    words, message = COMMANDS[case]
    refused(folder, *words.split(), message=message)


@pytest.mark.parametrize("words", ["foo", "check", "audit --seed -1", "audit --effort huge", "audit --nonsense"])
def test_usage(folder: Path, words: str) -> None:
    done = run(folder, *words.split())
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Usage: " in done.stderr


def test_bad_data_are_met_before_anything_heavy_is_loaded(folder: Path) -> None:
    """The answer must come at once, not after seconds of imports."""
    _truncated(write_images(folder / "bad"))
    program = (
        "import sys\nfrom privaudit.cli import main\n"
        "sys.argv = ['privaudit', 'audit', '--members', 'good', '--release', 'bad']\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    print(leaving.code)\n"
        "print([name for name in ('torch', 'sklearn', 'matplotlib', 'scipy') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["2", "[]"]
