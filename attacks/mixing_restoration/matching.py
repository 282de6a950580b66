"""How much of a suspect stands in one image that was put together: its blocks, pixel by pixel, plain ones left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.blocks import Block, numbered
from privaudit.images import Images

_COMMON = 0.02
_MOST_PAIRS = 5_000_000


def share_matched(
    suspects: Images, images: Images, own: Images, block: Block
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Largest share of each suspect's blocks that stand at their places in one of the images, float64 [N] in [0, 1];
    and the row of that image, -1: none has any.

    Blocks that more than 2 % of the attacker's own images have at the same place are plain and not counted.
    """
    theirs, made, mine = numbered([suspects.pixels, images.pixels, own.pixels], block)
    count = np.zeros(len(suspects), dtype=np.int64)
    found = [np.zeros(0, dtype=np.int64)]
    for place in np.ndindex(theirs.shape[1:]):
        stands = theirs[:, *place]
        kept, times = np.unique(mine[:, *place], return_counts=True)
        told = ~np.isin(stands, kept[times > max(1.0, _COMMON * len(own))])
        count += told
        found.append(_pairs(stands, told, made[:, *place], len(images)))
        if sum(map(len, found)) > _MOST_PAIRS:
            found = [np.concatenate(found)]
    pairs, matches = np.unique(np.concatenate(found), return_counts=True)
    suspect, image = np.divmod(pairs, max(1, len(images)))
    best, nearest = np.zeros(len(suspects)), np.full(len(suspects), -1, dtype=np.int64)
    order = np.argsort(matches, kind="stable")  # the last of equal suspects is the one with most matches
    best[suspect[order]], nearest[suspect[order]] = matches[order], image[order]
    return best / np.maximum(1, count), nearest


def _pairs(
    stands: NDArray[np.int64], told: NDArray[np.bool_], made: NDArray[np.int64], images: int
) -> NDArray[np.int64]:
    """suspect x images + image, of all with the same block here."""
    order = np.argsort(made, kind="stable")
    ranked = made[order]
    rows = np.flatnonzero(told)
    first, last = (np.searchsorted(ranked, stands[rows], side=side) for side in ("left", "right"))
    lengths = last - first
    starts = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    return np.asarray(np.repeat(rows, lengths) * images + order[starts + np.arange(lengths.sum())])
