"""What is particular to one image format: bombs, contradictions, and odd but lawful files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hostile_cases import MIB, PIXELS, Case, Content, chunk, encoded, image_of, noted, png, rows, same, shown
from PIL import Image

GREY = np.frombuffer(rows(), np.uint8).reshape(8, 9)[:, 1:, None]
PALETTE = bytes(range(48)) * 16


def _bomb(size: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size)) + packer.flush()


def _with(kind: bytes, content: Content) -> Content:
    return lambda: png(rows(), further=chunk(kind, content()))


def _wrong_crc(kind: bytes) -> Content:
    def content() -> bytes:
        found = bytearray(png(rows()))
        place = found.index(kind)
        found[place + 4 + struct.unpack_from(">I", found, place - 4)[0]] ^= 1
        return bytes(found)

    return content


def _frames(kind: str, count: int) -> Content:
    pictures = [Image.fromarray(np.roll(PIXELS, row, axis=0)) for row in range(count)]

    def content() -> bytes:
        stream = io.BytesIO()
        pictures[0].save(stream, kind, save_all=True, append_images=pictures[1:])
        return stream.getvalue()

    return content


def _exif(orientation: int = 6, further: bytes = b"") -> bytes:
    """EXIF whose only directory says how to turn the picture, and that it is followed by itself."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + struct.pack("<I", 8) + further


PNG: dict[str, Content] = {
    "text bomb (zTXt)": _with(b"zTXt", lambda: b"Comment\0\0" + _bomb(100)),
    "text bomb (iTXt)": _with(b"iTXt", lambda: b"Comment\0\1\0\0\0" + _bomb(100)),
    "profile bomb (iCCP)": _with(b"iCCP", lambda: b"x\0\0" + _bomb(100)),
    "wrong checksum of the header": _wrong_crc(b"IHDR"),
    "wrong checksum of the pixels": _wrong_crc(b"IDAT"),
    "pixels that end early": lambda: png(rows()[:36]),
    "interlaced pixels that end early": lambda: png(rows()[:36], method=1),
    "no pixels": lambda: png(b""),
    "no palette": lambda: png(rows(), colour=3),
    "indices beyond the palette": lambda: png(rows(), colour=3, further=chunk(b"PLTE", b"abcdef")),
    "palette of a third of a colour": lambda: png(rows(), colour=3, further=chunk(b"PLTE", b"a")),
    "3 bits": lambda: png(rows(), depth=3),
    "colour type 5": lambda: png(rows(), colour=5),
    "unknown interlacing": lambda: png(rows(), method=9),
    "unknown filter of a row": lambda: png(b"\x09" + rows()[1:]),
    "two headers": lambda: png(rows(), further=png(b"", 12_000, 12_000)[8:33]),
    "a chunk that is longer than the file": lambda: png(rows(), further=b"\x7f\xff\xff\xfftEXtx"),
    "a chunk of negative length": lambda: png(rows(), further=b"\xff\xff\xff\xfftEXtx"),
    "animation": _frames("png", 3),
    "16 bits without a window": lambda: png(bytes(8 * 17), depth=16),
    "16-bit colour": lambda: png(bytes(8 * 49), depth=16, colour=2),
}


def _segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


def _many_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose many scans each say, in a few bytes, that nothing changes in a million blocks."""
    blocks = (side // 8) ** 2
    runs, left = blocks // 32767, blocks % 32767
    bits = "".join("0" + format(32767 - 2**14, "014b") for _ in range(runs)) + "".join(
        "0" + format(0, "014b") for _ in range(-(-left // 2**14))
    )
    bits += "1" * (-len(bits) % 8)
    body = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    start = b"\xff\xd8" + _segment(0xDB, b"\0" + bytes([1]) * 64)
    start += _segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    start += _segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")
    return start + (_segment(0xDA, b"\1\1\0\x01\x3f\0") + body) * scans + b"\xff\xd9"


def _jpeg_with(*segments: bytes) -> bytes:
    whole = encoded("jpeg")
    return whole[:2] + b"".join(segments) + whole[2:]


def _jpeg_cut() -> bytes:
    whole = encoded("jpeg", np.tile(PIXELS, (20, 20, 1)))
    return whole[: len(whole) // 2] + b"\xff\xd9"


def _jpeg_at(marker: int, offset: int, value: int) -> Content:
    """A JPEG file with another byte at a place behind the first marker of this kind."""

    def content() -> bytes:
        found = bytearray(encoded("jpeg"))
        found[found.index(bytes((0xFF, marker))) + offset] = value
        return bytes(found)

    return content


JPEG: dict[str, Content] = {
    "progressive, 20,000 scans of a million blocks": lambda: _many_scans(8_000, 20_000),
    "no component": _jpeg_at(0xC0, 9, 0),
    "200 components": _jpeg_at(0xC0, 9, 200),
    "12 bits": _jpeg_at(0xC0, 4, 12),
    "lossless": _jpeg_at(0xC0, 1, 0xC3),
    "hierarchical": _jpeg_at(0xC0, 1, 0xC5),
    "sampling factors of 15": _jpeg_at(0xC0, 11, 0xFF),
    "Huffman table of 16 x 255 codes": lambda: _jpeg_with(_segment(0xC4, b"\0" + b"\xff" * 16 + bytes(4080))),
    "pixels that end early": _jpeg_cut,
    "no scan": lambda: encoded("jpeg")[: encoded("jpeg").index(b"\xff\xda")] + b"\xff\xd9",
    "a scan of nothing": lambda: encoded("jpeg")[: encoded("jpeg").index(b"\xff\xda") + 14] + b"\xff\xd9",
}


def _tiff(entries: Sequence[tuple[int, int, int, int]], body: bytes = b"", following: int = 0) -> bytes:
    """A TIFF by hand. entries: tag, type, count, value. body: from byte 8 on. following: the next directory."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return struct.pack("<4sI", b"II*\0", 8 + len(body)) + body + directory + struct.pack("<I", following)


