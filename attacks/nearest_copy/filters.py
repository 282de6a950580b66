"""A release whose images were all blurred, or all made of coarse pixels: suspects are filtered likewise and compared.

Which filter it was shows in the release: under it the attacker's own images have the spectrum of the released ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy.spectrum import components, flips, spread
from privaudit.attacks.nearest_copy.views import some
from privaudit.attacks.nearest_copy.whole_image import Measure, best_products
from privaudit.filters import blurred, coarse

Pixels = NDArray[np.uint8]
Filter = Callable[[Pixels], Pixels]

_RADII = (0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)
_CELLS = (*range(2, 17), 18, 20, 24, 28, 32)
_MOST_LOOKED_AT, _PIXELS_LOOKED_AT = 200, 2**22
"""Images of the release, and of the attacker's own, from which the filter is guessed; and their pixel values."""

_LEVEL = 1 / 255
_SMALLEST = 1e-6
_FEWEST = 20
"""Different released images from which a filter is guessed."""

_CLOSER = 0.7
"""A filter is believed where it brings the spectra so much closer: to this share of their distance without it."""


def guessed(release: Pixels, own: Pixels) -> list[Filter]:
    """The filters under which the attacker's own images have spectra most like the release's; none: as they are.

    Of blurs two: the likeliest of usual radii, and the likeliest near it.
    """
    if len(np.unique(release, axis=0)) < _FEWEST:
        return []
    side, released, mine = min(release.shape[1:3]), _spectrum(_some_of(release)), _some_of(own)

    def distance(filter_: Filter) -> float:
        return float((_spectrum(filter_(mine)) - released).abs().mean())

    blurs = {radius: distance(partial(blurred, radius=radius)) for radius in _RADII if radius <= side / 2}
    cells = {cell: distance(partial(coarse, cell=cell)) for cell in _CELLS if cell <= side / 2}
    best = min([*blurs.values(), *cells.values()], default=np.inf)
    if best >= _CLOSER * distance(lambda pixels: pixels):
        return []
    if best in cells.values():
        return [partial(coarse, cell=min(cells, key=cells.__getitem__))]
    usual = radius = min(blurs, key=blurs.__getitem__)
    step = 2**0.25
    for _ in range(5):
        for other in (radius / step, radius * step):
            blurs[other] = distance(partial(blurred, radius=other))
        radius, step = min(blurs, key=blurs.__getitem__), step**0.5
    return [partial(blurred, radius=each) for each in dict.fromkeys((usual, radius))]


def _some_of(pixels: Pixels) -> Pixels:
    """Some images, evenly over all."""
    count = min(len(pixels), _MOST_LOOKED_AT, max(20, _PIXELS_LOOKED_AT // pixels[0].size))
    found: Pixels = pixels[np.linspace(0, len(pixels) - 1, count).astype(int)]
    return found


def _spectrum(pixels: Pixels) -> torch.Tensor:
    """Logs of the spread of each component over the images, down to that of rounding."""
    _, deviation = spread(components(pixels).flatten(1))
    return (deviation**2 + _LEVEL**2).log()


def filtered(pile: Pixels, release: Pixels, own: Pixels | None) -> Measure:
    """-log of the squared distance to the nearest released image after a guessed filter, in all eight orientations, in
    units of the spread of the release; 0 where the release is not filtered as a whole. own: None: the pile serves
    instead.
    """
    filters = guessed(release, pile if own is None else own)
    if not filters:
        return Measure(np.zeros(len(pile)), np.zeros(len(pile), dtype=np.int64))
    theirs = components(release).flatten(1)
    _, deviation = spread(theirs)
    weight = (deviation**2 + _LEVEL**2).rsqrt() / theirs.shape[1] ** 0.5
    theirs = theirs * weight
    # The largest x y - y y / 2 is the smallest distance of x to y.
    others = torch.cat([theirs, -(theirs**2).sum(1, keepdim=True) / 2], 1)
    values, rows = [], []
    for part in some(pile):
        distances, nearest = [], []
        for one in (each for filter_ in filters for each in flips(components(filter_(part)))):
            mine = one.flatten(1) * weight
            _, found = best_products(torch.cat([mine, torch.ones(len(mine), 1)], 1), others)
            distances.append((mine - theirs[found]).double().square().sum(1))
            nearest.append(found)
        least, place = torch.stack(distances).min(0)
        values.append(-torch.log(least + _SMALLEST))
        rows.append(torch.stack(nearest).gather(0, place[None])[0])
    return Measure(torch.cat(values).numpy(), torch.cat(rows).numpy())
