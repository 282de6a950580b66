"""Plants: known members put into the candidate, changed as a careless or cunning publisher would change them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from privaudit.images import Images

PLANTED_UNITS = 100
LARGEST_SHARE_OF_MEMBERS = 0.2
LARGEST_SHARE_OF_RELEASE = 0.25

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels, Images, np.random.Generator], Pixels]


def _picture(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _pixels(picture: Image.Image) -> Pixels:
    array = np.asarray(picture, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def mirrored(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """Left and right exchanged."""
    return pixels[:, ::-1].copy()


def jpeg(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """Compressed as JPEG of quality 60 and decoded."""
    buffer = io.BytesIO()
    _picture(pixels).save(buffer, "JPEG", quality=60)
    with Image.open(buffer) as picture:
        return _pixels(picture)


def cropped(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """A window of 7/8 of the side at a random place, enlarged to the old size."""
    height, width = pixels.shape[:2]
    rows, columns = round(height * 0.875), round(width * 0.875)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    window = _picture(pixels).crop((left, top, left + columns, top + rows))
    return _pixels(window.resize((width, height), Image.Resampling.BICUBIC))


def blurred(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """Gaussian blur, radius 0.8 px per 32 px of side."""
    return _pixels(_picture(pixels).filter(ImageFilter.GaussianBlur(0.8 * max(1.0, pixels.shape[0] / 32))))


def brightened(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """Brightness x 1.25, contrast x 0.9."""
    return _pixels(ImageEnhance.Contrast(ImageEnhance.Brightness(_picture(pixels)).enhance(1.25)).enhance(0.9))


def noisy(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """Gaussian noise of standard deviation 15 levels."""
    return np.clip(np.rint(pixels + rng.normal(0, 15, pixels.shape)), 0, 255).astype(np.uint8)


def blended(pixels: Pixels, strangers: Images, rng: np.random.Generator) -> Pixels:
    """60 % of the member and 40 % of a stranger."""
    stranger = strangers.pixels[int(rng.integers(len(strangers)))]
    mixed: Pixels = np.rint(0.6 * pixels + 0.4 * stranger).astype(np.uint8)
    return mixed


KINDS: dict[str, Change] = {
    "mirrored": mirrored,
    "jpeg": jpeg,
    "cropped": cropped,
    "blurred": blurred,
    "brightened": brightened,
    "noise": noisy,
    "blend": blended,
}
"""Kinds of plants by name."""


@dataclass(frozen=True)
class Planting:
    """One candidate with plants: for each kind the member rows planted in it."""

    rows: dict[str, NDArray[np.int64]]


def plan(
    candidates: Sequence[int], n_release: int, rng: np.random.Generator, kinds: Sequence[str] = tuple(KINDS)
) -> list[Planting]:
    """Which members are planted, by kind, in as few candidates as possible.

    candidates: one member row per scored unit. Each kind gets 100 of them, at most 20 %; a candidate grows by at most
    a quarter, and no member is planted twice in it. Kinds without room in a small release get as many as fit.
    """
    per_kind = min(PLANTED_UNITS, int(LARGEST_SHARE_OF_MEMBERS * len(candidates)))
    room = max(1, int(LARGEST_SHARE_OF_RELEASE * n_release))
    per_kind = min(per_kind, room)
    if per_kind == 0:
        return []
    per_run = max(1, min(room, len(candidates)) // per_kind)
    plantings = []
    for start in range(0, len(kinds), per_run):
        together = kinds[start : start + per_run]
        order = rng.permutation(np.asarray(candidates, dtype=np.int64))
        plantings.append(Planting({kind: order[i * per_kind : (i + 1) * per_kind] for i, kind in enumerate(together)}))
    return plantings


def planted(planting: Planting, members: Images, strangers: Images, rng: np.random.Generator) -> Images:
    """The planted images of one planting, in the order of its kinds; labels are the members' own."""
    pixels, labels = [], []
    for kind, rows in planting.rows.items():
        pixels += [KINDS[kind](members.pixels[row], strangers, rng) for row in rows]
        labels.append(members.labels[rows])
    return Images(np.stack(pixels), np.concatenate(labels))
