"""A release whose pixels had their signs flipped, as InstaHide does: compared by how far pixels are from mid-grey.

That signs hide nothing from it was shown by Carlini et al. 2021 (arXiv 2011.05315).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy import spectrum
from privaudit.attacks.nearest_copy.views import View, all_of, some
from privaudit.attacks.nearest_copy.whole_image import Measure, best_products

Pixels = NDArray[np.uint8]


def magnitudes(pixels: Pixels) -> Pixels:
    """Twice the distance from mid-grey, 1 to 255."""
    return np.abs(2 * pixels.astype(np.int16) - 255).astype(np.uint8)


def magnitude(pile: Pixels, release: Pixels, own: Pixels | None) -> Measure:
    """Best correlation of large whitened thumbnails of the magnitudes, upright and mirrored."""
    spectrum_ = spectrum.fitted(map(magnitudes, all_of(release, own)), spectrum.SEARCH_SIDE)
    released = torch.cat([spectrum_.of(magnitudes(part), View()) for part in some(release)])
    values, rows = [], []
    for part in some(pile):
        mine = magnitudes(part)
        pairs = [best_products(spectrum_.of(mine, View(mirrored=mirrored)), released) for mirrored in (False, True)]
        (plain, place), (mirrored_value, elsewhere) = pairs
        values.append(torch.maximum(plain, mirrored_value))
        rows.append(torch.where(mirrored_value > plain, elsewhere, place))
    return Measure(torch.cat(values).double().numpy(), torch.cat(rows).numpy())
