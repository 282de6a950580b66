"""Whole-image closeness: the best correlation of a suspect with any released image, over views of the suspect.

Correlation of mean-free pixels is blind to brightness and contrast. A view is a crop, possibly mirrored, brought to
the release's size: the search compares all views with all released images at low resolution, then looks at the best
few at full resolution, and shifts and scales the very best of them to meet copies between the views.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

_SEARCH_SIDE = 32
_COARSE_LUMA = 12
_COARSE_CHROMA = 4
_SUSPECTS_PER_BLOCK = 2048
_RELEASED_PER_BLOCK = 8192
_REFINED_SHARE = 0.15


@dataclass(frozen=True)
class View:
    """A crop of a suspect: side as a share of the image, offsets in [-1, 1] of the free room, mirrored or not."""

    side: float
    down: float
    right: float
    mirrored: bool

    def window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Top, left, height and width in whole pixels."""
        rows, columns = max(2, round(height * self.side)), max(2, round(width * self.side))
        top = round((height - rows) * (self.down + 1) / 2)
        left = round((width - columns) * (self.right + 1) / 2)
        return top, left, rows, columns


def views(fine: bool) -> list[View]:
    """The views searched: whole, crops of 7/8 (all nine places, or five) and of 3/4 (centre), each mirrored too."""
    corners = list(product((-1.0, 1.0), repeat=2))
    places = list(product((-1.0, 0.0, 1.0), repeat=2)) if fine else [(0.0, 0.0), *corners]
    crops = [(1.0, 0.0, 0.0), *((0.875, *place) for place in places), (0.75, 0.0, 0.0)]
    if fine:
        crops += [(0.75, *corner) for corner in corners]
    return [View(side, down, right, mirrored) for (side, down, right) in crops for mirrored in (False, True)]


def as_floats(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Float32 NCHW in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).float().div_(255)


def _see(images: torch.Tensor, view: View, size: tuple[int, int]) -> torch.Tensor:
    top, left, rows, columns = view.window(*images.shape[2:])
    cropped = images[:, :, top : top + rows, left : left + columns]
    if view.mirrored:
        cropped = cropped.flip(3)
    if cropped.shape[2:] == size:
        return cropped
    return functional.interpolate(cropped, size=size, mode="bilinear", align_corners=False, antialias=True)


def _standardised(images: torch.Tensor) -> torch.Tensor:
    """Flat rows with mean 0 and length 1; a flat image becomes 0."""
    rows = images.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    return rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)


