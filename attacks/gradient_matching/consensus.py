"""What several restarts agree on: their mean after they were shifted onto each other (Yin et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

_EVERY = 25
_FROM = 0.25
"""Share of the steps after which restarts are compared: before, there is little to agree on."""


def due(step: int, steps: int) -> bool:
    """Whether the consensus is taken anew before this step."""
    return step >= _FROM * steps and step % _EVERY == 0


def best_shift(images: Tensor, onto: Tensor) -> Tensor:
    """Rows and columns by which each image is rolled to lie best on `onto`: int64 [N, 2]; both [N, C, H, W].

    The largest place of the circular cross-correlation, by its Fourier transform; images are centred first.
    """
    height, width = images.shape[2:]
    centred, wanted = (part - part.mean((2, 3), keepdim=True) for part in (images, onto))
    product = torch.fft.rfft2(wanted) * torch.fft.rfft2(centred).conj()
    correlation = torch.fft.irfft2(product, s=(height, width)).sum(1)
    place = correlation.flatten(1).argmax(1)
    return torch.stack([place // width, place % width], 1)


def rolled(images: Tensor, shifts: Tensor) -> Tensor:
    """Each image [N, C, H, W] rolled by its rows and columns [N, 2]."""
    parts = [torch.roll(image, shift, (1, 2)) for image, shift in zip(images, shifts.tolist(), strict=True)]
    return torch.stack(parts)


def consensus(starts: Tensor, cost: Tensor) -> Tensor:
    """Mean over restarts, each shifted onto the cheapest one of its victim: [victims, batch size, C, H, W].

    starts: [restarts, victims, batch size, C, H, W]. cost: [restarts, victims].
    """
    cheapest = starts[cost.argmin(0), torch.arange(starts.shape[1], device=starts.device)]
    flat = cheapest.flatten(0, 1)
    moved = [rolled(some.flatten(0, 1), best_shift(some.flatten(0, 1), flat)) for some in starts]
    return torch.stack(moved).mean(0).reshape(cheapest.shape)


def disagreement(starts: Tensor, agreed: Tensor) -> Tensor:
    """Mean square distance of each restart from what they agree on, [restarts, victims]."""
    return (starts - agreed).square().mean((2, 3, 4, 5))