def _grey_tiff(body: bytes = GREY.tobytes(), following: int = 0, **changes: int) -> Content:
    """An 8 x 8 grey TIFF. changes: other values, by `t` and tag."""
    plain = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 8, 279: len(body)}
    values = plain | {int(tag[1:]): value for tag, value in changes.items()}
    return lambda: _tiff([(tag, 4, 1, value) for tag, value in sorted(values.items())], body, following)


TIFF: dict[str, Content] = {
    "two pages": _frames("tiff", 2),
    "500 pages": _frames("tiff", 500),
    "floats without a window": lambda: _saved(Image.fromarray(np.ones((8, 8), np.float32)), "tiff"),
    "tags of 2^32 - 1 values": lambda: _tiff([(tag, 4, 2**32 - 1, 8) for tag in (256, 257, 273, 279)], bytes(64)),
    "65,535 tags": lambda: b"II*\0\x08\0\0\0\xff\xff" + bytes(500),
    "strips beyond the end": _grey_tiff(t273=2**31),
    "no strips": lambda: _tiff([(256, 4, 1, 8), (257, 4, 1, 8), (258, 4, 1, 8), (262, 4, 1, 1)]),
    "65,535 samples in a pixel": _grey_tiff(t277=65_535),
    "32-bit colour": _grey_tiff(bytes(768), t258=32, t277=3, t262=2),
    "an unknown compression": _grey_tiff(t259=4242),
    "a broken deflate strip": _grey_tiff(b"\x78\x9c" + b"\xff" * 62, t259=8),
    "a deflate strip that ends early": _grey_tiff(zlib.compress(bytes(20)), t259=8),
    "a broken JPEG strip": _grey_tiff(b"\xff\xd8\xff" + bytes(61), t259=7),
    "fax pixels of nothing": _grey_tiff(t259=4, t258=1),
    "tiles of 65,536 pixels": _grey_tiff(t322=65_536, t323=65_536, t324=8, t325=64, t259=8),
    "the directory behind the end": lambda: b"II*\0\xff\xff\xff\x7f" + bytes(64),
    "BigTIFF of 2^60 tags": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**60) + bytes(64),
}


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _bmp(header: bytes, body: bytes = bytes(300)) -> Content:
    return lambda: b"BM" + struct.pack("<IHHI", 14 + len(header) + len(body), 0, 0, 14 + len(header)) + header + body


def _bmp_of(width: int, height: int, bits: int, compression: int = 0, colours: int = 0) -> bytes:
    return struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, colours, 0)


