"""Whole-image closeness: the best correlation of a suspect with any released image, over views of the suspect.

Correlation of mean-free pixels is blind to brightness and contrast. A view is a crop, possibly mirrored, brought to
the release's size: the search compares all views with all released images at low resolution, then looks at the best
few at full resolution, and shifts and scales the very best of them to meet copies between the views.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

_SEARCH_SIDE = 32
_COARSE_LUMA = 12
_COARSE_CHROMA = 4
IMAGES_PER_BLOCK = 1024
_ROWS_PER_PRODUCT = 2048
_RELEASED_PER_BLOCK = 8192
_REFINED_SHARE = 0.25


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
    """The views searched: the whole, crops of 7/8 at nine places, and of 3/4 in the centre (fine: at nine places)."""
    places = list(product((-1.0, 0.0, 1.0), repeat=2))
    crops = [(1.0, 0.0, 0.0), *((0.875, *place) for place in places)]
    crops += [(0.75, *place) for place in (places if fine else [(0.0, 0.0)])]
    return [View(side, down, right, mirrored) for (side, down, right) in crops for mirrored in (False, True)]


def some(pixels: NDArray[np.uint8], count: int = IMAGES_PER_BLOCK) -> Iterator[NDArray[np.uint8]]:
    """The images in blocks, so that memory is bounded by a block and not by the dataset."""
    for start in range(0, len(pixels), count):
        yield pixels[start : start + count]


def as_floats(pixels: NDArray[np.uint8]) -> torch.Tensor:
    """Float32 NCHW in [0, 1]."""
    return torch.from_numpy(np.array(pixels.transpose(0, 3, 1, 2), order="C")).float().div_(255)


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
    unit: torch.Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return unit


def _search_size(images: torch.Tensor) -> tuple[int, int]:
    return min(_SEARCH_SIDE, int(images.shape[2])), min(_SEARCH_SIDE, int(images.shape[3]))


def _small(images: torch.Tensor) -> torch.Tensor:
    """Rows of pixels at no more than the search's resolution; bfloat16 holds 8-bit values exactly enough."""
    size = _search_size(images)
    if size != tuple(images.shape[2:]):
        images = functional.adaptive_avg_pool2d(images, size)
    return images.flatten(1).bfloat16()


def _projection(size: tuple[int, int], channels: int, view: View) -> torch.Tensor:
    """Matrix from the pixels of an image to the features of one view: its pooled luma, and its pooled colours.

    The mean is taken out, so that products of normalised features approximate correlations. [pixels, features].
    """
    height, width = size
    basis = torch.eye(height * width).reshape(-1, 1, height, width)
    top, left, rows, columns = view.window(height, width)
    seen = basis[:, :, top : top + rows, left : left + columns]
    if view.mirrored:
        seen = seen.flip(3)

    def pooled(side: int) -> torch.Tensor:
        means = functional.adaptive_avg_pool2d(seen, (side, side)).flatten(1)
        return means - means.mean(1, keepdim=True)

    luma = pooled(_COARSE_LUMA)
    if channels == 1:
        return luma
    parts = [luma.repeat(channels, 1) / channels]
    colour = functional.adaptive_avg_pool2d(seen, (_COARSE_CHROMA, _COARSE_CHROMA)).flatten(1)
    weight = _COARSE_LUMA / _COARSE_CHROMA / 3**0.5
    for channel in range(channels):
        signs = torch.full((channels,), -1.0 / channels)
        signs[channel] += 1.0
        parts.append(torch.cat([sign * colour * weight for sign in signs]))
    return torch.cat(parts, 1)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, bfloat16."""
    unit: torch.Tensor = rows.float() / rows.float().norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return unit.bfloat16()


def _coarse_search(
    suspects: torch.Tensor, features: list[torch.Tensor], projections: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best coarse correlation and its released row, [N, views] each. features: of the release, by blocks of rows."""
    count, n_views = len(suspects), projections.shape[1]
    seen = _unit((_small(suspects) @ projections.flatten(1)).reshape(count, n_views, -1)).flatten(0, 1)
    value = torch.full((count * n_views,), -2.0, dtype=torch.bfloat16)
    row = torch.zeros(count * n_views, dtype=torch.int64)
    for part in torch.split(torch.arange(count * n_views), _ROWS_PER_PRODUCT):
        for block, others in enumerate(features):
            best, index = (seen[part] @ others.T).max(1)
            better = best > value[part]
            value[part] = torch.where(better, best, value[part])
            row[part] = torch.where(better, index + block * _RELEASED_PER_BLOCK, row[part])
    return value.reshape(count, n_views).float(), row.reshape(count, n_views)


