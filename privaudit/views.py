"""Views of released images: soft labels may be given for each of them instead of for the image alone.

A view puts a box of another released image into an image, moves the whole, and mirrors it. What a network answers for
such views tells a student far more than its answer for the image (Shen, Xing 2022, arXiv 2112.01528). All images are
seen through the same views, so that a table of them and the answers are all that is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from privaudit.images import Images

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

    The box has a share of the area that is uniform in [0, 1] before it is cut at the edges (CutMix, Yun et al. 2019,
    arXiv 1905.04899); moves are up to an eighth of the smaller side; half are mirrored where that is wanted.
    """
    shift = max(1, min(size) // 8)
    found = np.zeros((count, len(COLUMNS)), dtype=np.int64)
    for view in found[1:]:
        side = float(np.sqrt(rng.uniform()))
        centres = [rng.uniform(0, length) for length in size]
        edges = [
            (centre - side * length / 2, centre + side * length / 2)
            for centre, length in zip(centres, size, strict=True)
        ]
        low = [max(0, round(start)) for start, _ in edges]
        high = [min(length, round(end)) for (_, end), length in zip(edges, size, strict=True)]
        moves = rng.integers(-shift, shift + 1, 2)
        view[:] = rng.integers(1, _LARGEST), *low, *high, *moves, rng.integers(0, 2) if flip else 0
    return found


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


def seen(images: Images, rows: NDArray[np.int64], views: Views, device: str) -> Tensor:
    """These rows, each through a view of its own ([len(rows), 8]), float32 [N, C, H, W] in [0, 1]."""
    from privaudit.learning.augmentation import moved
    from privaudit.learning.training import as_float

    other, top, left, bottom, right, down, across, mirrored = np.array(views).T[:, :, None, None]
    height, width, _ = images.size
    inside_rows = (np.arange(height)[:, None] >= top) & (np.arange(height)[:, None] < bottom)
    inside_columns = (np.arange(width) >= left) & (np.arange(width) < right)
    partners = (rows + other[:, 0, 0]) % len(images)
    pixels = np.where((inside_rows & inside_columns)[..., None], images.pixels[partners], images.pixels[rows])
    return moved(as_float(pixels, device), down[:, 0, 0], across[:, 0, 0], mirrored[:, 0, 0] == 1)
