"""What Pillow lets pass: pictures whose data end early or contradict themselves, and pictures made to take hours."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privaudit.data.decoded import MAX_PIXELS

MOST_SCANS = 100
"""A progressive JPEG file has some ten scans; each one passes over the whole picture."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_SCAN = re.compile(rb"\xff\xda\x00(?:\x08\x01|\x0a\x02|\x0c\x03|\x0e\x04)")
_END = b"\xff\xd9"
_BLOCK = 2**20
_SMALL = 2**12
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Of an interlaced PNG file: first column and row of each pass, and its steps."""


def has_many_scans(file: IO[bytes]) -> bool:
    """Whether the file is a JPEG with more scans than `MOST_SCANS`. Leaves the file at its start."""
    file.seek(0)
    count, before = 0, b""
    if file.read(len(_JPEG)) == _JPEG:
        while (block := file.read(_BLOCK)) and count <= MOST_SCANS:
            joined = before + block
            count += len(_SCAN.findall(joined))
            before = joined[-4:]
    file.seek(0)
    return count > MOST_SCANS


def check_whole(file: IO[bytes], image: Image.Image) -> None:
    """Raise ValueError where the decoded image is not all that its file declares: PNG and JPEG files only."""
    file.seek(0)
    start = file.read(len(_PNG))
    if start == _PNG:
        _check_png(file, image)
    elif start.startswith(_JPEG) and image.format == "JPEG":
        file.seek(0)
        _check_jpeg(file.read(), image)


def _check_png(file: IO[bytes], image: Image.Image) -> None:
    """Checksums of the pixels, enough of them, and colours for all of them."""
    needed, palette = 0, 0
    inflate = zlib.decompressobj()
    for kind, content in _chunks(file):
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content)
            if width * height > MAX_PIXELS:
                raise ValueError("too many pixels")
            needed = _bytes(width, height, depth * _CHANNELS[colour], interlaced)
        elif kind == b"PLTE":
            palette = len(content) // 3
        elif kind == b"IDAT":
            got = _BLOCK
            while needed > 0 and (content or got == _BLOCK):
                got = len(inflate.decompress(content, _BLOCK))
                needed -= got
                content = inflate.unconsumed_tail
    if needed > 0:
        raise ValueError("the pixels end early")
    if image.mode == "P" and int(np.asarray(image).max()) >= palette:
        raise ValueError("a pixel has no colour")


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Header, palette and pixels of a PNG file, checksums verified."""
    while len(start := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", start)
        if kind == b"IEND":
            return
        if kind not in (b"IHDR", b"PLTE", b"IDAT"):
            file.seek(length + 4, 1)
            continue
        content = file.read(length)
        if file.read(4) != struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))):
            raise ValueError("a wrong checksum")
        yield kind, content


def _bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Bytes of all rows before compression, each with its filter."""
    if not interlaced:
        return height * (1 + (width * bits + 7) // 8)
    sizes = ((-((left - width) // across), -((top - height) // down)) for left, top, across, down in _PASSES)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _check_jpeg(content: bytes, image: Image.Image) -> None:
    """Where data end early the rest is grey without a word. Whether they do is told by more data before the end."""
    pixels = _pixels(image)
    place = content.rfind(_END)
    is_small = image.width * image.height <= _SMALL
    if place < 0 or not (is_small or np.abs(pixels[-1, -1].astype(int) - 128).max() <= 1):
        return
    with Image.open(io.BytesIO(content[:place] + b"\x55" * 64 + content[place:]), formats=("JPEG",)) as longer:
        if not np.array_equal(_pixels(longer), pixels):
            raise ValueError("the pixels end early")


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image, dtype=np.uint8).reshape(image.height, image.width, -1)
