"""Which values an image's pixels have, wherever they stand: what a shuffle of pixels or blocks leaves alone."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy.views import some
from privaudit.attacks.nearest_copy.whole_image import Measure

Pixels = NDArray[np.uint8]

_POINTS = 64
_CLOSEST = 0.1


def histograms(pile: Pixels, release: Pixels) -> Measure:
    """-log of the mean squared difference of the sorted pixel values, in levels, at 64 places of each channel."""
    mine, theirs = _sorted(pile), _sorted(release)
    values, rows = [], []
    for part in torch.split(mine, 1024):
        distance, row = torch.cdist(part, theirs).min(1)
        values.append(-torch.log(distance.double() ** 2 / mine.shape[1] + _CLOSEST))
        rows.append(row)
    return Measure(torch.cat(values).numpy(), torch.cat(rows).numpy())


def _sorted(pixels: Pixels) -> torch.Tensor:
    parts = []
    for part in some(pixels):
        flat = np.sort(part.reshape(len(part), -1, part.shape[3]), axis=1)
        places = np.linspace(0, flat.shape[1] - 1, _POINTS).astype(int)
        parts.append(torch.from_numpy(flat[:, places].reshape(len(part), -1).astype(np.float32)))
    return torch.cat(parts)
