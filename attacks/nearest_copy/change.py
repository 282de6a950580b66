"""Was the release changed as a whole? Measures that see through such changes cost power where there was none."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy.spectrum import components

Pixels = NDArray[np.uint8]

_SIDE, _IMAGES = 8, 400
"""Lowest components compared, and images of each side."""

_SPLITS, _FACTOR = 49, 1.5
"""The difference counts as a change where it is so many times the largest of so many random splits of all images."""

_LEVEL = 1.5 / 255


def changed_as_a_whole(release: Pixels, own: Pixels, rng: np.random.Generator) -> bool:
    """Whether means or spreads of the lowest cosine components tell the release from the attacker's own images.

    Membership has no part in it. A few changed images among others do not count, unless they are far from all images,
    nor does a change that leaves light and shade where they are, such as recompression: images stay like themselves.
    """
    sides = [components(_some_of(pixels, rng), _SIDE).flatten(1) for pixels in (release, own)]
    both, count = torch.cat(sides), len(sides[0])
    if min(map(len, sides)) < 2:
        return True
    seen = _difference(both[:count], both[count:])
    orders = [torch.from_numpy(rng.permutation(len(both))) for _ in range(_SPLITS)]
    chance = torch.stack([_difference(both[order[:count]], both[order[count:]]) for order in orders])
    return bool((seen > _FACTOR * chance.max(0).values).any())


def _some_of(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    found: Pixels = pixels[rng.permutation(len(pixels))[:_IMAGES]]
    return found


def _difference(ones: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Mean squares of the differences of means, in spreads, and of the logs of spreads."""
    variances = [part.var(0) + _LEVEL**2 for part in (ones, others)]
    means = (ones.mean(0) - others.mean(0)) / ((variances[0] + variances[1]) / 2).sqrt()
    spreads = (variances[0] / variances[1]).log() / 2
    return torch.stack([means.square().mean(), spreads.square().mean()])
