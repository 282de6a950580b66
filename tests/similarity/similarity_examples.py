"""Images and pairs with known properties."""

from __future__ import annotations

import numpy as np
import torch

from privaudit.images import Images
from privaudit.similarity import Compared, Similarities, Statistic


def noisy_pairs(
    side: int, count: int = 5, channels: int = 3, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(side)
    a = torch.rand((count, channels, side, side), generator=generator, dtype=dtype)
    noise = torch.randn(a.shape, generator=generator, dtype=dtype)
    return a, (a + 0.2 * noise).clamp(0, 1)


def source(count: int, seed: int, side: int = 12) -> Images:
    """Smooth random images: all from one source, whatever the seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 230, (count, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
    pixels = np.clip(coarse + rng.normal(0, 15, coarse.shape), 0, 255).astype(np.uint8)
    return Images(pixels, np.zeros(count, dtype=np.int64))


def found_for(found: Similarities, statistic: Statistic) -> Compared:
    compared = found.compared[statistic]
    assert compared is not None
    return compared
