"""Image files of every format, damaged in the same ways; and other contents under the name of an image."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hostile_cases import (
    CANARY,
    PIXELS,
    Build,
    Case,
    Content,
    Payload,
    chunk,
    encoded,
    file_of,
    image_of,
    npy_of,
    same,
    shown,
    zipped,
)
from PIL import Image

FORMATS = ("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")
Resize = Callable[[bytes, int], bytes]


def _png(content: bytes, side: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">II", side, side) + content[24:29])
    return content[:8] + header + content[33:]


def _jpeg(content: bytes, side: int) -> bytes:
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", side & 0xFFFF, side & 0xFFFF) + content[place + 4 :]


def _gif(content: bytes, side: int) -> bytes:
    return content[:6] + struct.pack("<HH", side & 0xFFFF, side & 0xFFFF) + content[10:]


def _bmp(content: bytes, side: int) -> bytes:
    return content[:18] + struct.pack("<II", side, side) + content[26:]


def _tiff(content: bytes, side: int) -> bytes:
    found, start = bytearray(content), struct.unpack_from("<I", content, 4)[0]
    for place in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, place)[0] in (256, 257):
            struct.pack_into("<HII", found, place + 2, 4, 1, side)
    return bytes(found)


def _webp(content: bytes, side: int) -> bytes:
    """The canvas of an extended file: at most 2^24 each way."""
    header = b"\x10\0\0\0" + 2 * struct.pack("<I", max(side - 1, 0) & 0xFFFFFF)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", len(header)) + header + content[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _ppm(content: bytes, side: int) -> bytes:
    return content.replace(b"12 10", f"{side} {side}".encode(), 1)


RESIZED: dict[str, Resize] = {
    "png": _png,
    "jpeg": _jpeg,
    "gif": _gif,
    "bmp": _bmp,
    "tiff": _tiff,
    "webp": _webp,
    "ppm": _ppm,
}


def _whole(kind: str) -> bytes:
    return encoded(kind, lossless=True) if kind == "webp" else encoded(kind)


DAMAGES: dict[str, Callable[[str], bytes]] = {
    "empty": lambda kind: b"",
    "one byte": lambda kind: _whole(kind)[:1],
    "header only": lambda kind: _whole(kind)[:24],
    "half": lambda kind: _whole(kind)[: len(_whole(kind)) // 2],
    "nothing but its start, then zeros": lambda kind: _whole(kind)[:30].ljust(len(_whole(kind)), b"\0"),
    "declares 2^31 - 1 pixels each way": lambda kind: RESIZED[kind](_whole(kind), 2**31 - 1),
    "declares 65,535 pixels each way": lambda kind: RESIZED[kind](_whole(kind), 65_535),
    "declares no pixels": lambda kind: RESIZED[kind](_whole(kind), 0),
}

_GOOD = {("bmp", "nothing but its start, then zeros"), ("ppm", "nothing but its start, then zeros")}
"""Damages after which a file is whole: black pixels are as good as others."""

DAMAGED = tuple(
    Case(
        f"{kind}, {damage}",
        "dataset",
        image_of(f"x.{kind}", partial(make, kind)),
        *(("converted", same(shown(kind))) if (kind, damage) == ("gif", "declares no pixels") else ()),
    )
    for kind in FORMATS
    for damage, make in DAMAGES.items()
    if (kind, damage) not in _GOOD
)
TRAILED = tuple(
    Case(
        f"{kind}, another file behind its end",
        "dataset",
        image_of(f"x.{kind}", lambda kind=kind: _whole(kind) + zipped({"a": b"#!/bin/sh"})),  # type: ignore[misc]
        "converted",
        same(PIXELS if kind == "webp" else shown(kind)),
    )
    for kind in FORMATS
)


def _drawn(kind: str) -> Content:
    """A good picture in a format that Pillow could read, but that is not on the list."""

    def content() -> bytes:
        stream = io.BytesIO()
        Image.fromarray(PIXELS).convert("1" if kind == "XBM" else "RGB").save(stream, kind)
        return stream.getvalue()

    return content


def _tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        entry = tarfile.TarInfo("../../outside.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    return stream.getvalue()


_SCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/x) (w) file\n%%EOF\n"
_SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('http://localhost')</script></svg>"
_ENTITIES = (
    b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]><svg>&b;&c;</svg>'
)
DISGUISES: dict[str, Content] = {
    "PDF": lambda: b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
    "SVG with a script": lambda: _SVG,
    "SVG with entities": lambda: _ENTITIES,
    "HTML": lambda: b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "PostScript": lambda: _SCRIPT,
    "EPS with a preview": lambda: b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(_SCRIPT)) + bytes(20) + _SCRIPT,
    "zip": lambda: zipped({"a.png": encoded("png")}),
    "zip with a path that leads out": lambda: zipped({"../../a.png": encoded("png")}),
    "gzip": lambda: gzip.compress(encoded("png")),
    "xz": lambda: lzma.compress(encoded("png")),
    "tar": _tar,
    "7z": lambda: b"7z\xbc\xaf\x27\x1c\0\4" + bytes(80),
    "ELF": lambda: b"\x7fELF\2\1\1" + bytes(57),
    "Windows program": lambda: b"MZ\x90\0" + bytes(124),
    "shell script": lambda: b"#!/bin/sh\ntouch canary\n",
    "Python source": lambda: b"open('canary', 'w')\n",
    "Photoshop": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(64),
    "icon": _drawn("ICO"),
    "Targa": _drawn("TGA"),
    "PCX": _drawn("PCX"),
    "SGI": _drawn("SGI"),
    "XBM": _drawn("XBM"),
    "JPEG 2000": _drawn("JPEG2000"),
    "DDS": _drawn("DDS"),
    "MP4": lambda: b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(64),
    "AVIF": lambda: b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(64),
    "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(88),
    "NIfTI": lambda: struct.pack("<i", 348) + bytes(340) + b"n+1\0" + bytes(64),
    "FITS": lambda: b"SIMPLE  =                    T".ljust(2880),
    "Windows metafile": lambda: b"\xd7\xcd\xc6\x9a" + bytes(60),
    "SQLite": lambda: b"SQLite format 3\0" + bytes(84),
    "numpy": lambda: npy_of(PIXELS),
    "DICOM": lambda: bytes(128) + b"DICM" + bytes(64),
    "random bytes": lambda: zlib.compress(bytes(range(256)) * 8),
    "zeros": lambda: bytes(100_000),
}


def _pickle(name: str) -> Build:
    def build(folder: Path) -> Path:
        content = pickle.dumps(Payload(folder.parent / CANARY))
        return image_of(name, lambda: content)(folder)

    return build


DISGUISED = (
    *(Case(f"{what} named .png", "dataset", image_of("x.png", content)) for what, content in DISGUISES.items()),
    Case("pickle named .png", "dataset", _pickle("x.png")),
    Case("pickle named .npy", "dataset", _pickle("x.npy")),
    *(
        Case(f"a good picture named {name}", "dataset", image_of(name, partial(encoded, "png")))
        for name in ("x.svg", "x.pdf", "x.eps", "x.psd", "x.nii.gz", "x", "x.txt", "x.dcm")
    ),
    Case("a picture instead of a folder", "dataset", file_of("x.png", partial(encoded, "png"))),
    Case("a tar.gz instead of a folder", "dataset", file_of("x.tar.gz", lambda: gzip.compress(_tar()))),
)
CASES = (*DAMAGED, *TRAILED, *DISGUISED)
