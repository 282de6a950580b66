"""Files of numpy arrays: archives and headers that lie, explode, or would run code."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from hostile_cases import (
    CANARY,
    GREY,
    MIB,
    PIXELS,
    Build,
    Case,
    Content,
    Kind,
    Payload,
    arrays,
    file_of,
    noted,
    npy,
    npy_header,
    npy_of,
    npz,
    pipe_of,
    same,
    zipped,
)


def _objects(folder: Path) -> bytes:
    """An array of objects: a pickle that writes a file."""
    return npy("'|O'", "(2,)", pickle.dumps([Payload(folder.parent / CANARY)] * 2))


def _with_objects(key: str) -> Build:
    def build(folder: Path) -> Path:
        return file_of("x.npz", lambda: npz(**{key: _objects(folder)}))(folder)

    return build


@lru_cache(1)
def _bomb(size: int) -> bytes:
    """An `.npz` whose images are this many zeros."""
    stream = io.BytesIO()
    side = 1024
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("labels.npy", npy_of(np.zeros(size // side**2, np.int64)))
        with archive.open("images.npy", "w", force_zip64=True) as member:
            member.write(npy("'|u1'", f"({size // side**2}, {side}, {side}, 1)"))
            for _ in range(size // MIB):
                member.write(bytes(MIB))
    return stream.getvalue()


def _changed(change: Callable[[bytearray], None], **options: Any) -> Content:
    def content() -> bytes:
        found = bytearray(npz(**options))
        change(found)
        return bytes(found)

    return content


def _flag(content: bytearray) -> None:
    """Declare the first member encrypted, here and in the directory."""
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1


def _sizes(content: bytearray) -> None:
    struct.pack_into("<II", content, content.index(b"PK\1\2") + 20, 2**31, 2**31)


def _flip(content: bytearray) -> None:
    content[content.index(b"\n") + 5] ^= 0xFF


def _method(content: bytearray) -> None:
    content[content.index(b"PK\1\2") + 10] = 99


def _offset(content: bytearray) -> None:
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 42, 2**31)


def _entry(name: str, mode: int, target: bytes) -> bytes:
    """A good `.npz` with one more entry of this mode (a symbolic link, a device)."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, content in arrays().items():
            archive.writestr(member, content)
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, target)
    return stream.getvalue()


def _member(key: str, content: Content) -> Content:
    return lambda: npz(**{key: content()})


