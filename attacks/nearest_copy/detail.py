"""Fine detail: large whitened thumbnails, in which strangers share least.

They find what only a part of a copy shows, such as a copy mixed with a stranger, where it lies just over its original:
as it is, mirrored, or brought over it before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy import spectrum
from privaudit.attacks.nearest_copy.views import View, all_of, as_floats, seen, some
from privaudit.attacks.nearest_copy.whole_image import Aligned, Measure, best_products
from privaudit.images import images_per_block

_NEIGHBOURS = 10


def detail(
    pile: NDArray[np.uint8], release: NDArray[np.uint8], own: NDArray[np.uint8] | None, aligned: Sequence[Aligned]
) -> Measure:
    """By how much the best correlation of large whitened thumbnails exceeds the ten best with images of his own.

    Plain images correlate with many. Compared are the image as it is, mirrored, and in the aligned pairs. own: the
    attacker's images, which are also the last ones of the pile, and are not compared with themselves; None: the ten
    best after the first in the release serve instead.
    """
    spectrum_ = spectrum.fitted(all_of(release, own), spectrum.SEARCH_SIDE)
    released = spectrum_.of(release, View())
    others = released if own is None else spectrum_.of(own, View())
    count = min(_NEIGHBOURS, len(others) - 1)
    values, rows, commons = [], [], []
    first = len(pile) - (0 if own is None else len(own))
    for number, pixels in enumerate(some(pile)):
        planes = spectrum.planes(as_floats(pixels))
        plain = spectrum_(planes, View())
        best, found = best_products(plain, released)
        mirrored, elsewhere = best_products(spectrum_(planes, View(mirrored=True)), released)
        if count > 0:
            products = (plain @ others.T).float()
            if own is None:
                usual = products.topk(count + 1, 1).values[:, 1:].mean(1)
            else:
                place = number * images_per_block(pile.shape[1:]) + torch.arange(len(plain)) - first
                same = torch.nonzero(place >= 0)[:, 0]
                products[same, place[same]] = -1
                usual = products.topk(count, 1).values.mean(1)
        else:
            usual = torch.zeros(len(plain))
        values.append(torch.maximum(best, mirrored) - usual)
        rows.append(torch.where(mirrored > best, elsewhere, found))
        commons.append(usual)
    value, row, common = torch.cat(values), torch.cat(rows), torch.cat(commons)
    for pairs in aligned:
        for part in torch.split(torch.arange(len(pairs.rows)), images_per_block(pile.shape[1:])):
            mine, theirs = pairs.rows[part], pairs.released[part]
            images = seen(as_floats(pile[mine.numpy()]), pairs.maps[part], pairs.black)
            products = (spectrum_(spectrum.planes(images), View()).float() * released[theirs].float()).sum(1)
            better = products - common[mine] > value[mine]
            value[mine[better]], row[mine[better]] = (products - common[mine])[better], theirs[better]
    return Measure(value.double().numpy(), row.numpy())
