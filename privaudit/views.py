"""Views of released images: soft labels may be given for each of them instead of for the image alone.

A view puts a box of another released image into an image, moves the whole, and mirrors it. What a network answers for
such views tells a student far more than its answer for the image (Shen, Xing 2022, arXiv 2112.01528). All images are
seen through the same views, so that a table of them and the answers are all that is kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError

Views = NDArray[np.int64]
"""[views, 8], a view each: `other`, `top`, `left`, `bottom`, `right`, `down`, `across`, `mirrored`.

The pixels of rows `top` to `bottom` and columns `left` to `right` (the ends left out) are those of the image that comes
`other` rows later in the release (after the last comes the first); then all is moved `down`, and `across` to the right,
by so many pixels, zeros come in; then mirrored where `mirrored` is 1. The first view is the image as it is.
"""

COLUMNS = ("other", "top", "left", "bottom", "right", "down", "across", "mirrored")
MOST_VIEWS = 4096
_LARGEST = 2**31


def drawn(count: int, size: tuple[int, int], flip: bool, rng: np.random.Generator) -> Views:
    """So many views of images of this height and width: the image as it is, then random ones.

    Boxes are those of `random_box`, moves up to an eighth of the smaller side; half are mirrored where that is wanted.
    """
    shift = max(1, min(size) // 8)
    found = np.zeros((count, len(COLUMNS)), dtype=np.int64)
    for view in found[1:]:
        box = random_box(size, rng)
        moves = rng.integers(-shift, shift + 1, 2)
        view[:] = rng.integers(1, _LARGEST), *box, *moves, rng.integers(0, 2) if flip else 0
    return found


def random_box(size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Top, left, bottom and right (the ends left out) of a box in images of this height and width.

    Its centre is anywhere, its share of the area uniform in [0, 1] before it is cut at the edges (CutMix, Yun et al.
    2019, arXiv 1905.04899).
    """
    side = float(np.sqrt(rng.uniform()))
    edges = [(rng.uniform(0, length), side * length / 2, length) for length in size]
    top, left = (max(0, round(centre - half)) for centre, half, _ in edges)
    bottom, right = (min(length, round(centre + half)) for centre, half, length in edges)
    return top, left, bottom, right


def soft_label_shape(images: int, views: Views | None, classes: int) -> tuple[int, ...]:
    """(images, classes), or with views (images, views, classes)."""
    return (images, classes) if views is None else (images, len(views), classes)


def checked(views: NDArray[Any], shape: tuple[int, ...]) -> Views:
    """Views as int64. shape: of the soft labels, [N, views, classes].

    Raises InputError unless they are whole numbers in their ranges, as many as the soft labels are for, and the first
    one leaves the image as it is.
    """
    if views.dtype.kind not in "iu" or views.ndim != 2 or views.shape[1] != len(COLUMNS):
        raise InputError(
            f"Views are {views.dtype} of shape {views.shape}; needed are whole numbers of shape (views, "
            f"{len(COLUMNS)}): {', '.join(COLUMNS)}."
        )
    if len(shape) != 3 or len(views) != shape[1] or not 0 < len(views) <= MOST_VIEWS:
        raise InputError(
            f"There are {len(views)} views for soft labels of shape {shape}; needed are soft labels of shape (images, "
            f"views, classes), and at most {MOST_VIEWS:,} views."
        )
    found = views.astype(np.int64)
    if (
        (found[:, :5] < 0).any()
        or (found > _LARGEST).any()
        or (found < -_LARGEST).any()
        or not np.isin(found[:, 7], (0, 1)).all()
    ):
        raise InputError("In the views, a box has a negative corner, or `mirrored` is neither 0 nor 1.")
    top, left, bottom, right = found[0, 1:5]
    if found[0, 5:].any() or (bottom > top and right > left):
        raise InputError("The first view must be the image as it is: no box, not moved, not mirrored.")
    return found
