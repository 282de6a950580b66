"""The coarsest light and shade: what a blur, coarse pixels or another resolution leave of an image, whichever it was.

Cosine components of images are brought to one law: the released ones by their own median and spread, the suspects by
those of the attacker's images. So brightness, contrast, and how much of each component a filter left, do not count.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy.spectrum import components, flips, spread
from privaudit.attacks.nearest_copy.surprise import surprise
from privaudit.attacks.nearest_copy.whole_image import Measure

Pixels = NDArray[np.uint8]

_SIDES = (2, 3, 4, 6, 8)
_LEAST_SPREAD = 1.5 / 255
"""Components that vary less over the release hold rounding alone."""

_NEIGHBOURS, _CLOSEST, _ROWS = 10, 1e-3, 1024


def low_frequencies(pile: Pixels, release: Pixels, own: Pixels | None) -> Measure:
    """By how much closer a suspect comes to the nearest released image than to the ten nearest of the attacker's own,
    in the lowest 2 x 2 to 8 x 8 components, in all eight orientations and as a negative: the largest surprise of all.

    own: also the last images of the pile; None: the pile serves instead.
    """
    first = 0 if own is None else len(pile) - len(own)
    values, rows = [], []
    mine, theirs = components(pile, _SIDES[-1]), components(release, _SIDES[-1])
    for side in _SIDES:
        found = _closer(mine[:, :, :side, :side], theirs[:, :, :side, :side], first)
        if found is not None:
            logs = found[0].double().numpy()
            values.append(surprise(logs, logs[first:], 0.1))
            rows.append(found[1].numpy())
    if not values:
        return Measure(np.zeros(len(pile)), np.zeros(len(pile), dtype=np.int64))
    best = np.argmax(values, axis=0)[None]
    return Measure(np.take_along_axis(np.array(values), best, 0)[0], np.take_along_axis(np.array(rows), best, 0)[0])


def _closer(pile: torch.Tensor, release: torch.Tensor, first: int) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Log ratios of squared distances, [N], and the nearest released images; None where too little is left."""
    middle, deviation = spread(release.flatten(1))
    kept = deviation > _LEAST_SPREAD
    count = int(kept.sum())
    if count < 2:
        return None
    theirs = ((release.flatten(1) - middle) / deviation.clamp_min(1e-6))[:, kept]
    least, row = torch.full((len(pile),), torch.inf), torch.zeros(len(pile), dtype=torch.int64)
    usual = torch.zeros(0)
    for number, one in enumerate(flips(pile)):
        flat = one.flatten(1)
        middle, deviation = spread(flat[first:])
        mine = ((flat - middle) / deviation.clamp_min(1e-3))[:, kept]
        if number == 0:
            usual = _usual(mine, first)
        for sign in (1.0, -1.0):
            for part in torch.split(torch.arange(len(mine)), _ROWS):
                distance, place = torch.cdist(sign * mine[part], theirs).min(1)
                better = distance < least[part]
                least[part] = torch.where(better, distance, least[part])
                row[part] = torch.where(better, place, row[part])
    return torch.log(usual / count + _CLOSEST) - torch.log(least**2 / count + _CLOSEST), row


def _usual(rows: torch.Tensor, first: int) -> torch.Tensor:
    """Mean squared distance to the ten nearest of the rows from `first` on, none of them itself."""
    others, found = rows[first:], []
    count = min(_NEIGHBOURS, len(others) - 1)
    if count < 1:
        return torch.ones(len(rows))
    for part in torch.split(torch.arange(len(rows)), _ROWS):
        distances = torch.cdist(rows[part], others)
        own = torch.nonzero(part >= first)[:, 0]
        distances[own, part[own] - first] = torch.inf
        found.append(distances.topk(count, 1, largest=False).values.square().mean(1))
    return torch.cat(found)