def _refine(
    suspects: torch.Tensor, matched: torch.Tensor, size: tuple[int, int], found: list[View], start: torch.Tensor
) -> torch.Tensor:
    """Best correlation over small scalings and shifts around the view each suspect was found with.

    matched: standardised rows of the released images. One parameter is varied at a time, with a halving step.
    """
    height, width = suspects.shape[2:]
    flip = torch.tensor([-1.0 if view.mirrored else 1.0 for view in found])
    place = torch.tensor([[view.side, view.right * (1 - view.side), view.down * (1 - view.side)] for view in found])
    best, shape = start, [len(suspects), suspects.shape[1], *size]
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
                grid = functional.affine_grid(theta, shape, align_corners=False)
                seen = functional.grid_sample(suspects, grid, padding_mode="border", align_corners=False)
                value = (_standardised(seen) * matched).sum(1)
                better = value > best
                best = torch.where(better, value, best)
                place = torch.where(better[:, None], trial, place)
    return best


def closeness(
    suspect_pixels: NDArray[np.uint8], release_pixels: NDArray[np.uint8], fine: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """-log(1 - r), r the best correlation found for each suspect, float64 [N], larger = closer; and its released row.

    The row is int64 [N].
    """
    searched = views(fine)
    count, candidates = len(suspect_pixels), 6 if fine else 2
    size = (release_pixels.shape[1], release_pixels.shape[2])
    parts = [as_floats(part) for part in some(release_pixels)]
    standard = torch.cat([_standardised(part) for part in parts])
    channels = int(parts[0].shape[1])
    own = _projection(_search_size(parts[0]), channels, searched[0]).bfloat16()
    features = list(torch.split(torch.cat([_unit(_small(part) @ own) for part in parts]), _RELEASED_PER_BLOCK))
    del parts
    projections = torch.zeros(0)
    best = torch.full((count,), -1.0)
    best_view = torch.zeros(count, dtype=torch.int64)
    best_row = torch.zeros(count, dtype=torch.int64)
    for number, pixels in enumerate(some(suspect_pixels)):
        suspects = as_floats(pixels)
        start = number * IMAGES_PER_BLOCK
        if number == 0:
            each = [_projection(_search_size(suspects), channels, view) for view in searched]
            projections = torch.stack(each, 1).bfloat16()
        coarse, rows = _coarse_search(suspects, features, projections)
        chosen = coarse.topk(candidates, dim=1).indices
        for place, view in enumerate(searched):
            part = torch.nonzero((chosen == place).any(1))[:, 0]
            matched = rows[part, place]
            value = (_standardised(_see(suspects[part], view, size)) * standard[matched]).sum(1)
            better = value > best[start + part]
            improved = start + part[better]
            best[improved], best_view[improved], best_row[improved] = value[better], place, matched[better]
    top = best.topk(max(1, round((0.5 if fine else _REFINED_SHARE) * count))).indices
    for part in torch.split(top, IMAGES_PER_BLOCK):
        found = [searched[int(place)] for place in best_view[part]]
        suspects = as_floats(suspect_pixels[part.numpy()])
        best[part] = _refine(suspects, standard[best_row[part]], size, found, best[part])
    return -np.log1p(-np.minimum(best.numpy().astype(np.float64), 1 - 1e-5)), best_row.numpy()
