"""Hostile inputs: what a case is, and the valid files that most cases are made from."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Kind = Literal[
    "dataset", "release", "soft_labels", "teacher", "statistics", "claim", "policy", "configuration", "grid",
    "manifest", "run", "weights",
]  # fmt: skip
Build = Callable[[Path], Path]
Content = Callable[[], bytes]

CANARY = "canary"
"""What a hostile input would write if it were executed or followed: a file beside the folder of the input."""

PIXELS: NDArray[np.uint8] = np.random.default_rng(7).integers(0, 256, (10, 12, 3), dtype=np.uint8)
GREY: NDArray[np.uint8] = np.ascontiguousarray(PIXELS[:, :, :1])
MIB = 2**20


@dataclass(frozen=True)
class Case:
    """One hostile input.

    kind: the loader that reads it. build: writes it below a folder and returns the path to be read. outcome: what
    must happen. expected: of a converted one, whether what was loaded says so or is right. slow: takes
    a second, or tells little beyond what its like tell.
    """

    name: str
    kind: Kind
    build: Build
    outcome: Literal["refused", "converted"] = "refused"
    expected: Callable[[Any], bool] | None = None
    slow: bool = False


def pipe_of(name: str) -> Build:
    """A pipe that nobody writes to."""

    def build(folder: Path) -> Path:
        os.mkfifo(folder / name)
        return folder / name

    return build


def endless_of(name: str) -> Build:
    """A link to a device that never ends."""

    def build(folder: Path) -> Path:
        (folder / name).symlink_to("/dev/zero")
        return folder / name

    return build


def file_of(name: str, content: Content) -> Build:
    """A single file, which is read."""

    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content())
        return folder / name

    return build


def image_of(name: str, content: Content) -> Build:
    """A dataset of one class with a single file in it."""

    def build(folder: Path) -> Path:
        (folder / "data" / "cat").mkdir(parents=True)
        (folder / "data" / "cat" / name).write_bytes(content())
        return folder / "data"

    return build


def dataset_with(change: Callable[[Path], object]) -> Build:
    """A good dataset of two classes, to whose folder something is done."""

    def build(folder: Path) -> Path:
        root = good_dataset(folder / "data")
        change(root)
        return root

    return build


def good_dataset(root: Path) -> Path:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        (root / name / "0.png").write_bytes(encoded("png"))
    return root


def encoded(kind: str, pixels: NDArray[np.uint8] = PIXELS, **options: Any) -> bytes:
    """The picture as a file of this format."""
    stream = io.BytesIO()
    Image.fromarray(pixels if pixels.shape[2] > 1 else pixels[:, :, 0]).save(stream, kind, **options)
    return stream.getvalue()


def shown(kind: str) -> NDArray[np.uint8]:
    """The picture as it comes back from a file of this format."""
    with Image.open(io.BytesIO(encoded(kind))) as image:
        return np.asarray(image.convert("RGB"))


def same(pixels: NDArray[np.uint8]) -> Callable[[Any], bool]:
    """Whether a dataset's first image is this one."""
    return lambda dataset: bool(np.array_equal(dataset.images.pixels[0], pixels))


def noted(*words: str) -> Callable[[Any], bool]:
    """Whether the notes of a dataset say all of this."""
    return lambda dataset: all(word in "\n".join(dataset.notes) for word in words)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    rows: bytes, width: int = 8, height: int = 8, depth: int = 8, colour: int = 0, further: bytes = b"", method: int = 0
) -> bytes:
    """A PNG file by hand. rows: as they are before compression. further: chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, method))
    return b"\x89PNG\r\n\x1a\n" + header + further + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def rows(width: int = 8, height: int = 8) -> bytes:
    """Unfiltered rows of a grey PNG file, none of them black."""
    return b"".join(b"\0" + bytes((17 * row + column) % 251 + 1 for column in range(width)) for row in range(height))


def npy(descr: str, shape: str, content: bytes = b"", fortran: str = "False") -> bytes:
    """A `.npy` file that declares this, whatever it holds."""
    return npy_header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}", content)


def npy_header(text: str, content: bytes = b"", version: int = 1) -> bytes:
    """A `.npy` file with any text as its header."""
    body = text.encode("latin1")
    return b"\x93NUMPY" + bytes((version, 0)) + struct.pack("<H" if version == 1 else "<I", len(body)) + body + content


def npy_of(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def zipped(members: Mapping[str, bytes]) -> bytes:
    """A zip file of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def arrays(**changes: Any) -> dict[str, bytes]:
    """The members of a good `.npz` of two images. changes: other arrays, or bytes, by name; None leaves one out."""
    good: dict[str, Any] = {"images": np.stack([PIXELS, 255 - PIXELS]), "labels": np.array([0, 1])}
    chosen = {name: value for name, value in (good | changes).items() if value is not None}
    return {f"{name}.npy": value if isinstance(value, bytes) else npy_of(value) for name, value in chosen.items()}


def npz(**changes: Any) -> bytes:
    return zipped(arrays(**changes))


def json_of(content: Any) -> bytes:
    return json.dumps(content).encode()


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)
