"""Decode one image file to uint8 [H, W, C]: hostile input is refused, odd modes are converted and reported."""

from __future__ import annotations

import os
import stat
import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from privaudit.data.resizing import plural
from privaudit.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"})
MAX_PIXELS = 64 * 2**20
"""An image that declares more pixels is refused from its header."""

Window = tuple[float, float]

_GREY = frozenset({"1", "L", "LA", "La"})
_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ORIENTATION = 0x0112
# What Pillow raises on malformed files: beside OSError, whatever its parsers stumble over.
_MALFORMED = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)


class Conversion(StrEnum):
    """What was converted; the value completes the sentence 'n images ...'."""

    ROTATED = "carried an EXIF rotation, which was applied"
    COMPOSITED = "had transparent pixels, which were put on white"
    OPAQUE = "had an alpha channel without effect, which was dropped"
    CMYK = "had CMYK colours, which were converted to RGB (without their profile)"
    PALETTE = "had a colour palette and became RGB"
    BILEVEL = "had 1-bit pixels and became grey"
    OTHER = "had another colour space and became RGB"
    WINDOWED = "had more than 8 bits and were mapped through the window"
    FIRST_PICTURE = "held further pictures behind the first one, which alone was used"


@dataclass(frozen=True)
class Header:
    """What an image file declares, before any pixel is decoded: size as shown (after rotation), channels, depth."""

    height: int
    width: int
    channels: int
    deep: bool


@dataclass(frozen=True, eq=False)
class Decoded:
    """Pixels uint8 [H, W, 1 or 3] and what was converted to get them."""

    pixels: NDArray[np.uint8]
    conversions: tuple[Conversion, ...]


def conversion_notes(counts: Counter[Conversion]) -> list[str]:
    """One sentence per kind of conversion, with its count."""
    return [f"{plural(counts[kind], 'image')} {kind.value}." for kind in Conversion if counts[kind]]


def shown_name(path: Path, root: Path) -> str:
    """The name relative to the dataset's folder, safe to print."""
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def check_inside(path: Path, root: Path) -> None:
    """Raise InputError for what is not a regular file or folder inside the dataset's folder."""
    try:
        real = os.path.realpath(path, strict=True)
        mode = os.stat(real).st_mode
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{shown_name(path, root)}' cannot be opened ({type(error).__name__}). Remove it or repair the link."
        ) from error
    base = os.path.join(os.path.realpath(root), "")
    if not os.path.join(real, "").startswith(base):
        raise InputError(
            f"'{shown_name(path, root)}' is a link to a place outside the dataset's folder. Only files inside the "
            "folder are read: copy the file into the folder."
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"'{shown_name(path, root)}' is neither a file nor a folder (a pipe or a device). Remove it.")


def probe(path: Path, root: Path) -> Header:
    """What the file declares; refuses all that can be refused without decoding."""
    with _opened(path, root) as image:
        width, height = image.size
        if _orientation(image, late=False) >= 5:
            width, height = height, width
        deep = image.mode in _DEEP
        return Header(height, width, 1 if deep or image.mode in _GREY else 3, deep)


def decode(path: Path, root: Path, window: Window | None = None) -> Decoded:
    """Decode one file of the dataset in `root`; not safe to call from several threads at once (Python's warnings).

    window: the grey values shown as black and white; used for images of more than 8 bits only, which are refused
    without it. Raises InputError for everything else that is not one ordinary picture.
    """
    with _opened(path, root) as image:
        conversions: list[Conversion] = []
        if _further_pictures(image):
            conversions.append(Conversion.FIRST_PICTURE)
        turn = _orientation(image, late=True)
        if image.mode in _DEEP:
            pixels = apply_window(_deep_values(image, shown_name(path, root)), _checked(window, path, root, image.mode))
            conversions.append(Conversion.WINDOWED)
        else:
            pixels = _eight_bit(image, conversions)
        if turn != 1:
            conversions.append(Conversion.ROTATED)
            pixels = _turned(pixels, turn)
        return Decoded(np.ascontiguousarray(pixels), tuple(conversions))


def deep_sample(path: Path, root: Path, most: int = 4096) -> NDArray[np.float32] | None:
    """Values of at most `most` pixels of an image of more than 8 bits (a fixed random choice); None for others."""
    with _opened(path, root) as image:
        if image.mode not in _DEEP:
            return None
        values = _deep_values(image, shown_name(path, root)).ravel()
        if values.size > most:
            values = values[np.random.default_rng(0).integers(0, values.size, most)]
        return values


def apply_window(values: NDArray[np.float32], window: Window) -> NDArray[np.uint8]:
    """Map grey values [H, W] linearly, low to 0 and high to 255, clipped and rounded: uint8 [H, W, 1]."""
    low, high = window
    scaled = np.clip((values.astype(np.float64) - low) / (high - low) * 255, 0, 255)
    return np.rint(scaled).astype(np.uint8)[:, :, None]


@contextmanager
def _opened(path: Path, root: Path) -> Iterator[Image.Image]:
    """The opened image, header read and judged; every malformed file becomes an InputError, also in the body."""
    check_inside(path, root)
    name = shown_name(path, root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            if path.stat().st_size == 0:
                raise InputError(f"'{name}' is empty (zero bytes). Remove it or restore the image.")
            with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
                _judge(image, name)
                yield image
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise _too_large(name) from error
        except UnidentifiedImageError as error:
            raise InputError(
                f"'{name}' is not an image, or not in a format that is read here. Allowed: {', '.join(FORMATS)}. "
                "Convert it to PNG or remove it."
            ) from error
        except _MALFORMED as error:
            raise InputError(
                f"'{name}' is truncated or damaged: it cannot be decoded completely. Restore it or remove it."
            ) from error


def _too_large(name: str) -> InputError:
    return InputError(
        f"'{name}' declares more than {MAX_PIXELS:,} pixels, the most that is decoded. "
        "Resize it before the audit, or remove it."
    )


def _judge(image: Image.Image, name: str) -> None:
    """Refuse what the header alone shows to be unusable."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(name)
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


def _checked(window: Window | None, path: Path, root: Path, mode: str) -> Window:
    if window is None:
        raise InputError(
            f"'{shown_name(path, root)}' has more than 8 bits per pixel (mode {mode}), and its values have no fixed "
            "scale. Give a window (--window), the values to be shown as black and white: members, controls and release "
            "must use the same one. Or convert all images to 8 bits."
        )
    if not (np.isfinite(window).all() and window[0] < window[1]):
        raise InputError(f"A window needs two numbers, low < high; found {window[0]} and {window[1]}.")
    return window


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
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() == (255, 255):
            conversions.append(Conversion.OPAQUE)
        else:
            conversions.append(Conversion.COMPOSITED)
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("RGB" if alpha or not grey else "L")
    pixels = np.asarray(image, dtype=np.uint8)
    if grey:
        return pixels[:, :, :1] if pixels.ndim == 3 else pixels[:, :, None]
    return pixels
