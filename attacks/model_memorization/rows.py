"""Which released images are hidden, which the host is trained on, and which count how often it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_HELD_OUT, FEWEST_HELD_OUT = 1000, 10


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the release, int64. trained and held_out share none."""

    hidden: NDArray[np.int64]
    trained: NDArray[np.int64]
    held_out: NDArray[np.int64]


def drawn_rows(count: int, hidden: int, rng: np.random.Generator) -> Rows:
    """A random draw. A fifth is held out, 10 to 1,000 images, none of them hidden as far as others are left."""
    order = rng.permutation(count).astype(np.int64)
    fifth = count // 5
    kept = min(MOST_HELD_OUT, max(FEWEST_HELD_OUT, fifth)) if count >= 2 * FEWEST_HELD_OUT else fifth
    return Rows(np.sort(order[:hidden]), np.sort(order[: count - kept]), np.sort(order[count - kept :]))
