"""Decode the formats that Pillow reads to uint8 [H, W, C]: hostile input is refused, odd modes are converted."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from privaudit.data.decoded import (
    MALFORMED,
    MAX_PIXELS,
    Conversion,
    Decoded,
    Header,
    Window,
    apply_window,
    checked_window,
    damaged,
    some,
    too_large,
)
from privaudit.data.picture_structure import MOST_SCANS, check_whole, has_many_scans
from privaudit.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})

_GREY = frozenset({"1", "L", "LA", "La"})
_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
_ROWS = 256


def probe(file: IO[bytes], name: str) -> Header:
    """What the image declares; refuses all that can be refused without decoding. `name` stands in messages."""
    with _opened(file, name) as image:
        width, height = image.size
        if _orientation(image, late=False) >= 5:
            width, height = height, width
        deep = image.mode in _DEEP
        return Header(height, width, 1 if deep or image.mode in _GREY else 3, deep)


def decode(file: IO[bytes], name: str, window: Window | None) -> Decoded:
    """The image as shown, once rotated and put on white; see `decoding.decode`."""
    if has_many_scans(file):
        raise InputError(
            f"'{name}' is a JPEG of more than {MOST_SCANS} scans, made to take long. Save it again, or remove it."
        )
    with _opened(file, name) as image:
        conversions: list[Conversion] = []
        if _further_pictures(image):
            conversions.append(Conversion.FIRST_PICTURE)
        turn = _orientation(image, late=True)
        if image.mode in _DEEP:
            pixels = apply_window(_deep_values(image, name), checked_window(window, name, f"mode {image.mode}"))
            conversions.append(Conversion.WINDOWED)
        else:
            pixels = _eight_bit(image, conversions)
        check_whole(file, image)
        if turn != 1:
            conversions.append(Conversion.ROTATED)
            pixels = _turned(pixels, turn)
        return Decoded(np.ascontiguousarray(pixels), tuple(conversions))


def deep_sample(file: IO[bytes], name: str, most: int) -> NDArray[np.float32] | None:
    """Values of at most `most` pixels of an image of more than 8 bits; None for others."""
    with _opened(file, name) as image:
        return some(_deep_values(image, name), most) if image.mode in _DEEP else None


@contextmanager
def _opened(file: IO[bytes], name: str) -> Iterator[Image.Image]:
    """The opened image, header read and judged; every malformed file becomes an InputError, also in the body."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                _judge(image, name)
                yield image
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise too_large(name) from error
        except UnidentifiedImageError as error:
            raise InputError(
                f"'{name}' is not an image, or not in a format that is read here. Allowed: {', '.join(FORMATS)}. "
                "Convert it to PNG or remove it."
            ) from error
        except MALFORMED as error:
            raise damaged(name) from error


def _judge(image: Image.Image, name: str) -> None:
    """Refuse what the header alone shows to be unusable."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise too_large(name)
    if width < 1 or height < 1:
        raise InputError(f"'{name}' has no pixels ({width} x {height}). Remove it.")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise InputError(
            f"'{name}' holds more than one frame (animation or pages). Only single pictures are read: "
            "save the frames as files of their own."
        )
    if image.mode not in _DEEP and _more_than_8_bits(image):
        raise InputError(
            f"'{name}' is a colour image of more than 8 bits per channel. Allowed are 8-bit colour and, with a window, "
            "16-bit grey: convert it to 8 bits."
        )


def _more_than_8_bits(image: Image.Image) -> bool:
    """Whether Pillow would silently drop bits: deep colour is decoded to 8 bits without a word."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if any(";16" in argument for argument in arguments if isinstance(argument, str)):
            return True
        if tile[0].startswith("ppm") and any(isinstance(value, int) and value > 255 for value in arguments):
            return True
    return False


def _further_pictures(image: Image.Image) -> bool:
    return image.format == "MPO" and bool(getattr(image, "is_animated", False))


def _orientation(image: Image.Image, late: bool) -> int:
    """EXIF orientation 1 to 8; `late` also looks behind the pixels (which decodes them); damaged EXIF counts as 1."""
    if not late and image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _deep_values(image: Image.Image, name: str) -> NDArray[np.float32]:
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"'{name}' has pixels that are not numbers (NaN or infinite). Repair or remove it.")
    return values


def _eight_bit(image: Image.Image, conversions: list[Conversion]) -> NDArray[np.uint8]:
    """Pixels of an 8-bit image as grey or RGB."""
    mode = image.mode
    alpha = "transparency" in image.info or mode in ("LA", "La", "PA", "RGBA", "RGBa")
    grey = mode in _GREY
    kind = {"1": Conversion.BILEVEL, "P": Conversion.PALETTE, "PA": Conversion.PALETTE, "CMYK": Conversion.CMYK}
    if mode in kind:
        conversions.append(kind[mode])
    elif mode in ("YCbCr", "LAB", "HSV"):
        conversions.append(Conversion.OTHER)
    if alpha:
        if mode in ("La", "RGBa"):
            image = image.convert("LA" if mode == "La" else "RGBA")
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        if image.getchannel("A").getextrema() == (255, 255):
            conversions.append(Conversion.OPAQUE)
        else:
            conversions.append(Conversion.COMPOSITED)
            pixels = _on_white(image)
            return pixels[:, :, :1] if grey else pixels
    image = image.convert("RGB" if alpha or not grey else "L")
    pixels = np.asarray(image, dtype=np.uint8)
    if grey:
        return pixels[:, :, :1] if pixels.ndim == 3 else pixels[:, :, None]
    return pixels


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    """RGB of an RGBA image on white, some rows at a time: whole copies of a large one would take a gigabyte."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _ROWS):
        strip = image.crop((0, top, image.width, min(top + _ROWS, image.height)))
        white = Image.new("RGBA", strip.size, "white")
        pixels[top : top + strip.height] = np.asarray(Image.alpha_composite(white, strip).convert("RGB"))
    return pixels
