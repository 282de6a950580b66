"""Blocks: how much of a suspect stands in the release, piece by piece.

Exactly: every window of a released image, mirrored too, at every alignment, is looked up among the windows of the
suspects by a 64-bit key. Nearly: each block of the suspect is correlated with the same place (or, with more effort,
with every place) of all released images, so that JPEG, noise or brightness do not hide it. Flat blocks never count.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from privaudit.attacks.nearest_copy.views import as_floats, some
from privaudit.images import images_per_block

FLAT = 8.0
"""Windows whose luma has a standard deviation at or under this many levels are not counted."""

_IMAGES_PER_BLOCK = 256
_WINDOWS_PER_SIDE = 29
_TABLE_BITS = 26
_MOST_KEYS = 2**23
_EXACT_PROJECTIONS = 3
_KEY_WEIGHTS = (0x1D8E4E27C47D124F, 0x2545F4914F6CDD1D, 0x369DEA0F31A53F85)
_ROWS_PER_PRODUCT, _RELEASED_PER_PRODUCT = 256, 8192


def stride_of(side: int, block: int) -> int:
    """Distance between the windows of a suspect that are looked up: a quarter block, at least two pixels.

    Larger images are sampled more coarsely. The windows of the release are always taken at every alignment, so that a
    copied block is met wherever it comes to lie, if it is larger than the window by the stride less one.
    """
    return max(2, block // 4, -(-(side - block) // _WINDOWS_PER_SIDE))


@lru_cache(maxsize=16)
def _exact_filters(block: int, channels: int) -> torch.Tensor:
    """Whole-number filters [P, C, block, block], so small that float32 sums of uint8 pixels stay exact."""
    count = channels * block * block
    largest = 2**24 // (255 * count)
    rng = np.random.default_rng([20610, block, channels])
    size = (_EXACT_PROJECTIONS, channels, block, block)
    weights = rng.integers(1, largest + 1, size) * rng.choice([-1, 1], size)
    return torch.from_numpy(weights).float()


def keys_of(pixels: NDArray[np.uint8], block: int, stride: int) -> torch.Tensor:
    """Keys of the windows, int64 [n, rows, columns]; equal pixels, equal keys."""
    images = as_floats(pixels).mul_(255).round_()
    projections = functional.conv2d(images, _exact_filters(block, images.shape[1]), stride=stride)
    keys = torch.zeros_like(projections[:, 0], dtype=torch.int64)
    for place, weight in enumerate(_KEY_WEIGHTS):
        keys += projections[:, place].to(torch.int64) * weight
    return keys ^ (keys >> 29)


def textured(pixels: NDArray[np.uint8], block: int, stride: int) -> torch.Tensor:
    """Which windows are not flat, bool [n, rows, columns]."""
    luma = as_floats(pixels).mean(1, keepdim=True)

    def window_mean(values: torch.Tensor) -> torch.Tensor:
        across = functional.avg_pool2d(values, (1, block), stride=(1, stride))
        return functional.avg_pool2d(across, (block, 1), stride=(stride, 1))

    mean = window_mean(luma)
    return (window_mean(luma * luma) - mean * mean)[:, 0] > (FLAT / 255) ** 2


def _found(keys: NDArray[np.int64], release: NDArray[np.uint8], block: int) -> NDArray[np.bool_]:
    """Which of the keys occur in the release, mirrored or not: by a table of their low bits first, then exactly."""
    low = (1 << _TABLE_BITS) - 1
    table = np.zeros(1 << _TABLE_BITS, dtype=bool)
    table[keys & low] = True
    likely = []
    for part in some(release, _IMAGES_PER_BLOCK):
        for pixels in (part, part[:, :, ::-1]):
            released = keys_of(pixels, block, 1).numpy().ravel()
            likely.append(released[table[released & low]])
        if sum(map(len, likely)) > _MOST_KEYS:
            likely = [np.intersect1d(np.concatenate(likely), keys)]
    present = np.unique(np.concatenate(likely))
    if len(present) == 0:
        return np.zeros(len(keys), dtype=bool)
    table[:] = False
    table[present & low] = True
    found: NDArray[np.bool_] = table[keys & low]
    candidates = keys[found]
    places = np.minimum(np.searchsorted(present, candidates), len(present) - 1)
    found[found] = present[places] == candidates
    return found


def _covered(hit: torch.Tensor, block: int, stride: int) -> torch.Tensor:
    """Area (in pixels) under at least one of the windows marked in hit [n, rows, columns]; float [n]."""
    rows, columns = ((hit.shape[axis] - 1) * stride + block for axis in (1, 2))
    full = torch.zeros(len(hit), 1, rows, columns)
    full[:, 0, : rows - block + 1 : stride, : columns - block + 1 : stride] = hit.float()
    padded = functional.pad(full, (block - 1, 0, block - 1, 0))
    across = functional.max_pool2d(padded, (1, block), stride=1)
    return functional.max_pool2d(across, (block, 1), stride=1).sum((1, 2, 3))


def share_found(suspects: NDArray[np.uint8], release: NDArray[np.uint8], block: int) -> NDArray[np.float64]:
    """Share of each suspect's textured area under a window that stands exactly so in the release; float64 [N]."""
    if block > min(*suspects.shape[1:3], *release.shape[1:3]):
        return np.zeros(len(suspects))
    stride = stride_of(max(suspects.shape[1:3]), block)
    mask = torch.cat([textured(part, block, stride) for part in some(suspects, _IMAGES_PER_BLOCK)])
    keys = torch.cat([keys_of(part, block, stride) for part in some(suspects, _IMAGES_PER_BLOCK)])[mask].numpy()
    hit = torch.zeros(mask.shape, dtype=torch.bool)
    hit[mask] = torch.from_numpy(_found(keys, release, block))
    share = np.zeros(len(suspects))
    for row in torch.split(
        torch.nonzero(hit.any(2).any(1))[:, 0], images_per_block(suspects.shape[1:], _IMAGES_PER_BLOCK)
    ):
        share[row.numpy()] = (_covered(hit[row], block, stride) / _covered(mask[row], block, stride)).numpy()
    return share


