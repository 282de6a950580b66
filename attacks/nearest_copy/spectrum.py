"""Whitened thumbnails: what tells one image from another, with what all images share taken down.

Photographs differ most in their coarse light and shade, so that strangers correlate. Each cosine component of a
thumbnail is divided by its spread over the images that the attacker holds, plus that of noise: for a copy before a
background of strangers this is the matched filter. A copy that is half covered, or mixed with a stranger, keeps half
of its fine structure, which is more than any stranger shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from privaudit.attacks.nearest_copy.views import View, as_floats, resized, some, through

SEARCH_SIDE = 32
_COLOUR_SIDE = 4
_NOISE = 15 / 255
"""Noise per pixel that must not hide a copy."""


def search_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which images are searched."""
    return min(SEARCH_SIDE, size[0]), min(SEARCH_SIDE, size[1])


def cosines(count: int) -> torch.Tensor:
    """Orthonormal cosine transform [components, points] of so many points."""
    points = torch.arange(count, dtype=torch.float64)
    rows = torch.cos(torch.pi / count * points[:, None] * (points + 0.5)) * (2 / count) ** 0.5
    rows[0] /= 2**0.5
    found: torch.Tensor = rows.float()
    return found


@lru_cache(maxsize=256)
def projection(view: View, size: tuple[int, int], side: int) -> torch.Tensor:
    """Matrix [pixels, components] from a plane of this size, seen through a view, to its cosine components.

    The plane is pooled to at most `side` points a side; the component that is its mean is left out.
    """
    height, width = size
    basis = through(view, torch.eye(height * width).reshape(-1, 1, height, width))
    rows, columns = min(side, height), min(side, width)
    pooled = functional.adaptive_avg_pool2d(basis, (rows, columns))[:, 0]
    found: torch.Tensor = (cosines(rows) @ pooled @ cosines(columns).T).flatten(1)[:, 1:]
    return found


def components(pixels: NDArray[np.uint8], side: int = SEARCH_SIDE) -> torch.Tensor:
    """The lowest cosine components of each channel at the search's size, float32 [N, C, side, side] or less."""
    height, width = search_size((pixels.shape[1], pixels.shape[2]))
    rows, columns = cosines(height)[:side], cosines(width)[:side]
    return torch.cat([rows @ resized(as_floats(part), (height, width)) @ columns.T for part in some(pixels)])


def spread(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median of each column, and the standard deviation that its median deviation stands for: a few others, however
    far away, hardly move them.
    """
    middle = values.median(0).values
    return middle, 1.4826 * (values - middle).abs().median(0).values


def flips(values: torch.Tensor) -> Iterator[torch.Tensor]:
    """Components [N, C, rows, columns] of the images flipped in both directions, and of square ones transposed too."""
    signs = [(-1.0) ** torch.arange(count) for count in values.shape[2:]]
    turned = (values, values.transpose(2, 3)) if values.shape[2] == values.shape[3] else (values,)
    for one in turned:
        for down in (torch.ones_like(signs[0]), signs[0]):
            for across in (torch.ones_like(signs[1]), signs[1]):
                yield one * down[:, None] * across


def planes(images: torch.Tensor) -> torch.Tensor:
    """Luma, and two planes of colour where there are three channels, at the search's size, without their means.

    Float32 [planes, N, pixels].
    """
    images = resized(images, search_size((int(images.shape[2]), int(images.shape[3])))).flatten(2)
    parts = [images.mean(1)]
    if images.shape[1] == 3:
        red, green, blue = images.unbind(1)
        parts += [red - green, blue - (red + green) / 2]
    found = torch.stack(parts)
    return found - found.mean(2, keepdim=True)


def unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, bfloat16; a flat image becomes 0."""
    rows = rows.float()
    scaled: torch.Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-3)
    return scaled.bfloat16()


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Whitened components of thumbnails of `side` points a side. factors: [F], by which components are multiplied."""

    size: tuple[int, int]
    side: int
    factors: torch.Tensor

    def __call__(self, planes_: torch.Tensor, view: View) -> torch.Tensor:
        """Rows of length 1, bfloat16 [N, F], of planes seen through a view."""
        done, parts = 0, []
        for number, plane in enumerate(planes_.bfloat16()):
            matrix = projection(view, self.size, _COLOUR_SIDE if number else self.side)
            parts.append(plane @ (matrix * self.factors[done : done + matrix.shape[1]]).bfloat16())
            done += matrix.shape[1]
        return unit(torch.cat(parts, 1))

    def of(self, pixels: NDArray[np.uint8], view: View) -> torch.Tensor:
        """The same of pixels uint8 [N, H, W, C]."""
        return torch.cat([self(planes(as_floats(part)), view) for part in some(pixels)])


def fitted(held: Iterable[NDArray[np.uint8]], side: int) -> Spectrum:
    """Factors from the spread over images that the attacker holds, in blocks uint8 [N, H, W, C] of one size."""
    sums, squares, count, size = torch.zeros(1), torch.zeros(1), 0, (1, 1)
    for part in held:
        size = search_size((part.shape[1], part.shape[2]))
        found = planes(as_floats(part))
        rows = torch.cat(
            [plane @ projection(View(), size, _COLOUR_SIDE if number else side) for number, plane in enumerate(found)],
            1,
        ).double()
        sums, squares, count = sums + rows.sum(0), squares + (rows**2).sum(0), count + len(part)
    variance = squares / count - (sums / count) ** 2
    shrunk = prod(min(side, length) / length for length in size)
    return Spectrum(size, side, (variance + _NOISE**2 * shrunk).rsqrt().float())
