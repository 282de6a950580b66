"""Plants: known members put into the candidate, changed as a careless or cunning publisher would change them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from privaudit.filters import rounded
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


def mirrored(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Left and right exchanged."""
    return pixels[:, ::-1].copy()


def jpeg(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Compressed as JPEG of quality 60 and decoded."""
    buffer = io.BytesIO()
    _picture(pixels).save(buffer, "JPEG", quality=60)
    with Image.open(buffer) as picture:
        return _pixels(picture)


def cropped(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """A window of 7/8 of the side at a random place, enlarged to the old size."""
    height, width = pixels.shape[:2]
    rows, columns = round(height * 0.875), round(width * 0.875)
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    window = _picture(pixels).crop((left, top, left + columns, top + rows))
    return _pixels(window.resize((width, height), Image.Resampling.BICUBIC))


def blurred(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Gaussian blur, radius 0.8 px per 32 px of side."""
    return _pixels(_picture(pixels).filter(ImageFilter.GaussianBlur(0.8 * max(1.0, pixels.shape[0] / 32))))


def brightened(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Brightness x 1.25, contrast x 0.9."""
    return _pixels(ImageEnhance.Contrast(ImageEnhance.Brightness(_picture(pixels)).enhance(1.25)).enhance(0.9))


def noisy(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Gaussian noise of standard deviation 15 levels."""
    return rounded(pixels + rng.normal(0, 15, pixels.shape))


def blended(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """60 % of the member and 40 % of another released image."""
    other = others.pixels[int(rng.integers(len(others)))]
    mixed: Pixels = np.rint(0.6 * pixels + 0.4 * other).astype(np.uint8)
    return mixed


def rotated(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Turned by 3 to 15 degrees to either side; the corners become black, as most programs leave them."""
    degrees = float(rng.choice([-1, 1]) * rng.uniform(3, 15))
    return _pixels(_picture(pixels).rotate(degrees, Image.Resampling.BICUBIC))


def turned(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Turned by one, two or three quarters; an image that is not square is brought back to its size."""
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    picture = _picture(pixels).transpose(turns[int(rng.integers(3))])
    return _pixels(picture.resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BICUBIC))


def recoloured(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Hues turned by 10 to 40 degrees to either side, channels times 0.8 to 1.2; grey: a gamma of 1.3 to 1.8.

    The turn is a rotation of the colours about the grey axis.
    """
    if pixels.shape[2] == 1:
        return np.rint(255 * (pixels / 255) ** rng.uniform(1.3, 1.8)).astype(np.uint8)
    angle = np.deg2rad(rng.choice([-1, 1]) * rng.uniform(10, 40))
    axis = np.full(3, 3**-0.5)
    across = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) * np.cos(angle) + across * np.sin(angle) + np.outer(axis, axis) * (1 - np.cos(angle))
    gains = rng.uniform(0.8, 1.2, 3)
    return rounded(pixels @ turn.T * gains)


def mosaic(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Half of its 4 x 4 blocks replaced by those of another released image at the same places."""
    other = others.pixels[int(rng.integers(len(others)))]
    side = min(4, *pixels.shape[:2])
    replaced = np.zeros(side * side, dtype=np.bool_)
    replaced[rng.permutation(side * side)[: side * side // 2]] = True
    rows, columns = (np.arange(length) * side // length for length in pixels.shape[:2])
    mask = replaced.reshape(side, side)[rows[:, None], columns[None]]
    return np.where(mask[:, :, None], other, pixels)


_LETTERS = ("111 111 111 1 1", "1   1 1 1 1 1 1", "1   1 1 111  1 ", "1   1 1 1    1 ", "111 111 1    1 ")
"""A word in letters of 3 x 5 points."""


def _stamp(rows: int, columns: int) -> NDArray[np.bool_]:
    """The word, stretched to so many rows and columns, at least one of each."""
    points = np.array([[letter == "1" for letter in line] for line in _LETTERS])
    height, width = max(1, rows), max(1, columns)
    down, right = (np.arange(n) * old // n for n, old in zip((height, width), points.shape, strict=True))
    stamp: NDArray[np.bool_] = points[down[:, None], right[None]]
    return stamp


def watermarked(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """White letters on a black field in a corner, half as wide as the image and a fifth as high."""
    height, width = pixels.shape[:2]
    stamp = _stamp(round(height / 5), round(width / 2))
    rows, columns = stamp.shape
    top, left = (int(place * rng.integers(2)) for place in (height - rows, width - columns))
    marked = pixels.copy()
    marked[top : top + rows, left : left + columns] = np.where(stamp, 255, 0)[:, :, None]
    return marked


def overlaid(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """White letters of 35 % opacity across the whole image, three lines, each as wide as it."""
    height, width = pixels.shape[:2]
    line = max(1, height // 3)
    stamp = np.zeros((height, width), dtype=np.bool_)
    for top in range(0, height, line):
        rows = min(max(1, round(line * 0.7)), height - top)
        stamp[top : top + rows] = _stamp(rows, width)
    return np.where(stamp[:, :, None], np.rint(0.65 * pixels + 0.35 * 255), pixels).astype(np.uint8)


def exact(pixels: Pixels, others: Images, rng: np.random.Generator) -> Pixels:
    """Unchanged; an attack must rank it first by its own score, for lists of identical images are not asked."""
    return pixels.copy()


UNCHANGED = "exact"
"""The kind that a list of hashes finds too: it is told, and shows no power (statistical rule 1)."""

KINDS: dict[str, Change] = {
    UNCHANGED: exact,
    "mirrored": mirrored,
    "jpeg": jpeg,
    "cropped": cropped,
    "blurred": blurred,
    "brightened": brightened,
    "recoloured": recoloured,
    "noise": noisy,
    "rotated": rotated,
    "turned": turned,
    "watermarked": watermarked,
    "overlaid": overlaid,
    "blend": blended,
    "mosaic": mosaic,
}
"""Kinds of plants by name."""

SAME_LABEL = frozenset({"mosaic"})
"""Kinds that are mixed with an image of the member's class, where there is one."""


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


def planted(planting: Planting, members: Images, others: Images, rng: np.random.Generator) -> Images:
    """The planted images of one planting, in the order of its kinds; labels are the members' own.

    others: what a blend or mosaic is mixed with: the released images, as an engine that mixes images would. An image of
    the attacker's own in it would lie in the release in part, and spoil the law by which he judges what is too close.
    """
    pixels, labels = [], []
    for kind, rows in planting.rows.items():
        for row in rows:
            same = others.labels == members.labels[row]
            mixed_with = others.take(same) if kind in SAME_LABEL and same.any() else others
            pixels.append(KINDS[kind](members.pixels[row], mixed_with, rng))
        labels.append(members.labels[rows])
    return Images(np.stack(pixels), np.concatenate(labels))