def _planes(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Luma and the differences of the colours from it, at no more than the search's resolution."""
    size = tuple(min(_SEARCH_SIDE, side) for side in images.shape[2:])
    if size != tuple(images.shape[2:]):
        images = torch.cat([functional.adaptive_avg_pool2d(part, size) for part in images.split(_SUSPECTS_PER_BLOCK)])
    luma = images.mean(1, keepdim=True)
    return luma, images - luma if images.shape[1] == 3 else None


def _features(planes: tuple[torch.Tensor, torch.Tensor | None], part: slice, view: View) -> torch.Tensor:
    """Features of one view whose products approximate correlations; unit rows, bfloat16."""
    luma, chroma = planes
    top, left, rows, columns = view.window(*luma.shape[2:])

    def pooled(plane: torch.Tensor, side: int) -> torch.Tensor:
        seen = plane[part, :, top : top + rows, left : left + columns]
        if view.mirrored:
            seen = seen.flip(3)
        return functional.adaptive_avg_pool2d(seen, (side, side)).flatten(1)

    features = pooled(luma, _COARSE_LUMA)
    features = features - features.mean(1, keepdim=True)
    if chroma is not None:
        features = torch.cat([features, pooled(chroma, _COARSE_CHROMA) * (_COARSE_LUMA / _COARSE_CHROMA / 3**0.5)], 1)
    return (features / features.norm(dim=1, keepdim=True).clamp_min(1e-6)).bfloat16()


def _coarse_search(
    suspects: torch.Tensor, released: torch.Tensor, searched: list[View]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best coarse correlation and its released row, [N, views] each."""
    best = torch.full((len(suspects), len(searched)), -2.0)
    row = torch.zeros((len(suspects), len(searched)), dtype=torch.int64)
    features = _features(_planes(released), slice(None), searched[0]).split(_RELEASED_PER_BLOCK)
    planes = _planes(suspects)
    for start in range(0, len(suspects), _SUSPECTS_PER_BLOCK):
        part = slice(start, start + _SUSPECTS_PER_BLOCK)
        for place, view in enumerate(searched):
            seen = _features(planes, part, view)
            for block, others in enumerate(features):
                value, index = (seen @ others.T).max(1)
                better = value.float() > best[part, place]
                best[part, place] = torch.where(better, value.float(), best[part, place])
                row[part, place] = torch.where(better, index + block * _RELEASED_PER_BLOCK, row[part, place])
    return best, row


def _refine(suspects: torch.Tensor, matched: torch.Tensor, found: list[View], start: torch.Tensor) -> torch.Tensor:
    """Best correlation over small scalings and shifts around the view each suspect was found with.

    matched: standardised rows of the released images. One parameter is varied at a time, with a halving step.
    """
    height, width = suspects.shape[2:]
    flip = torch.tensor([-1.0 if view.mirrored else 1.0 for view in found])
    place = torch.tensor([[view.side, view.right * (1 - view.side), view.down * (1 - view.side)] for view in found])
    best, size = start, [len(suspects), *suspects.shape[1:]]
    steps = torch.tensor([0.06, 2 / width, 2 / height])
    for step in (1.0, 1.0, 0.5):
        for parameter in (1, 2, 0):
            origin = place.clone()
            for sign in (-1.0, 1.0):
                trial = origin.clone()
                trial[:, parameter] += sign * step * steps[parameter]
                theta = torch.zeros(len(suspects), 2, 3)
                theta[:, 0, 0], theta[:, 1, 1] = trial[:, 0] * flip, trial[:, 0]
                theta[:, :, 2] = trial[:, 1:]
                grid = functional.affine_grid(theta, size, align_corners=False)
                seen = functional.grid_sample(suspects, grid, padding_mode="border", align_corners=False)
                value = (_standardised(seen) * matched).sum(1)
                better = value > best
                best = torch.where(better, value, best)
                place = torch.where(better[:, None], trial, place)
    return best


def closeness(suspect_pixels: NDArray[np.uint8], release_pixels: NDArray[np.uint8], fine: bool) -> NDArray[np.float64]:
    """-log(1 - r), r the best correlation found for each suspect; float64 [N], larger = closer."""
    suspects, released = as_floats(suspect_pixels), as_floats(release_pixels)
    searched = views(fine)
    coarse, rows = _coarse_search(suspects, released, searched)
    chosen = coarse.topk(min(6 if fine else 3, len(searched)), dim=1).indices
    best = torch.full((len(suspects),), -1.0)
    best_view = torch.zeros(len(suspects), dtype=torch.int64)
    best_row = torch.zeros(len(suspects), dtype=torch.int64)
    size = (int(released.shape[2]), int(released.shape[3]))
    standard = _standardised(released)
    for place, view in enumerate(searched):
        for part in torch.nonzero((chosen == place).any(1))[:, 0].split(_SUSPECTS_PER_BLOCK):
            matched = rows[part, place]
            value = (_standardised(_see(suspects[part], view, size)) * standard[matched]).sum(1)
            better = value > best[part]
            best[part] = torch.where(better, value, best[part])
            best_view[part] = torch.where(better, place, best_view[part])
            best_row[part] = torch.where(better, matched, best_row[part])
    top = best.topk(max(1, round((0.5 if fine else _REFINED_SHARE) * len(best)))).indices
    for part in top.split(_SUSPECTS_PER_BLOCK):
        found = [searched[int(place)] for place in best_view[part]]
        best[part] = _refine(suspects[part], standard[best_row[part]], found, best[part])
    return -np.log1p(-np.minimum(best.numpy().astype(np.float64), 1 - 1e-5))