ARCHIVES: dict[str, Content] = {
    "empty": lambda: b"",
    "a zip of nothing": lambda: zipped({}),
    "text": lambda: b"images,labels\n1,2\n",
    "half": lambda: npz()[: len(npz()) // 2],
    "the directory cut off": lambda: npz()[:-30],
    "the end record alone": lambda: npz()[-22:],
    "a directory of 65,535 entries that are not there": lambda: b"PK\5\6" + bytes(4) + b"\xff\xff\xff\xff" + bytes(10),
    "encrypted": _changed(_flag),
    "sizes of 2 GiB": _changed(_sizes),
    "a wrong checksum": _changed(_flip),
    "an unknown compression": _changed(_method),
    "an entry behind the end": _changed(_offset),
    "a bomb of 1.1 GiB": lambda: _bomb(1100 * MIB),
    "a key twice": lambda: zipped(arrays()).replace(b"labels.npy", b"images.npy"),
    "paths that lead out": lambda: zipped({f"../../{name}": content for name, content in arrays().items()}),
    "absolute paths": lambda: zipped({f"/{name}": content for name, content in arrays().items()}),
    "a zip in the zip": lambda: zipped({"images.npy": npz(), "labels.npy": npz()}),
    "gzip": lambda: zlib.compress(npz()),
    "keys of escapes": lambda: zipped({"\x1b[2J\x1b]0;x\x07.npy": npy_of(np.zeros(2))}),
    "a key of 60,000 letters": lambda: zipped({"x" * 60_000 + ".npy": npy_of(np.zeros(2))}),
    "5,000 keys": lambda: zipped({f"{number}.npy": npy_of(np.zeros(1)) for number in range(5_000)}),
    "labels are a text": _member("labels", lambda: b"0,1"),
    "labels are an empty member": _member("labels", lambda: b""),
    "labels are a bomb in their header": _member("labels", lambda: npy_header(" " * 100 * MIB, version=2)),
}

_U1 = "'|u1'"
HEADERS: dict[str, Content] = {
    "a terabyte": lambda: npy(_U1, "(1048576, 1024, 1024, 1)"),
    "2^200 images": lambda: npy(_U1, f"({2**200}, 1, 1, 1)"),
    "sizes that overflow to a small number": lambda: npy(_U1, f"({2**32}, {2**32}, 1, 1)"),
    "a negative size": lambda: npy(_U1, "(-2, 10, 12, 3)", PIXELS.tobytes()),
    "a size that is a switch": lambda: npy(_U1, "(True, 10, 12, 3)", PIXELS.tobytes()),
    "a size that is a float": lambda: npy(_U1, "(1.0, 10, 12, 3)", PIXELS.tobytes()),
    "a size that is a text": lambda: npy(_U1, "'1'"),
    "40 dimensions": lambda: npy(_U1, f"({'1, ' * 40})", b"\0"),
    "one value too few": lambda: npy(_U1, "(2, 10, 12, 3)", bytes(719)),
    "one value too many": lambda: npy(_U1, "(2, 10, 12, 3)", bytes(721)),
    "a call": lambda: npy("__import__('os').system('touch canary')", "(2,)"),
    "a comprehension": lambda: npy(_U1, "tuple(open('canary', 'w') for _ in range(2))"),
    "100,000 brackets": lambda: npy_header("(" * 100_000, version=2),
    "9,000 brackets": lambda: npy_header("(" * 9_000),
    "9,000 minus signs": lambda: npy_header("-" * 9_000 + "1"),
    "a number of 9,000 digits": lambda: npy(_U1, f"({'9' * 9_000},)"),
    "4 GiB of header": lambda: b"\x93NUMPY\2\0\xff\xff\xff\xff",
    "no header": lambda: b"\x93NUMPY\1\0",
    "version 9": lambda: npy_header("{}", version=1).replace(b"\1\0", b"\x09\0", 1),
    "a list": lambda: npy_header("[1, 2]"),
    "keys missing": lambda: npy_header("{'descr': '|u1'}"),
    "zeros": lambda: npy_header("\0" * 100),
    "a record type": lambda: npy("[('a', '<f8'), ('b', '|O')]", "(2,)", bytes(32)),
    "a type that refers to itself": lambda: npy("('|u1', (2, 2))", "(2,)", bytes(8)),
    "dates": lambda: npy("'<M8[ns]'", "(2,)", bytes(16)),
    "strings of 4 GiB": lambda: npy("'<U999999'", "(2,)", bytes(16)),
    "raw bytes": lambda: npy("'|V8'", "(2,)", bytes(16)),
    "long doubles": lambda: npy("'<f16'", "(2,)", bytes(32)),
}


def _npz_of(content: Content) -> Content:
    return lambda: npz(images=content())


def _object_file(name: str) -> Build:
    def build(folder: Path) -> Path:
        return file_of(name, lambda: _objects(folder))(folder)

    return build


def _linked(name: str, content: Content) -> Build:
    """A link to a good file."""

    def build(folder: Path) -> Path:
        (folder / "real").write_bytes(content())
        (folder / name).symlink_to(folder / "real")
        return folder / name

    return build


_OTHERS: tuple[tuple[Kind, str], ...] = (("soft_labels", "s.npy"), ("statistics", "s.npz"))

CASES = (
    *(
        Case(f"npz, {name}", "dataset", file_of("x.npz", content), slow="1.1 GiB" in name)
        for name, content in ARCHIVES.items()
    ),
    *(Case(f"npz header, {name}", "dataset", file_of("x.npz", _npz_of(content))) for name, content in HEADERS.items()),
    *(Case(f"npz, objects in {key}", "dataset", _with_objects(key)) for key in ("images", "labels", "class_names")),
    Case("npz, objects in an array that is not read", "dataset", _with_objects("notes")),
    Case("npz, a pipe", "dataset", pipe_of("x.npz")),
    *(
        Case(f"header, {name}", "soft_labels", file_of("s.npy", content), slow=True)  # read as those in a .npz
        for name, content in HEADERS.items()
    ),
    Case("objects", "soft_labels", _object_file("s.npy")),
    Case("a pickle", "soft_labels", file_of("s.npy", lambda: pickle.dumps([0.5, 0.5]))),
    Case("another name", "soft_labels", file_of("s.pkl", lambda: npy_of(np.full((3, 2), 0.5)))),
    Case("a link", "soft_labels", _linked("s.npy", lambda: npy_of(np.full((3, 2), 0.5)))),
    *(Case(f"a pipe named {name}", kind, pipe_of(name)) for kind, name in _OTHERS),
    Case("a bomb", "statistics", file_of("s.npz", lambda: _bomb(1100 * MIB)), slow=True),
    Case("objects", "statistics", _object_file("s.npz")),
    Case(
        "npz, a member that is a link to another file",
        "dataset",
        file_of("x.npz", lambda: _entry("../link", 0o120777, b"/etc/passwd")),
        "converted",
        noted("1 further entry of the .npz not read"),
    ),
    Case(
        "npz, colour stored in the order of Fortran",
        "dataset",
        file_of("x.npz", lambda: npz(images=npy(_U1, "(1, 10, 12, 1)", GREY.tobytes("F"), "True"), labels=[0])),
        "converted",
        same(GREY),
    ),
)
