"""One image file: what is refused, what is converted."""

import os
import resource
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from privaudit.data.decoding import MAX_PIXELS, Conversion, apply_window, conversion_notes, decode, deep_sample, probe
from privaudit.errors import InputError

RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = COLOUR[:, :, 0].copy()
ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, depth: int, colour: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def raw_png(values: np.ndarray[Any, np.dtype[np.uint16]], colour: int) -> bytes:
    """A 16-bit PNG by hand: colour type 0 grey, 2 RGB, 4 grey with alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    height, width = values.shape[:2]
    body = png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return png_header(width, height, 16, colour) + body


def saved(tmp_path: Path, image: Image.Image, name: str = "x.png", **options: Any) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def refused(path: Path, *words: str, root: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        decode(path, root or path.parent)
    text = str(caught.value)
    for word in words:
        assert word in text
    assert str(path.parent) not in text
    return text


# Refused


def test_truncated(tmp_path: Path) -> None:
    for name in ("x.png", "x.jpg", "x.bmp", "x.gif", "x.tif", "x.ppm", "x.webp"):
        path = saved(tmp_path, Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)), name)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        refused(path, f"'{name}'", "Restore" if name != "x.webp" else "'")


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    refused(tmp_path / "x.png", "'x.png'", "zero bytes", "Remove")


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"hello, I am a text" * 20)
    refused(tmp_path / "x.png", "not an image", "PNG, JPEG")


def test_formats_beyond_the_list_are_not_even_tried(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    refused(tmp_path / "x.png", "not an image")


def test_missing_and_special_files(tmp_path: Path) -> None:
    refused(tmp_path / "x.png", "cannot be opened")
    if not hasattr(os, "mkfifo"):
        return
    os.mkfifo(tmp_path / "pipe.png")
    refused(tmp_path / "pipe.png", "neither a file")


def bomb(path: Path) -> Path:
    squeezed = zlib.compressobj()
    body = squeezed.compress(b"\0" * 2**20) + squeezed.flush()
    path.write_bytes(png_header(50_000, 50_000, 8, 2) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b""))
    return path


def test_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = bomb(tmp_path / "bomb.png")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        refused(path, "'bomb.png'", f"{MAX_PIXELS:,} pixels")
        with pytest.raises(InputError, match="pixels"):
            probe(path, tmp_path)
    assert not leaked
    assert time.perf_counter() - start < 2
    unit = 1 if sys.platform == "darwin" else 1024
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) * unit < 64 * 2**20


@pytest.mark.parametrize("side", [8_200, 9_600, 12_000])
def test_bombs_around_the_limits_of_pillow(tmp_path: Path, side: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png_header(side, side, 8, 0) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""))
    refused(path, "pixels")


def test_link_out_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "cat").mkdir(parents=True)
    outside = saved(tmp_path, Image.fromarray(COLOUR), "secret.png")
    (root / "cat" / "x.png").symlink_to(outside)
    text = refused(root / "cat" / "x.png", "'cat/x.png'", "outside", root=root)
    assert "secret" not in text
    inside = saved(root / "cat", Image.fromarray(COLOUR), "y.png")
    (root / "cat" / "z.png").symlink_to(inside)
    assert (decode(root / "cat" / "z.png", root).pixels == COLOUR).all()
    (root / "cat" / "loop.png").symlink_to(root / "cat" / "loop.png")
    refused(root / "cat" / "loop.png", "cannot be opened", root=root)


@pytest.mark.parametrize("name", ["x.gif", "x.png", "x.webp", "x.tif"])
def test_animations(tmp_path: Path, name: str) -> None:
    frames = [Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)]
    refused(saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:]), "more than one frame")


def test_sixteen_bit_colour_never_loses_bits_silently(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(raw_png(RNG.integers(0, 65536, (4, 5, 3), dtype=np.uint16), 2))
    refused(path, "8 bits per channel")
    path.write_bytes(raw_png(RNG.integers(0, 65536, (4, 5, 2), dtype=np.uint16), 4))
    refused(path, "8 bits per channel")
    deep = tmp_path / "x.ppm"
    deep.write_bytes(b"P6 2 1 65535\n" + bytes(range(12)))
    refused(deep, "8 bits per channel")


def test_names_are_safe_to_print(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m\n.png"
    path.write_bytes(b"")
    assert "'a?[31m?.png'" in refused(path)


# 16 bit


def deep_files(tmp_path: Path) -> list[tuple[Path, np.ndarray[Any, Any]]]:
    values = RNG.integers(1000, 3000, (6, 9)).astype(np.uint16)
    png = tmp_path / "16.png"
    png.write_bytes(raw_png(values, 0))
    tif = saved(tmp_path, Image.fromarray(values), "16.tif")
    integer = saved(tmp_path, Image.fromarray(values.astype(np.int32)), "32.tif")
    real = saved(tmp_path, Image.fromarray(values.astype(np.float32)), "f.tif")
    big = tmp_path / "big.pgm"
    big.write_bytes(b"P5 9 6 65535\n" + values.astype(">u2").tobytes())
    return [(path, values) for path in (png, tif, integer, real, big)]


def test_deep_images_need_a_window(tmp_path: Path) -> None:
    for path, values in deep_files(tmp_path):
        refused(path, "--window", "members")
        done = decode(path, tmp_path, (1000, 2000))
        expected = np.rint(np.clip((values.astype(float) - 1000) / 1000 * 255, 0, 255))
        assert (done.pixels[:, :, 0] == expected).all()
        assert done.conversions == (Conversion.WINDOWED,)
        assert probe(path, tmp_path).deep
        sample = deep_sample(path, tmp_path)
        assert sample is not None
        assert (np.sort(sample) == np.sort(values.ravel())).all()
        with pytest.raises(InputError, match="low < high"):
            decode(path, tmp_path, (5, 5))


def test_window_is_ignored_by_8_bit_images(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(GREY))
    assert (decode(path, tmp_path, (100, 101)).pixels[:, :, 0] == GREY).all()
    assert deep_sample(path, tmp_path) is None


def test_not_a_number(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[0, np.nan]], np.float32)), "x.tif")
    with pytest.raises(InputError, match="NaN"):
        decode(path, tmp_path, (0, 1))


def test_window_maps_linearly() -> None:
    values = np.array([[-5, 0, 50, 100, 900]], np.float32)
    assert apply_window(values, (0, 100))[0, :, 0].tolist() == [0, 0, 128, 255, 255]


# Converted


def test_plain_images_are_untouched(tmp_path: Path) -> None:
    for image in (COLOUR, GREY):
        for name in ("x.png", "x.bmp", "x.tif", "x.ppm" if image.ndim == 3 else "x.pgm"):
            done = decode(saved(tmp_path, Image.fromarray(image), name), tmp_path)
            assert (done.pixels.squeeze() == image).all()
            assert done.conversions == ()
            assert done.pixels.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_rotation(tmp_path: Path, orientation: int, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(COLOUR), name, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    done = decode(path, tmp_path)
    assert (done.pixels == expected).all()
    assert done.conversions == ((Conversion.ROTATED,) if orientation > 1 else ())
    header = probe(path, tmp_path)
    assert (header.height, header.width) == expected.shape[:2]


def test_damaged_exif_is_no_rotation(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(COLOUR), exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff\xff")
    assert (decode(path, tmp_path).pixels == COLOUR).all()


def on_white(colour: np.ndarray[Any, Any], alpha: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    share = alpha.astype(float)[:, :, None] / 255
    return colour * share + 255 * (1 - share)


def test_alpha_on_white(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.dstack([COLOUR, ALPHA])))
    done = decode(path, tmp_path)
    assert np.abs(done.pixels - on_white(COLOUR, ALPHA)).max() <= 1
    assert done.conversions == (Conversion.COMPOSITED,)


def test_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.dstack([COLOUR, np.full_like(ALPHA, 255)])))
    done = decode(path, tmp_path)
    assert (done.pixels == COLOUR).all()
    assert done.conversions == (Conversion.OPAQUE,)


def test_grey_with_alpha(tmp_path: Path) -> None:
    done = decode(saved(tmp_path, Image.fromarray(np.dstack([GREY, ALPHA]))), tmp_path)
    assert done.pixels.shape == (6, 9, 1)
    assert np.abs(done.pixels - on_white(GREY[:, :, None], ALPHA)).max() <= 1
    assert done.conversions == (Conversion.COMPOSITED,)


def test_colour_key_is_transparency(tmp_path: Path) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[0, 0] = (9, 8, 7)
    done = decode(saved(tmp_path, Image.fromarray(image), transparency=(9, 8, 7)), tmp_path)
    assert done.pixels[0, 0].tolist() == [255, 255, 255]
    grey = decode(saved(tmp_path, Image.fromarray(image[:, :, 0]), transparency=9), tmp_path)
    assert grey.pixels[:, :, 0].tolist()[0] == [255, 0, 0, 0]


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(COLOUR).quantize(8)
    done = decode(saved(tmp_path, image), tmp_path)
    assert (done.pixels == np.asarray(image.convert("RGB"))).all()
    assert done.conversions == (Conversion.PALETTE,)
    clear = decode(saved(tmp_path, image, transparency=0), tmp_path)
    assert clear.conversions == (Conversion.PALETTE, Conversion.COMPOSITED)
    assert (clear.pixels[np.asarray(image) == 0] == 255).all()


def test_cmyk(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.tif"):
        done = decode(saved(tmp_path, Image.fromarray(COLOUR).convert("CMYK"), name), tmp_path)
        assert done.pixels.shape == (6, 9, 3)
        assert done.conversions == (Conversion.CMYK,)
    assert (done.pixels == COLOUR).all()


def test_one_bit(tmp_path: Path) -> None:
    image = Image.fromarray(GREY > 128)
    done = decode(saved(tmp_path, image), tmp_path)
    assert (done.pixels[:, :, 0] == (GREY > 128) * 255).all()
    assert done.conversions == (Conversion.BILEVEL,)


def test_further_pictures_of_a_phone(tmp_path: Path) -> None:
    path = saved(
        tmp_path, Image.fromarray(COLOUR), "x.mpo", save_all=True, append_images=[Image.fromarray(255 - COLOUR)]
    )
    path = path.rename(tmp_path / "x.jpg")
    assert decode(path, tmp_path).conversions == (Conversion.FIRST_PICTURE,)


def test_notes_count_and_name_no_path() -> None:
    notes = conversion_notes(Counter({Conversion.ROTATED: 2, Conversion.CMYK: 1}))
    assert notes[0] == "2 images carried an EXIF rotation, which was applied."
    assert notes[1].startswith("1 image had CMYK")


# Fuzz


def _encoders() -> dict[str, Callable[[], Image.Image]]:
    return {
        "png": lambda: Image.fromarray(COLOUR),
        "jpeg": lambda: Image.fromarray(GREY),
        "gif": lambda: Image.fromarray(COLOUR).quantize(8),
        "bmp": lambda: Image.fromarray(COLOUR),
        "tiff": lambda: Image.fromarray(np.dstack([COLOUR, ALPHA])),
        "webp": lambda: Image.fromarray(np.dstack([COLOUR, ALPHA])),
        "ppm": lambda: Image.fromarray(GREY),
    }


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(_encoders())),
    cut=st.floats(0, 1),
    hits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=4),
)
@example(kind="png", cut=1.0, hits=[])
def test_garbled_files_raise_nothing_but_input_errors(
    tmp_path: Path, kind: str, cut: float, hits: list[tuple[float, bytes]]
) -> None:
    path = tmp_path / "x.bin"
    _encoders()[kind]().save(path, kind)
    content = bytearray(path.read_bytes())
    for place, junk in hits:
        at = int(place * (len(content) - 1))
        content[at : at + len(junk)] = junk
    path.write_bytes(content[: int(cut * len(content))])
    for read in (decode, probe, deep_sample):
        try:
            read(path, tmp_path)
        except InputError:
            continue
