"""A release whose pixels had their signs flipped, as InstaHide does: compared by how far pixels are from mid-grey.

That signs hide nothing from it was shown by Carlini et al. 2021 (arXiv 2011.05315).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy import spectrum
from privaudit.attacks.nearest_copy.views import View, some
from privaudit.attacks.nearest_copy.whole_image import Measure, best_products

Pixels = NDArray[np.uint8]


def magnitudes(pixels: Pixels) -> Pixels:
    """Twice the distance from mid-grey, 1 to 255."""
    return np.abs(2 * pixels.astype(np.int16) - 255).astype(np.uint8)


def magnitude(pile: Pixels, release: Pixels, own: Pixels | None) -> Measure:
    """Best correlation of large whitened thumbnails of the magnitudes, upright and mirrored."""
    held = release if own is None else np.concatenate([release, own])
    spectrum_ = spectrum.fitted(magnitudes(held), spectrum.SEARCH_SIDE)
    released = spectrum_.of(magnitudes(release), View())
    values, rows = [], []
    for part in some(pile):
        mine = magnitudes(part)
        pairs = [best_products(spectrum_.of(mine, View(mirrored=mirrored)), released) for mirrored in (False, True)]
        (plain, place), (mirrored_value, elsewhere) = pairs
        values.append(torch.maximum(plain, mirrored_value))
        rows.append(torch.where(mirrored_value > plain, elsewhere, place))
    return Measure(torch.cat(values).double().numpy(), torch.cat(rows).numpy())
