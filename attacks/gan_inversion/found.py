"""What the attacker makes of it: images, and how sure the classifier is of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attack import Evidence
from privaudit.images import Images


@dataclass(frozen=True, eq=False)
class Found:
    """images: float32 [N, C, H, W] in [0, 1]. loss, confidence: [N], the attacker's loss and the probability of the
    target. accepted: bool [N], whether the image as it is is classified as its target.
    """

    images: Tensor
    loss: Tensor
    confidence: Tensor
    accepted: Tensor


def spread(classes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """So many targets, the classes in turn: int64 [count], ascending."""
    return np.sort(np.resize(classes, count))


def evidence(
    found: Found, targets: NDArray[np.int64], reference: Images | None, losses: Mapping[str, float]
) -> Evidence:
    """The images in uint8, each with its target as label and as victim."""
    pixels = (found.images * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    recovered = Images(pixels, targets)
    diagnostics = {
        "mean confidence": float(found.confidence.mean()),
        "share accepted": float(found.accepted.float().mean()),
        "mean loss": float(found.loss.mean()),
        **losses,
    }
    if reference is not None and np.isin(targets, reference.labels).any():
        diagnostics["distance to the class mean, in those of own images"] = spread_in_class(recovered, reference)
    return Evidence(recovered=recovered, victim=targets, diagnostics=diagnostics)


def spread_in_class(recovered: Images, reference: Images) -> float:
    """Root-mean-square distance of the images from the mean of their class's reference images, in units of what the
    reference images themselves have: near 0 for prototypes, about 1 for images like any other.
    """
    squares = np.zeros(2)
    for label in np.intersect1d(recovered.labels, reference.labels):
        own = reference.pixels[reference.labels == label].astype(np.float64)
        made = recovered.pixels[recovered.labels == label].astype(np.float64)
        mean = own.mean(0)
        squares += len(made) * np.array([((made - mean) ** 2).mean(), ((own - mean) ** 2).mean()])
    return float(np.sqrt(squares[0] / squares[1])) if squares[1] else 0.0
