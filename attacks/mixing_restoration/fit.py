"""How well two blocks fit side by side: the odds that they come of one image, learned on the attacker's own images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import PolynomialFeatures

from privaudit.blocks import Block
from privaudit.images import Images

Floats = NDArray[np.float32]

_CUTS_PER_IMAGE = 12
_MOST_PAIRS = 30_000
_CHUNK = 4_000_000
_LARGEST = 8.0


@dataclass(frozen=True, eq=False)
class Fit:
    """Logarithm of p(features | neighbours in one image) / p(features | neighbours of two images of one class).

    The features of a seam, after work on jigsaw puzzles (Gallagher 2012, Mahalanobis gradient compatibility): how far
    the two edges are apart, as they are and continued by their own slope; how rough both are; and how far mean, colour
    and contrast of the two blocks are apart. A logistic regression of second degree weighs them.
    """

    middle: Floats
    spread: Floats
    square: Floats
    linear: Floats
    constant: float

    @classmethod
    def learned(cls, images: Images, block: Block, rng: np.random.Generator) -> Fit:
        """From cuts at random places of these images, of which each class has at least two. block: height, width."""
        height, width = (min(side, length) for side, length in zip(images.size[:2], block, strict=True))
        pixels = np.divide(images.pixels, 255, dtype=np.float32)
        rows_down, cuts = images.size[0] - height, images.size[1] - width
        same, other = [], []
        for _ in range(min(_CUTS_PER_IMAGE, max(1, _MOST_PAIRS // len(images)))):
            top, cut = int(rng.integers(rows_down + 1)), int(rng.integers(1, cuts + 1)) + width - 1
            left = pixels[:, top : top + height, max(0, cut - width) : cut]
            right = pixels[:, top : top + height, cut : cut + width]
            same.append(_along(_parts(left, True), _parts(right, False)))
            other.append(_along(_parts(left, True), _parts(right[_strangers(images.labels, rng)], False)))
        found = np.concatenate(same + other)
        truth = np.repeat([True, False], len(found) // 2)
        middle, spread = found.mean(0), found.std(0) + 1e-6
        powers = PolynomialFeatures(2, include_bias=False)
        model = LogisticRegression(max_iter=300).fit(powers.fit_transform((found - middle) / spread), truth)
        count, weights = found.shape[1], model.coef_[0]
        square = np.zeros((count, count), dtype=np.float32)
        for weight, degrees in zip(weights[count:], powers.powers_[count:], strict=True):
            first, *rest = np.repeat(np.arange(count), degrees)
            square[first, rest[0]] = weight
        return cls(middle, spread, square, weights[:count].astype(np.float32), float(model.intercept_[0]))

    def log_odds(self, left: Floats, right: Floats) -> Floats:
        """Of every left block with every right one, [n, m], at most 8 either way. left, right: [n or m, H, W, C]."""
        found = np.empty((len(left), len(right)), dtype=np.float32)
        theirs = _parts(right, False)
        rows = max(1, _CHUNK // (len(self.middle) * max(1, len(right))))
        for start in range(0, len(left), rows):
            mine = _parts(left[start : start + rows], True)
            features = (_crossed(mine, theirs) - self.middle) / self.spread
            bent = np.einsum("nmf,nmf->nm", features @ self.square, features)
            found[start : start + rows] = bent + features @ self.linear + self.constant
        return np.clip(found, -_LARGEST, _LARGEST)


def _strangers(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each image another one of its class."""
    found = np.arange(len(labels))
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        found[rows] = np.roll(rows, 1)
    return found


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the features are made of: rows whose squared distances are taken, and the roughness of the edge."""

    vectors: tuple[Floats, ...]
    rough: Floats


_SMALL = (1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-4)


def _parts(blocks: Floats, is_left: bool) -> _Parts:
    edge, inner = (blocks[:, :, -1], blocks[:, :, -2:-1]) if is_left else (blocks[:, :, 0], blocks[:, :, 1:2])
    inner = inner[:, :, 0] if inner.shape[2] else edge
    slope = edge - inner
    size = np.sqrt(np.float32(edge[0].size))
    mean = blocks.mean(axis=(1, 2))
    colour = mean - mean.mean(1, keepdims=True)
    # The left edge continued by one pixel against the right one as it is, and the other way round.
    continued = (edge + slope, edge) if is_left else (edge, edge + slope)
    halfway = edge + slope / 2
    vectors = [*(part.reshape(len(blocks), -1) / size for part in (edge, *continued, halfway)), mean, colour]
    vectors.append(blocks.std(axis=(1, 2)))
    return _Parts(tuple(vectors), np.log(1e-4 + (slope**2).mean(axis=(1, 2))))


def _along(left: _Parts, right: _Parts) -> Floats:
    """Features of left block i with right block i, [n, features]."""
    squares = [((a - b) ** 2).sum(1) for a, b in zip(left.vectors, right.vectors, strict=True)]
    found = [np.log(small + square) for small, square in zip(_SMALL, squares, strict=True)]
    return np.stack([*found, left.rough + right.rough, np.abs(left.rough - right.rough)], axis=-1).astype(np.float32)


def _crossed(left: _Parts, right: _Parts) -> Floats:
    """Features of every left block with every right one, [n, m, features]."""
    found = []
    for small, a, b in zip(_SMALL, left.vectors, right.vectors, strict=True):
        square = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
        found.append(np.log(small + np.maximum(square, 0)))
    rough, other = left.rough[:, None], right.rough[None]
    return np.stack([*found, rough + other, np.abs(rough - other)], axis=-1)
