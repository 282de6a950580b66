"""From which released image the blocks of a suspect come: for the few suspects whose pairs may be looked at."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy.blocks import FLAT, keys_of, standard_blocks, stride_of, textured
from privaudit.attacks.nearest_copy.views import some
from privaudit.images import images_per_block

_IMAGES_PER_BLOCK = 256


def exact_source(suspects: NDArray[np.uint8], release: NDArray[np.uint8], block: int) -> NDArray[np.int64]:
    """The released image, mirrored or not, that holds most of each suspect's windows exactly; int64 [N], -1: none."""
    if block > min(*suspects.shape[1:3], *release.shape[1:3]):
        return np.full(len(suspects), -1)
    stride = stride_of(max(suspects.shape[1:3]), block)
    mask = textured(suspects, block, stride)
    pairs = np.stack([keys_of(suspects, block, stride)[mask].numpy(), torch.nonzero(mask)[:, 0].numpy()])
    keys, owners = np.unique(pairs, axis=1)  # each key once per suspect, sorted by key
    held = np.zeros((len(suspects), len(release)), dtype=np.int32)
    step = images_per_block(release.shape[1:], _IMAGES_PER_BLOCK)
    for first in range(0, len(release) if len(keys) else 0, step):
        part = release[first : first + step]
        for pixels in (part, part[:, :, ::-1]):
            windows = keys_of(pixels, block, 1).flatten(1).numpy()
            place = np.minimum(np.searchsorted(keys, windows), len(keys) - 1)
            image, column = np.nonzero(keys[place] == windows)
            found = np.unique(np.stack([place[image, column], image]), axis=1)
            # A key may belong to several suspects: they stand side by side.
            ends = np.searchsorted(keys, keys[found[0]], side="right")
            each = ends - found[0]
            offsets = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
            np.add.at(held, (owners[np.repeat(found[0], each) + offsets], first + np.repeat(found[1], each)), 1)
    return np.where(held.any(axis=1), held.argmax(axis=1), -1)


def likely_source(
    suspects: NDArray[np.uint8], release: NDArray[np.uint8], block: int, everywhere: bool
) -> NDArray[np.int64]:
    """The released image whose blocks are most like each suspect's; int64 [N]. everywhere: as in `blocks.likeness`."""
    height, width = (min(pair) for pair in zip(suspects.shape[1:3], release.shape[1:3], strict=True))
    if block > min(height, width):
        return np.full(len(suspects), -1)
    tops, lefts = range(0, height - block + 1, block), range(0, width - block + 1, block)
    anywhere = list(product(range(height - block + 1), range(width - block + 1)))
    parts = []
    for part in some(release, _IMAGES_PER_BLOCK):
        total = torch.zeros(len(suspects), len(part))
        for place in product(tops, lefts):
            rows, contrast = standard_blocks(suspects, *place, block)
            best = torch.zeros(len(suspects), len(part))
            for other in anywhere if everywhere else [place]:
                best = torch.maximum(best, (rows @ standard_blocks(part, *other, block)[0].T).float())
            total -= torch.log1p(-best.clamp(max=0.999)) * (contrast > FLAT).float()[:, None]
        parts.append(total)
    return torch.cat(parts, 1).argmax(1).numpy()
