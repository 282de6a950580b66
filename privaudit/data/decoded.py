"""What decoding gives: pixels, what was converted to get them, and the errors of images that cannot be decoded."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from privaudit.data.resizing import plural
from privaudit.errors import InputError

MAX_PIXELS = 64 * 2**20
"""An image that declares more pixels is refused from its header."""

_ROWS = 256

Window = tuple[float, float]

# What image libraries raise on malformed files: beside OSError, whatever their parsers stumble over.
MALFORMED = (
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
    OWN_WINDOW = "in DICOM were mapped each through the window in its own file (VOI); --window maps all through one"
    RESCALED = "had a DICOM rescale slope and intercept, which were applied before the window"
    INVERTED = "had inverted grey (MONOCHROME1), which was turned"
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


def apply_window(values: NDArray[np.floating], window: Window) -> NDArray[np.uint8]:
    """Map grey values [H, W] linearly, low to 0 and high to 255, clipped and rounded: uint8 [H, W, 1]."""
    low, high = window
    pixels = np.empty((*values.shape, 1), np.uint8)
    for top in range(0, len(values), _ROWS):  # whole copies of a large image in float64 would take gigabytes
        scaled = np.clip((values[top : top + _ROWS].astype(np.float64) - low) / (high - low) * 255, 0, 255)
        pixels[top : top + _ROWS, :, 0] = np.rint(scaled)
    return pixels


def checked_window(window: Window | None, name: str, kind: str) -> Window:
    """The window for an image of more than 8 bits. Raises InputError where there is none or it is empty."""
    if window is None:
        raise InputError(
            f"'{name}' has more than 8 bits per pixel ({kind}), and its values have no fixed "
            "scale. Give a window (--window), the values to be shown as black and white: members, controls and release "
            "must use the same one. Or convert all images to 8 bits."
        )
    if not (np.isfinite(window).all() and window[0] < window[1]):
        raise InputError(f"A window needs two numbers, low < high; found {window[0]} and {window[1]}.")
    return window


def some(values: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most `most` of the values: a fixed random choice, with repetition."""
    values = values.ravel()
    return values if values.size <= most else values[np.random.default_rng(0).integers(0, values.size, most)]


def too_large(name: str) -> InputError:
    """The error for an image that declares too many pixels."""
    return InputError(
        f"'{name}' declares more than {MAX_PIXELS:,} pixels, the most that is decoded. "
        "Resize it before the audit, or remove it."
    )


def damaged(name: str) -> InputError:
    """The error for an image that breaks off or contradicts itself."""
    return InputError(f"'{name}' is truncated or damaged: it cannot be decoded completely. Restore it or remove it.")
