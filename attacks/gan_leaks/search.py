"""How well a generator can make an image: the search for the latent that comes nearest to it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attack import Progress, no_progress
from privaudit.attacks.gan_leaks.reconstruction import on_sphere
from privaudit.images import Images
from privaudit.learning.batches import as_float
from privaudit.learning.generator import Generator

_RATE = 0.05
_CHUNK_PIXELS = 2**18


def made_images(generator: Generator, latents: Tensor) -> Tensor:
    """What the generator makes of latents [N, LATENT], float32 [N, C * H * W] in [0, 1]."""
    with torch.no_grad():
        return torch.cat([generator(part).flatten(1) for part in torch.split(latents, 512)])


def reconstruction_errors(
    generator: Generator,
    starts: Tensor,
    images: Images,
    restarts: int,
    steps: int,
    device: str,
    report: Progress = no_progress,
) -> NDArray[np.float64]:
    """Mean squared error, pixels in [0, 1], between each image and the nearest that the generator was found to make.

    starts: latents [M, LATENT]; each image starts from the `restarts` of them whose images lie nearest to it, and its
    latent is moved by so many steps of Adam on a sphere. The nearest image on the way counts, the start included.
    """
    made = made_images(generator, starts)
    size = max(1, _CHUNK_PIXELS // (images.size[0] * images.size[1]))
    found = []
    for first in range(0, len(images), size):
        wanted = as_float(images.pixels[first : first + size], device)
        near = torch.cdist(wanted.flatten(1), made).topk(min(restarts, len(made)), dim=1, largest=False).indices
        best = torch.full((len(wanted),), torch.inf, device=device)
        for place in range(near.shape[1]):
            best = torch.minimum(best, _descended(generator, starts[near[:, place]], wanted, steps))
        found.append(best)
        report("inverting", min(1.0, (first + size) / len(images)))
    return torch.cat(found).double().cpu().numpy() if found else np.zeros(0)


def _descended(generator: Generator, latents: Tensor, wanted: Tensor, steps: int) -> Tensor:
    """The smallest squared error of each image over the steps, [N]."""
    latents = latents.clone().requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=_RATE)
    best = torch.full((len(wanted),), torch.inf, device=wanted.device)
    for step in range(steps + 1):
        with torch.set_grad_enabled(step < steps):
            errors = (generator(latents) - wanted).square().flatten(1).mean(1)
        best = torch.minimum(best, errors.detach())
        if step == steps:
            break
        optimizer.zero_grad(set_to_none=True)
        errors.sum().backward()
        optimizer.step()
        with torch.no_grad():
            latents.copy_(on_sphere(latents))
    return best
