"""What an image file holds beside its pixels: metadata by kind, and bytes behind the end of the image.

Read from the bytes themselves, because image libraries hide exactly what is looked for. A damaged structure ends the
walk: the loader, which decodes every pixel, is the judge of validity.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

PNG = b"\x89PNG\r\n\x1a\n"

_PNG_PLAIN = frozenset(
    b"IHDR PLTE IDAT IEND tRNS cHRM gAMA sBIT sRGB cICP mDCV cLLI bKGD hIST pHYs acTL fcTL fdAT".split()
)
_PNG_KINDS = {b"tEXt": "text", b"zTXt": "text", b"iTXt": "text", b"eXIf": "EXIF", b"tIME": "time"}
_PLAIN_PROFILE = re.compile(
    rb"(?i)srgb|adobe rgb|display p3|gr[ae]y gamma|dot gain|s?gr[ae]y|linear|rec\.? ?(709|2020)|prophoto|c2|artifex"
)
_TIFF_TEXT = {269, 270, 271, 272, 285, 305, 306, 315, 316, 33432, 337}
_TIFF_EXIF = {34665, 34853, 40965}
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TIFF_DATA = {273: 279, 324: 325}


@dataclass(frozen=True)
class Extras:
    """Kinds of metadata found (each a plain word), and how many bytes follow the image (zeros are not counted)."""

    metadata: frozenset[str] = frozenset()
    trailing: int = 0


def extras(data: bytes) -> Extras:
    """What the bytes of one image file hold beside pixels."""
    walk = next((walk for magic, walk in _WALKS.items() if data.startswith(magic)), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        walk = _webp
    found: set[str] = set()
    end = len(data)
    if data[128:132] == b"DICM":
        found.add("DICOM")
    if walk is not None:
        try:
            end = walk(data, found)
        except (struct.error, IndexError, ValueError, zlib.error):
            end = len(data)
    return Extras(frozenset(found), len(data[end:].strip(b"\0")))


def _profile(content: bytes) -> str | None:
    """The kind of a colour profile (ICC): None where its description is one of the well-known ones."""
    count = struct.unpack_from(">I", content, 128)[0]
    for entry in range(min(count, 100)):
        signature, start, size = struct.unpack_from(">4sII", content, 132 + 12 * entry)
        if signature == b"desc":
            text = content[start : start + size]
            if text.startswith(b"mluc"):
                length, place = struct.unpack_from(">II", text, 20)
                text = text[place : place + length].replace(b"\0", b"")
            else:
                text = text[12:]
            return None if _PLAIN_PROFILE.match(text) else "colour profile"
    return "colour profile"


def _png(data: bytes, found: set[str]) -> int:
    at = len(PNG)
    while True:
        length, kind = int(struct.unpack_from(">I", data, at)[0]), data[at + 4 : at + 8]
        content = data[at + 8 : at + 8 + length]
        at += 12 + length
        if kind == b"IEND":
            return at
        if kind == b"iCCP":
            name, _, packed = content.partition(b"\0")
            profile = zlib.decompressobj().decompress(packed[1:], 2**20)
            if not _PLAIN_PROFILE.search(name) and (word := _profile(profile)):
                found.add(word)
        elif kind not in _PNG_PLAIN:
            found.add(_PNG_KINDS.get(kind, "private data"))


def _jpeg(data: bytes, found: set[str]) -> int:
    at = 2
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError
        if marker == 0xD9:
            return at + 2
        length = struct.unpack_from(">H", data, at + 2)[0]
        word = _jpeg_segment(marker, data[at + 4 : at + 2 + length])
        if word:
            found.add(word)
        at += 2 + length
        if marker == 0xDA:  # pixels follow, up to the next marker that is neither stuffing nor a restart
            match = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]").search(data, at)
            if match is None:
                return len(data)
            at = match.start()


def _jpeg_segment(marker: int, content: bytes) -> str | None:
    if marker == 0xFE:
        return "comment"
    if not 0xE0 <= marker <= 0xEF:
        return None
    if content.startswith(b"JFIF\0"):
        return "thumbnail" if len(content) > 14 else None
    if content.startswith((b"Exif\0", b"http://ns.adobe.com/xap")):
        return "EXIF" if content.startswith(b"Exif") else "XMP"
    if content.startswith(b"ICC_PROFILE\0"):
        return _profile(content[14:]) if content[12:13] == b"\x01" else None
    if content.startswith(b"Adobe") and len(content) == 12:
        return None
    return "IPTC" if content.startswith(b"Photoshop") else "private data"


def _gif(data: bytes, found: set[str]) -> int:
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] != 0x3B:
        if data[at] == 0x21:
            label, application = data[at + 1], data[at + 3 : at + 14]
            if label in (0xFE, 0x01):
                found.add("comment")
            elif label == 0xFF and application not in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
                found.add("XMP" if application.startswith(b"XMP") else "private data")
            at += 2
        elif data[at] == 0x2C:
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        else:
            raise ValueError
        while data[at]:
            at += 1 + data[at]
        at += 1
    return at + 1


def _webp(data: bytes, found: set[str]) -> int:
    end = 8 + int(struct.unpack_from("<I", data, 4)[0])
    kinds = {b"EXIF": "EXIF", b"XMP ": "XMP"}
    at = 12
    while at + 8 <= min(end, len(data)):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind == b"ICCP":
            found.update(filter(None, [_profile(data[at + 8 : at + 8 + length])]))
        elif kind not in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"):
            found.add(kinds.get(kind, "private data"))
        at += 8 + length + (length & 1)
    return end


def _bmp(data: bytes, found: set[str]) -> int:
    size = int(struct.unpack_from("<I", data, 2)[0])
    return size if size >= 26 else len(data)


def _ppm(data: bytes, found: set[str]) -> int:
    tokens: list[int] = []
    at, needed = 2, 2 if data[1:2] in b"14" else 3
    while len(tokens) < needed:
        match = re.compile(rb"(#[^\n\r]*)|(\d+)|[\s]+").match(data, at)
        if match is None:
            raise ValueError
        if match[1] is not None:
            found.add("comment")
        elif match[2] is not None:
            tokens.append(int(match[2]))
        at = match.end()
    if data[1:2] not in b"456":
        if b"#" in data[at:]:
            found.add("comment")
        return len(data)
    width, height = tokens[:2]
    if data[1:2] == b"4":
        return at + 1 + (width + 7) // 8 * height
    return at + 1 + width * height * (3 if data[1:2] == b"6" else 1) * (2 if tokens[2] > 255 else 1)


def _tiff(data: bytes, found: set[str]) -> int:
    """Tags of all directories; the end is the last byte that any tag refers to."""
    order = "<" if data[:2] == b"II" else ">"
    at = int(struct.unpack_from(order + "I", data, 4)[0])
    end, seen = 8, set[int]()
    while at and at not in seen:
        seen.add(at)
        entries = {tag: (kind, values) for tag, kind, values in _tiff_entries(data, order, at)}
        count = struct.unpack_from(order + "H", data, at)[0]
        end = max(end, at + 2 + 12 * count + 4, *(stop for stop, _ in entries.values()))
        for tag, lengths in _TIFF_DATA.items():
            if tag in entries and lengths in entries:
                pairs = zip(entries[tag][1], entries[lengths][1], strict=False)
                end = max([end, *(start + length for start, length in pairs)])
        found.update(filter(None, map(_tiff_tag, entries)))
        at = int(struct.unpack_from(order + "I", data, at + 2 + 12 * count)[0])
    return end if "EXIF" not in found and "private data" not in found else len(data)


def _tiff_entries(data: bytes, order: str, at: int) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Tag, where its values end, and the values where they are whole numbers."""
    count = struct.unpack_from(order + "H", data, at)[0]
    for place in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, place)
        size = _TIFF_SIZES.get(kind, 1) * number
        start = place + 8 if size <= 4 else int(struct.unpack_from(order + "I", data, place + 8)[0])
        values: tuple[int, ...] = ()
        if kind in (3, 4) and start + size <= len(data):
            values = struct.unpack_from(f"{order}{number}{'H' if kind == 3 else 'I'}", data, start)
        yield tag, start + size, values


def _tiff_tag(tag: int) -> str | None:
    if tag in _TIFF_TEXT:
        return "text"
    if tag in _TIFF_EXIF:
        return "EXIF"
    if tag == 700:
        return "XMP"
    if tag in (33723, 34377):
        return "IPTC"
    return "private data" if tag >= 32768 and tag not in (34675,) else None


_WALKS = {
    PNG: _png,
    b"\xff\xd8": _jpeg,
    b"GIF8": _gif,
    b"BM": _bmp,
    b"II*\0": _tiff,
    b"MM\0*": _tiff,
    **{f"P{number}".encode(): _ppm for number in range(1, 7)},
}
