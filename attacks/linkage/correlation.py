"""Closeness by pixels: the best correlation of two small images over shifts, brightness and contrast left out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from privaudit.attacks.linkage.identity import views
from privaudit.images import Images

_SIDE = 16
_ROWS = 1024


def shifted_views(images: Images, shift: int) -> list[Tensor]:
    """Unit rows of the images moved by up to `shift` pixels of 16 in both directions (zeros come in)."""
    rows = views(images, _SIDE)
    padded = functional.pad(rows, (shift, shift, shift, shift))
    moves = range(2 * shift + 1)
    return [_unit(padded[:, :, top : top + _SIDE, left : left + _SIDE]) for top in moves for left in moves]


def _unit(rows: Tensor) -> Tensor:
    flat = rows.flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return functional.normalize(flat, dim=1, eps=1e-3)


def likeness(images: Images, others: Images, shift: int, nearest: int) -> Tensor:
    """Mean correlation of each image with its nearest others, float32 [N]; memory is bounded by a block."""
    still = _unit(views(others, _SIDE))
    moved = shifted_views(images, shift)
    parts = []
    for start in range(0, len(images), _ROWS):
        block = torch.full((min(_ROWS, len(images) - start), 0), 0.0)
        for some in torch.split(still, _ROWS):
            best = torch.stack([rows[start : start + _ROWS] @ some.T for rows in moved]).amax(0)
            block = torch.cat([block, best], 1)
            block = block.topk(min(nearest, block.shape[1]), dim=1).values
        parts.append(block.mean(1))
    return torch.cat(parts)
