"""Whole-image closeness of a suspect to its nearest released image, over views of the suspect, by two measures.

All views are compared with all released images by small whitened thumbnails. The best pairs are compared by the
correlation of their pixels, which is blind to brightness and contrast; the best of these are turned, shifted and scaled
a little, to meet copies between the views.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit.attacks.nearest_copy import spectrum
from privaudit.attacks.nearest_copy.views import (
    View,
    affine,
    all_of,
    as_floats,
    seen,
    some,
    through,
)
from privaudit.images import images_per_block

_COARSE_SIDE = 12
_ROWS_PER_PRODUCT = 2048
_RELEASED_PER_BLOCK = 8192
_REFINED_SHARE = 0.25


@dataclass(frozen=True, eq=False)
class Measure:
    """values: float64 [N], larger = closer. rows: int64 [N], the released image behind each."""

    values: NDArray[np.float64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Aligned:
    """Pairs that were brought over each other: rows of the pile and of the release, [N], and the maps, [N, 2, 3].

    black: what lies outside of the image is black, see `seen`.
    """

    rows: torch.Tensor
    released: torch.Tensor
    maps: torch.Tensor
    black: bool


@dataclass(frozen=True, eq=False)
class Closeness:
    """thumbnails: -log(1 - r^2), r the best correlation of small whitened thumbnails. pixels: -log(1 - r), r the best
    correlation of pixels. aligned: the pairs whose pixels correlate best.
    """

    thumbnails: Measure
    pixels: Measure
    aligned: Aligned


def _standardised(images: torch.Tensor) -> torch.Tensor:
    """Flat rows with mean 0 and length 1; a flat image becomes 0."""
    rows = images.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    unit: torch.Tensor = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-6)
    return unit


def _rows_of(release: NDArray[np.uint8], rows: torch.Tensor) -> torch.Tensor:
    """Standardised rows of these released images; all of them at once would take four times the release's memory."""
    return _standardised(as_floats(release[rows.numpy()]))


def best_products(rows: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Largest product of each row with any other row, float32 [N], and which."""
    value = torch.full((len(rows),), -torch.inf)
    found = torch.zeros(len(rows), dtype=torch.int64)
    for number, block in enumerate(torch.split(others, _RELEASED_PER_BLOCK)):
        for part in torch.split(torch.arange(len(rows)), _ROWS_PER_PRODUCT):
            best, index = (rows[part] @ block.T).max(1)
            better = best.float() > value[part]
            value[part] = torch.where(better, best.float(), value[part])
            found[part] = torch.where(better, index + number * _RELEASED_PER_BLOCK, found[part])
    return (rows.float() * others[found].float()).sum(1), found


def _refine(
    suspects: torch.Tensor, matched: torch.Tensor, found: list[View], start: torch.Tensor, turning: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Best correlation over small shifts and scalings around the view each suspect was found with; and the map.

    matched: standardised rows of the released images. turning: small turns are tried too. One parameter is varied at a
    time, with a shrinking step.
    """
    size = (int(suspects.shape[2]), int(suspects.shape[3]))
    place, best = torch.tensor([view.parameters for view in found]), start
    steps = torch.tensor([0.06, 2 / size[1], 2 / size[0], 2.5])
    for step in (1.0, 1.0, 0.5):
        for parameter in (3, 1, 2, 0) if turning else (1, 2, 0):
            origin = place.clone()
            for sign in (-1.0, 1.0):
                trial = origin.clone()
                trial[:, parameter] += sign * step * steps[parameter]
                view = seen(suspects, affine(found, trial, size), turning)
                value = (_standardised(view) * matched).sum(1)
                better = value > best
                best = torch.where(better, value, best)
                place = torch.where(better[:, None], trial, place)
    return best, affine(found, place, size)


def closeness(
    pile: NDArray[np.uint8], release: NDArray[np.uint8], own: NDArray[np.uint8] | None, searched: list[View], fine: bool
) -> Closeness:
    """Both measures of every image of the pile. own: the attacker's images, for the whitening; None: the release alone.

    fine: more pairs are compared by their pixels, and aligned.
    """
    count, candidates = len(pile), 6 if fine else 2
    small = spectrum.fitted(all_of(release, own), _COARSE_SIDE)
    released = small.of(release, View())
    best, whitened = torch.full((count,), -1.0), torch.full((count,), -1.0)
    best_view, best_row, whitened_row = (torch.zeros(count, dtype=torch.int64) for _ in range(3))
    for number, pixels in enumerate(some(pile)):
        suspects, start = as_floats(pixels), number * images_per_block(pile.shape[1:])
        planes = spectrum.planes(suspects)
        pairs = [best_products(small(planes, view), released) for view in searched]
        coarse, found = (torch.stack(parts, 1) for parts in zip(*pairs, strict=True))
        whitened[start : start + len(suspects)], place = coarse.max(1)
        whitened_row[start : start + len(suspects)] = found.gather(1, place[:, None])[:, 0]
        chosen = coarse.topk(candidates, dim=1).indices
        for column, view in enumerate(searched):
            part = torch.nonzero((chosen == column).any(1))[:, 0]
            matched = found[part, column]
            value = (_standardised(through(view, suspects[part])) * _rows_of(release, matched)).sum(1)
            better = value > best[start + part]
            improved = start + part[better]
            best[improved], best_view[improved], best_row[improved] = value[better], column, matched[better]
    top = best.topk(max(1, round((0.5 if fine else _REFINED_SHARE) * count))).indices
    turning, all_maps = any(view.black for view in searched), []
    for part in torch.split(top, images_per_block(pile.shape[1:])):
        found_with = [searched[int(column)] for column in best_view[part]]
        suspects, rows = as_floats(pile[part.numpy()]), best_row[part]
        best[part], maps = _refine(suspects, _rows_of(release, rows), found_with, best[part], turning)
        all_maps.append(maps)
        again = small(spectrum.planes(seen(suspects, maps, turning)), View())
        value = (again.float() * released[rows].float()).sum(1)
        better = value > whitened[part]
        whitened[part] = torch.where(better, value, whitened[part])
        whitened_row[part] = torch.where(better, rows, whitened_row[part])
    pixels_r, whitened_r = (values.numpy().astype(np.float64) for values in (best, whitened))
    return Closeness(
        Measure(-np.log1p(-(np.clip(whitened_r, 0, 0.999) ** 2)), whitened_row.numpy()),
        Measure(-np.log1p(-np.minimum(pixels_r, 1 - 1e-5)), best_row.numpy()),
        Aligned(top, best_row[top], torch.cat(all_maps), turning),
    )
