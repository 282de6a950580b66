"""Views of a suspect: crops, mirror images and turns, each an affine map from the released image to the suspect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from privaudit.attack import Effort
from privaudit.images import images_per_block


@dataclass(frozen=True)
class View:
    """Side as a share of the image, offsets in [-1, 1] of the free room, mirrored or not, turned.

    quarters: turns by 90 degrees, 0 to 3. degrees: further turn.
    """

    side: float = 1.0
    down: float = 0.0
    right: float = 0.0
    mirrored: bool = False
    quarters: int = 0
    degrees: float = 0.0

    @property
    def black(self) -> bool:
        """Whether places outside of the image are seen, which most programs leave black."""
        return self.degrees != 0 or self.side > 1

    @property
    def parameters(self) -> tuple[float, float, float, float]:
        """What the refinement varies: side, centre to the right and down in half sides, degrees."""
        return self.side, self.right * (1 - self.side), self.down * (1 - self.side), self.degrees


def upright_views(fine: bool) -> list[View]:
    """The whole, crops of 7/8 at nine places, and of 3/4 in the centre (fine: at nine places); mirrored and not."""
    places = list(product((-1.0, 0.0, 1.0), repeat=2))
    crops = [(1.0, 0.0, 0.0), *((0.875, *place) for place in places)]
    crops += [(0.75, *place) for place in (places if fine else [(0.0, 0.0)])]
    return [View(side, down, right, mirrored) for side, down, right in crops for mirrored in (False, True)]


def turned_views(effort: Effort) -> list[View]:
    """Quarter turns, mirrored and not, turns of up to 45 degrees to both sides, a crop of a half at five places, and
    the image at half its size in a black frame; with more effort turns are finer, and mirrored too.
    """
    steps: dict[Effort, tuple[float, int]] = {"quick": (45 / 7, 7), "standard": (5.0, 9), "thorough": (2.5, 18)}
    step, count = steps[effort]
    mirroring = (False,) if effort == "quick" else (False, True)
    return [
        *(
            View(mirrored=mirrored, degrees=sign * step * number)
            for number in range(1, count + 1)
            for sign in (-1, 1)
            for mirrored in mirroring
        ),
        *(View(mirrored=mirrored, quarters=quarters) for quarters in (1, 2, 3) for mirrored in (False, True)),
        *(View(0.5, down, right) for down, right in ((0.0, 0.0), *product((-1.0, 1.0), repeat=2))),
        View(2.0),
    ]


def some(pixels: NDArray[np.uint8], most: int = 1024) -> Iterator[NDArray[np.uint8]]:
    """The images in blocks, so that memory is bounded by a block and not by the dataset."""
    count = images_per_block(pixels.shape[1:], most)
    for start in range(0, len(pixels), count):
        yield pixels[start : start + count]


def all_of(*held: NDArray[np.uint8] | None) -> Iterator[NDArray[np.uint8]]:
    """Several arrays of images in blocks; without those that are None."""
    for pixels in held:
        if pixels is not None:
            yield from some(pixels)


def as_floats(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Float32 NCHW in [0, 1]."""
    return torch.from_numpy(np.array(pixels.transpose(0, 3, 1, 2), order="C")).float().div_(255)


def affine(found: list[View], parameters: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Maps [N, 2, 3] from places in the view to places in the image, both in [-1, 1].

    parameters: [N, 4], see `View.parameters`. A quarter turn of an image that is not square stretches it to its size.
    """
    height, width = size
    side, right, down, degrees = parameters.T
    angle = torch.deg2rad(degrees)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    turn = torch.stack([cosine, -sine * (height / width), sine * (width / height), cosine], 1).reshape(-1, 2, 2)
    quarter = {0: (1, 0, 0, 1), 1: (0, -1, 1, 0), 2: (-1, 0, 0, -1), 3: (0, 1, -1, 0)}
    shape = torch.tensor([quarter[view.quarters] for view in found], dtype=torch.float32).reshape(-1, 2, 2)
    flip = torch.tensor([-1.0 if view.mirrored else 1.0 for view in found])
    scale = torch.stack([side * flip, side], 1)
    return torch.cat([turn @ shape * scale[:, None, :], torch.stack([right, down], 1)[:, :, None]], 2)


def seen(images: torch.Tensor, maps: torch.Tensor, black: bool = False) -> torch.Tensor:
    """Each image [N, C, H, W] through its map [N, 2, 3], or all through the one map [1, 2, 3].

    black: what lies outside of the image is black, as most programs leave the corners of a turned image; else its
    borders are repeated.
    """
    grid = functional.affine_grid(maps, [len(maps), *images.shape[1:]], align_corners=False)
    grid = grid.expand(len(images), -1, -1, -1)
    outside = "zeros" if black else "border"
    return functional.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def through(view: View, images: torch.Tensor) -> torch.Tensor:
    """All images [N, C, H, W] through one view."""
    size = (int(images.shape[2]), int(images.shape[3]))
    return seen(images, affine([view], torch.tensor([view.parameters]), size), view.black)


def resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Float images [N, C, H, W] at this height and width."""
    if tuple(images.shape[2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)
