"""Images as they are stored, in files or embedded in a larger file, and the one array that they become."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from privaudit.data import decoding, pictures
from privaudit.data.decoded import Conversion, Decoded, Header, Window, conversion_notes
from privaudit.data.resizing import allocate, conform, most_common_size, resize_notes
from privaudit.errors import InputError

_SAMPLE = 4096


class StoredImage(Protocol):
    """An image that is not decoded yet. All methods raise InputError, naming it, for what is no ordinary picture."""

    def probe(self) -> Header:
        """What it declares."""

    def decode(self, window: Window | None) -> Decoded:
        """Its pixels."""

    def sample(self) -> NDArray[np.float32] | None:
        """Some of its values, where it has more than 8 bits."""


@dataclass(frozen=True)
class ImageFile:
    """A file of a dataset that lies in the folder `root`."""

    path: Path
    root: Path

    def probe(self) -> Header:
        """What it declares."""
        return decoding.probe(self.path, self.root)

    def decode(self, window: Window | None) -> Decoded:
        """Its pixels."""
        return decoding.decode(self.path, self.root, window)

    def sample(self) -> NDArray[np.float32] | None:
        """Some of its values, where it has more than 8 bits."""
        return decoding.deep_sample(self.path, self.root, _SAMPLE)


@dataclass(frozen=True)
class EmbeddedImage:
    """The bytes of an image file inside another file; `name` stands in messages."""

    name: str
    content: memoryview

    def probe(self) -> Header:
        """What it declares."""
        return pictures.probe(self._file(), self.name)

    def decode(self, window: Window | None) -> Decoded:
        """Its pixels."""
        return pictures.decode(self._file(), self.name, window)

    def sample(self) -> NDArray[np.float32] | None:
        """Some of its values, where it has more than 8 bits."""
        return pictures.deep_sample(self._file(), self.name, _SAMPLE)

    def _file(self) -> io.BytesIO:
        if not len(self.content):
            raise InputError(f"'{self.name}' is empty (zero bytes). Remove it or restore the image.")
        return io.BytesIO(self.content)


def decode_all(
    images: Sequence[StoredImage],
    *,
    window: Window | None = None,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
) -> tuple[NDArray[np.uint8], list[str]]:
    """Pixels of all images in order, of one size, and notes on what was converted.

    Two passes: the headers decide size (the commonest, unless given) and channels (3 where any image has colour),
    then each image is decoded into its row of one array allocated beforehand.
    """
    headers = [image.probe() for image in images]
    target = size or most_common_size(Counter((header.height, header.width) for header in headers))
    depth = channels or max(header.channels for header in headers)
    pixels = allocate(len(images), target, depth)
    conversions: Counter[Conversion] = Counter()
    sizes: Counter[tuple[int, int]] = Counter()
    depths: Counter[int] = Counter()
    for row, image in enumerate(images):
        decoded = image.decode(window)
        conversions.update(decoded.conversions)
        height, width, depth_found = decoded.pixels.shape
        sizes[height, width] += 1
        depths[depth_found] += 1
        pixels[row] = conform(decoded.pixels, target, depth)
    return pixels, conversion_notes(conversions) + resize_notes(sizes, depths, target, depth)


def window_of(images: Sequence[StoredImage], low: float = 0.5, high: float = 99.5) -> Window | None:
    """The window of the images of more than 8 bits: these two percentiles; None where there are none.

    Computed on the members and used for members, controls and release alike. Percentiles, because a few dead or
    burnt pixels would otherwise darken all images; of at most 4,096 pixels per image (a fixed random choice).
    """
    samples = [values for image in images if (values := image.sample()) is not None]
    if not samples:
        return None
    bounds = np.percentile(np.concatenate(samples), [low, high])
    start, end = float(bounds[0]), float(bounds[1])
    return (start, end) if end > start else (start, start + 1.0)