def _gif_cut() -> bytes:
    whole = encoded("gif")
    return whole[: len(whole) // 2] + b"\0;"


OTHERS: dict[str, Content] = {
    "GIF of 300 frames": _frames("gif", 300),
    "GIF whose pixels end early": _gif_cut,
    "GIF without a picture": lambda: encoded("gif")[:13] + b";",
    "GIF with a broken block": lambda: encoded("gif")[:-40] + b"\xff" * 40,
    "BMP of height -2^31": _bmp(_bmp_of(8, -(2**31), 24)),
    "BMP of negative width": _bmp(_bmp_of(-8, 8, 24)),
    "BMP of 7 bits": _bmp(_bmp_of(8, 8, 7)),
    "BMP of 2^31 colours": _bmp(_bmp_of(8, 8, 8, 0, 2**31)),
    "BMP with runs that end early": _bmp(_bmp_of(64, 64, 8, 1, 256), bytes(1024) + b"\x04\x01\0\1"),
    "BMP with an unknown compression": _bmp(_bmp_of(8, 8, 24, 77)),
    "WEBP animation": _frames("webp", 3),
    "WEBP of a wrong length": lambda: b"RIFF\xff\xff\xff\xffWEBP" + encoded("webp")[12:60],
    "PPM of maximum 0": lambda: b"P6 4 4 0\n" + bytes(48),
    "PPM of maximum 65,535": lambda: b"P6 4 4 65535\n" + bytes(96),
    "PPM of negative size": lambda: b"P6 -4 -4 255\n" + bytes(48),
    "PPM whose comment never ends": lambda: b"P6 #" + b"x" * MIB,
    "PPM of letters": lambda: b"P3 4 4 255\n" + b"many " * 48,
    "PPM of a number with 5,000 digits": lambda: b"P6 " + b"9" * 5000 + b" 4 255\n",
    "PPM with values above its maximum": lambda: b"P3 2 1 255\n0 0 0 9999 0 0\n",
}

CONVERTED: tuple[tuple[str, str, Content, Callable[[Any], bool]], ...] = (
    ("PNG with a bomb behind its last row", "png", lambda: png(rows() + bytes(200 * MIB)), same(GREY)),
    ("PNG with EXIF of 4 MiB that turns it", "png", _with(b"eXIf", lambda: _exif(3, bytes(4 * MIB))[6:]),
     same(GREY[::-1, ::-1])),
    ("JPEG with CMYK", "jpg", lambda: _saved(Image.fromarray(PIXELS).convert("CMYK"), "jpeg"), noted("CMYK")),
    ("JPEG turned by EXIF in a circle", "jpg", lambda: _jpeg_with(_segment(0xE1, _exif())), noted("EXIF rotation")),
    ("JPEG with 60 kB of EXIF", "jpg", lambda: _jpeg_with(_segment(0xE1, _exif(1, b"\xff" * 60_000))),
     same(shown("jpeg"))),
    ("JPEG with a segment without length", "jpg", lambda: _jpeg_with(b"\xff\xe1\0\0"), same(shown("jpeg"))),
    ("JPEG with 200 comments", "jpg", lambda: _jpeg_with(*[_segment(0xFE, b"\x1b[2J" * 9)] * 200), same(shown("jpeg"))),
    ("JPEG with a profile in 255 missing parts", "jpg",
     lambda: _jpeg_with(_segment(0xE2, b"ICC_PROFILE\0\xff\xff" + bytes(99))), same(shown("jpeg"))),
    ("PNG that declares an animation of 2^32 - 1 frames", "png",
     _with(b"acTL", lambda: struct.pack(">II", 2**32 - 1, 0)), same(GREY)),
    ("PNG of 67 million pixels with alpha", "png", lambda: png(bytes(2**15 * 2**13 + 2**13), 2**13, 2**13, 8, 6),
     noted("transparent")),
    ("TIFF with directories in a circle", "tif", _grey_tiff(following=8 + 64), same(GREY)),
    ("TIFF in LAB", "tif", lambda: _saved(Image.fromarray(PIXELS).convert("LAB"), "tiff"), noted("another colour")),
    ("TIFF that names a file", "tif", lambda: _saved(Image.fromarray(PIXELS), "tiff", description="../../etc/passwd"),
     same(PIXELS)),
    ("GIF with a loop and a comment", "gif", lambda: _saved(Image.fromarray(PIXELS), "gif", comment=b"\x1b[2J", loop=0),
     noted("palette")),
    ("PNG with a palette", "png", lambda: png(rows(), colour=3, further=chunk(b"PLTE", PALETTE)), noted("palette")),
)  # fmt: skip

CASES = (
    *(Case(f"PNG, {name}", "dataset", image_of("x.png", content)) for name, content in PNG.items()),
    *(Case(f"JPEG, {name}", "dataset", image_of("x.jpg", content)) for name, content in JPEG.items()),
    *(Case(f"TIFF, {name}", "dataset", image_of("x.tif", content)) for name, content in TIFF.items()),
    *(
        Case(name, "dataset", image_of(f"x.{name[:4].strip().lower()}", content))
        for name, content in OTHERS.items()
    ),
    *(
        Case(name, "dataset", image_of(f"x.{suffix}", content), "converted", expected, "million" in name)
        for name, suffix, content, expected in CONVERTED
    ),
)  # fmt: skip
