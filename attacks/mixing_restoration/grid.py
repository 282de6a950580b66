"""The grid of a release that was mixed of blocks, read off the release: where equal regions of two images end."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images

_PER_CLASS, _CLASSES, _PAIRS_PER_CLASS = 2000, 10, 300
_PATCH = 3
_PLACES = 5
_COMMON = 0.05
_FEWEST_VOTES = 10
_CUT_SHARE = 0.5
_MIXED_SHARE, _FEWEST_MIXED = 0.02, 10


def block_size(images: Images) -> tuple[int, int] | None:
    """Height and width in pixels of the blocks that images of one class have in common; None where there are none.

    Only what few images of the class have at a place is counted: a black background is common to images that share
    nothing. None too where whole images are equal, where hardly any images share anything, and where the places
    at which equal regions end fit no grid.
    """
    height, width = images.size[:2]
    if min(height, width) < _PATCH:
        return None
    goes_on = np.zeros(height, dtype=np.int64), np.zeros(width, dtype=np.int64)
    ends = np.zeros(height, dtype=np.int64), np.zeros(width, dtype=np.int64)
    sharing = looked_at = 0
    for label in np.unique(images.labels)[:_CLASSES]:
        rows = np.flatnonzero(images.labels == label)[:_PER_CLASS]
        values = _one_number_each(np.unique(images.pixels[rows], axis=0))
        pairs = _sharing(values)
        looked_at, sharing = looked_at + len(values), sharing + len(np.unique(pairs))
        pairs = pairs[:: max(1, len(pairs) // _PAIRS_PER_CLASS)]
        rare = _rare(values)[pairs[:, 0]]
        same = (values[pairs[:, 0]] == values[pairs[:, 1]]) & rare
        for axis in (0, 1):
            equal, differs = (np.moveaxis(part, axis + 1, 1) for part in (same, rare & ~same))
            # Two equal pixels in a row: is the next one equal too, one way and the other?
            run = equal[:, 1:] & equal[:, :-1]
            goes_on[axis][2:] += (run[:, :-1] & equal[:, 2:]).sum(axis=(0, 2))
            ends[axis][2:] += (run[:, :-1] & differs[:, 2:]).sum(axis=(0, 2))
            goes_on[axis][1:-1] += (run[:, 1:] & equal[:, :-2]).sum(axis=(0, 2))
            ends[axis][1:-1] += (run[:, 1:] & differs[:, :-2]).sum(axis=(0, 2))
    if sharing < max(_FEWEST_MIXED, _MIXED_SHARE * looked_at):
        return None
    tall, wide = (_period(ends[axis], goes_on[axis]) for axis in (0, 1))
    return None if tall is None or wide is None or (tall, wide) == (height, width) else (tall, wide)


def _one_number_each(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """A pixel of one or three channels as one number, [N, H, W]."""
    found = np.zeros(pixels.shape[:3], dtype=np.int64)
    for channel in range(pixels.shape[3]):
        found = found * 256 + pixels[..., channel]
    return found


def _sharing(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of images with an equal patch at one place that few of the others have, int64 [pairs, 2]."""
    found = [np.zeros((0, 2), dtype=np.int64)]
    count, height, width = values.shape
    last = height - _PATCH, width - _PATCH
    few, every = ([np.unique(np.linspace(0, side, number).astype(int)) for side in last] for number in (_PLACES, 10**3))
    places = {place for some in ((few[0], every[1]), (every[0], few[1])) for place in product(*some)}
    weights = np.random.default_rng(0).integers(1, 2**62, _PATCH**2) | 1
    for top, left in sorted(places):
        patch = values[:, top : top + _PATCH, left : left + _PATCH].reshape(count, -1)
        _, number, counts = np.unique(patch @ weights, return_inverse=True, return_counts=True)
        alike = np.flatnonzero((counts[number] > 1) & (counts[number] <= max(3, _COMMON * count)))
        order = alike[np.argsort(number[alike], kind="stable")]
        same = number[order[1:]] == number[order[:-1]]
        found.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _rare(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels have a value that few of these images have there, bool [N, H, W]."""
    flat = values.reshape(len(values), -1)
    found = np.empty(flat.shape, dtype=bool)
    for column in range(flat.shape[1]):
        _, number, counts = np.unique(flat[:, column], return_inverse=True, return_counts=True)
        found[:, column] = counts[number] <= max(3, _COMMON * len(values))
    return found.reshape(values.shape)


def _period(ends: NDArray[np.int64], goes_on: NDArray[np.int64]) -> int | None:
    """The length of a block: every so many pixels equal regions end, and nowhere else; None where that is not so."""
    votes = ends + goes_on
    judged = {place for place in range(1, len(votes)) if votes[place] >= _FEWEST_VOTES}
    cuts = {place for place in judged if ends[place] > _CUT_SHARE * votes[place]}
    if not judged or not cuts:
        return len(votes) if judged else None
    length = math.gcd(*cuts)
    # Where pixels are equal by chance, an equal pair ends everywhere: that is no grid.
    return length if length >= _PATCH and cuts == judged & set(range(length, len(votes), length)) else None
