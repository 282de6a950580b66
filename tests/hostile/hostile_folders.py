"""Folders with links, pipes, devices, archives and names that nobody should have to read."""

from __future__ import annotations

import gzip
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile_cases import (
    CANARY,
    MIB,
    PIXELS,
    Build,
    Case,
    dataset_with,
    encoded,
    file_of,
    good_dataset,
    noted,
    npz,
    same,
    zipped,
)

Change = Callable[[Path], object]


def _outside(root: Path) -> Path:
    """A picture beside the dataset."""
    path = root.parent / "secret.png"
    path.write_bytes(encoded("png"))
    return path


def _socket(path: Path) -> None:
    """Bound by its name alone, for a path can be longer than a socket's may be."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(before)


def _circle(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")


def _only_a_pipe(root: Path) -> None:
    for folder in list(root.iterdir()):
        folder.rename(root.parent / folder.name)
    os.mkfifo(root / "x.npz")


def _nested(root: Path) -> None:
    """Three hundred folders, one in the other."""
    before = Path.cwd()
    os.chdir(root / "cat")
    try:
        for _ in range(300):
            os.mkdir("in")
            os.chdir("in")
    finally:
        os.chdir(before)


def _picture(root: Path, name: bytes) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/cat/" + name)).write_bytes(encoded("png"))


def _named(name: bytes) -> Change:
    return lambda root: _picture(root, name)


def _folder_named(name: bytes) -> Change:
    def change(root: Path) -> None:
        os.rename(root / "cat", os.path.join(os.fsencode(root), name))

    return change


def _groups(content: bytes) -> Change:
    return lambda root: (root / "groups.csv").write_bytes(content)


LINKS: dict[str, Change] = {
    "a link to a picture outside": lambda root: (root / "cat/x.png").symlink_to(_outside(root)),
    "a link to /etc/passwd": lambda root: (root / "cat/x.png").symlink_to("/etc/passwd"),
    "a link to /dev/zero": lambda root: (root / "cat/x.png").symlink_to("/dev/zero"),
    "a link to /dev/stdin": lambda root: (root / "cat/x.png").symlink_to("/dev/stdin"),
    "a link to itself": lambda root: (root / "cat/x.png").symlink_to("x.png"),
    "a link to nothing": lambda root: (root / "cat/x.png").symlink_to("nothing"),
    "a text that is a link to /dev/zero": lambda root: (root / "cat/x.txt").symlink_to("/dev/zero"),
    "a class folder that is a link to the folder above": lambda root: (root / "bird").symlink_to(".."),
    "a class folder that is a link to its parent": lambda root: (root / "bird").symlink_to("."),
    "two links in a circle": _circle,
    "a pipe": lambda root: os.mkfifo(root / "cat/x.png"),
    "a pipe without a suffix": lambda root: os.mkfifo(root / "cat/x"),
    "a socket": lambda root: _socket(root / "cat/x.png"),
    "a pipe as groups": lambda root: os.mkfifo(root / "groups.csv"),
    "groups that are a link to /dev/zero": lambda root: (root / "groups.csv").symlink_to("/dev/zero"),
    "groups that are a folder": lambda root: (root / "groups.csv").mkdir(),
    "a pipe as the manifest of a release": lambda root: os.mkfifo(root / "release.json"),
    "a manifest that is a link to /dev/zero": lambda root: (root / "release.json").symlink_to("/dev/zero"),
    "a pipe as the only npz": _only_a_pipe,
    "an npz beside class folders": lambda root: (root / "x.npz").write_bytes(npz()),
    "a folder that is named like a picture": lambda root: (root / "cat/x.png").mkdir(),
    "three hundred folders, one in the other": _nested,
    "a gzip beside the pictures": lambda root: (root / "cat/x.gz").write_bytes(gzip.compress(bytes(20 * MIB))),
    "a tar.gz that leads out": lambda root: _tar(root / "cat/x.tar.gz"),
    "a picture without a class": lambda root: (root / "x.png").write_bytes(encoded("png")),
}

GROUPS: dict[str, bytes] = {
    "empty": b"",
    "of other columns": b"a,b\n1,2\n",
    "with NUL": b"file,group\ncat/0.png,p\0q\n",
    "with escapes": b"file,group\ncat/0.png,\x1b[31mred\n",
    "in UTF-16": "file,group\ncat/0.png,p\n".encode("utf-16"),
    "of a field of 1 MB": b'file,group\ncat/0.png,"' + b"x" * 1_000_000 + b'"\n',
    "with an open quotation mark": b'file,group\n"cat/0.png,p\n',
    "of a file outside": b"file,group\n../secret.png,p\n",
    "of a file twice": b"file,group\ncat/0.png,p\ncat/0.png,q\n",
    "of a line with a field too many": b"file,group\ncat/0.png,p,q,r\n",
    "of a line with a field too few": b"file,group\ncat/0.png\n",
    "of 50 million commas": b"file,group\n" + b"," * 50_000_000 + b"\n",
}


def _tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(f"../../{CANARY}"))


def _many_empty(root: Path) -> None:
    for number in range(500):
        (root / f"class-{number}").mkdir()


_MARKUP = "<img src=x onerror=alert(1)>.png"
_HIDDEN = noted("Read as a folder of 1 class folder", "1 hidden or system file left out")

CONVERTED: dict[str, tuple[Change, Callable[[Any], bool]]] = {
    "500 empty class folders": (_many_empty, noted("500 class folders have no images")),
    "names of one spelling": (
        lambda root: (root / "dog").rename(root / "CAT"),
        lambda found: found.class_names == ("CAT", "cat"),
    ),
    "a picture named like markup": (_named(_MARKUP.encode()), lambda found: f"cat/{_MARKUP}" in found.names),
    "a picture named like an option": (_named(b"--rm -rf.png"), lambda found: "cat/--rm -rf.png" in found.names),
    "a picture with a name of 255 bytes": (_named(b"x" * 251 + b".png"), lambda found: len(found) == 3),
    "a class named like a path": (_folder_named(b"..."), _HIDDEN),
    "a class named like a formula": (_folder_named(b"=1+1"), lambda found: "=1+1" in found.class_names),
    "a zip beside the pictures": (
        lambda root: (root / "cat/x.zip").write_bytes(zipped({f"../../{CANARY}": b""})),
        noted("1 file that hold no images left out (1 .zip)"),
    ),
    "a 7z beside the pictures": (
        lambda root: (root / "cat/x.7z").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(99)),
        noted("1 file that hold no images left out (1 .7z)"),
    ),
    "a hidden pipe": (lambda root: os.mkfifo(root / "cat/.pipe"), noted("1 hidden or system file left out")),
    "a link to a picture of its own": (lambda root: (root / "cat/1.png").symlink_to("0.png"), same(PIXELS)),
}

NAMES: dict[str, bytes] = {
    "a line break": b"a\nb",
    "a tab": b"a\tb",
    "escapes": b"\x1b[31mred\x1b[0m",
    "a title for the terminal": b"\x1b]0;owned\x07",
    "letters that run backwards": "\u202egnp".encode(),
    "bytes that are no UTF-8": b"\xff\xfe\x80",
    "a delete character": b"a\x7fb",
    "a zero-width letter": "a\u200bb".encode(),
}


def _path_of(name: bytes) -> Build:
    """A path at which there is nothing."""
    return lambda folder: Path(os.fsdecode(os.fsencode(folder) + b"/" + name))


def _special(path: str) -> Build:
    return lambda folder: Path(path)


def _alone(change: Change) -> Build:
    def build(folder: Path) -> Path:
        root = folder / "data"
        root.mkdir()
        change(root)
        return root

    return build


CASES = (
    *(Case(f"folder, {name}", "dataset", dataset_with(change)) for name, change in LINKS.items()),
    *(Case(f"groups.csv {name}", "dataset", dataset_with(_groups(content))) for name, content in GROUPS.items()),
    *(
        Case(f"a picture named with {name}", "dataset", dataset_with(_named(text + b".png")))
        for name, text in NAMES.items()
    ),
    *(Case(f"a class named with {name}", "dataset", dataset_with(_folder_named(text))) for name, text in NAMES.items()),
    *(
        Case(f"folder, {name}", "dataset", dataset_with(change), "converted", expected)
        for name, (change, expected) in CONVERTED.items()
    ),
    Case("a class with a name of 255 bytes", "dataset", dataset_with(_folder_named(b"x" * 255))),
    Case("an empty folder", "dataset", _alone(lambda root: None)),
    Case("a folder of empty class folders", "dataset", _alone(_many_empty), slow=True),
    Case("a folder in the folder of the classes", "dataset", _alone(lambda root: good_dataset(root / "train"))),
    Case("/dev/zero", "dataset", _special("/dev/zero")),
    Case("/dev/null", "release", _special("/dev/null")),
    Case("a path of 5,000 letters", "dataset", _path_of(b"x" * 5_000)),
    Case("a path with escapes", "dataset", _path_of(b"\x1b[31mred")),
    Case("a path that is no UTF-8", "release", _path_of(b"\xff\xfe")),
    Case("a zip instead of a folder", "dataset", file_of("x.zip", lambda: zipped({"../a": b""}))),
    Case("a 7z instead of a folder", "release", file_of("x.7z", lambda: b"7z\xbc\xaf\x27\x1c" + bytes(99))),
)