def standard_blocks(pixels: NDArray[np.uint8], top: int, left: int, block: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean-free unit rows (bfloat16) of one block of every image, and its contrast in levels."""
    rows = as_floats(pixels[:, top : top + block, left : left + block]).flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    contrast = 255 * length[:, 0] / rows.shape[1] ** 0.5
    return (rows / length.clamp_min(FLAT / 255 * rows.shape[1] ** 0.5)).bfloat16(), contrast


def likeness(
    suspects: NDArray[np.uint8], release: NDArray[np.uint8], block: int, everywhere: bool
) -> NDArray[np.float64]:
    """Mean over a suspect's textured blocks of -log(1 - r), r the best correlation with a released block.

    everywhere: compare with every alignment of the release, not with the same place only; costs (H - block + 1)^2 more.
    """
    height, width = (min(pair) for pair in zip(suspects.shape[1:3], release.shape[1:3], strict=True))
    if block > min(height, width):
        return np.zeros(len(suspects))
    blocks = list(product(range(0, height - block + 1, block), range(0, width - block + 1, block)))
    anywhere = list(product(range(height - block + 1), range(width - block + 1)))
    total, counted = torch.zeros(len(suspects)), torch.zeros(len(suspects))
    for place in blocks:
        rows, contrast = standard_blocks(suspects, *place, block)
        best = torch.zeros(len(suspects))
        for other in anywhere if everywhere else [place]:
            for part in some(release, _RELEASED_PER_PRODUCT):
                best = torch.maximum(best, _best(rows, standard_blocks(part, *other, block)[0]))
        textured = (contrast > FLAT).float()
        total -= torch.log1p(-best.clamp(max=0.999)) * textured
        counted += textured
    return np.asarray((total / counted.clamp_min(max(1.0, len(blocks) / 4))).double().numpy())


def _best(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Largest product of each row with any other row, at least 0."""
    parts = [(part @ others.T).amax(1).float() for part in torch.split(rows, _ROWS_PER_PRODUCT)]
    return torch.cat(parts).clamp_min(0)
