"""Descriptors from the backbone of LPIPS, where the attacker has one: whitened by his own images, as is usual in copy
detection (Pizzi et al. 2022, arXiv 2202.10261).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from privaudit.attacks.copy_descriptor.descriptions import described
from privaudit.calls import Call, compute
from privaudit.errors import IncompleteError
from privaudit.images import Images
from privaudit.learning.batches import as_float
from privaudit.similarity.perceptual import BACKBONES, load_backbone
from privaudit.store import Arrays
from privaudit.weights import stored_backbones

VERSION = 1
"""Rises when the same images and backbone give other descriptors."""

SIDE = 64
DIMENSIONS = 128
_LAYERS = 3
_ROWS = 256


def backbone_descriptors(weights: Path, own: Images, parts: Sequence[Images], device: str) -> list[Tensor] | None:
    """Descriptors of the images in each part, rows of length 1, float32 on the CPU, each the mean of those of the image
    and its mirror image; None where the weight store has no backbone of LPIPS.

    The mean over all places of the last three layers that LPIPS looks at, each of length 1 in every place; without the
    mean of the attacker's own images, and scaled to equal spread along their principal components, 128 at most. Each
    part is described once for all who ask for the same.
    """
    backbones = {name: digest for name, digest in stored_backbones(weights).items() if name in BACKBONES}
    if not backbones:
        return None
    arguments, facts = {"weights": str(weights), "device": device}, {"version": VERSION, "backbones": backbones}
    label, task = f"looking at {len(own):,} own images", f"{__name__}:whitening_task"
    (whitening,) = compute(Call(label, task, arguments, {"own": {"pixels": own.pixels}}, facts))
    return described(parts, f"{__name__}:describe_task", arguments, {"whitening": whitening}, facts)


def whitening_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'own': pixels} to the 'mean' [D] of their features and the 'directions' [D, K], scaled."""
    mine = _features(arguments, inputs["own"]["pixels"])
    mean = mine.mean((0, 1))
    _, spread, directions = torch.linalg.svd(mine.mean(1) - mean, full_matrices=False)
    kept = min(DIMENSIONS, len(mine) // 2, int((spread > 1e-3 * spread[0]).sum()))
    return {"mean": mean.numpy(), "directions": (directions[:kept].T / spread[:kept]).numpy()}


def describe_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'whitening': mean and directions, 'images': pixels} to the 'rows' of the images."""
    mean, directions = (torch.from_numpy(np.array(inputs["whitening"][name])) for name in ("mean", "directions"))
    rows = _features(arguments, inputs["images"]["pixels"])
    both = functional.normalize((rows - mean) @ directions, dim=2)
    return {"rows": functional.normalize(both.sum(1)).numpy()}


def _features(arguments: Mapping[str, Any], pixels: NDArray[np.uint8]) -> Tensor:
    """Float32 [N, 2, D]: of the image and of its mirror image."""
    backbone, device = load_backbone(Path(arguments["weights"])), arguments["device"]
    if backbone is None:
        raise IncompleteError("The weight store has no backbone of LPIPS any more. Add it again (privaudit weights).")
    network: Any = backbone.network.to(device)
    parts = []
    for start in range(0, len(pixels), _ROWS):
        images = as_float(pixels[start : start + _ROWS], device).expand(-1, 3, -1, -1)
        sized = functional.interpolate(images, size=(SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True)
        with torch.inference_mode():
            layers = network.net(network.scaling_layer(2 * torch.cat([sized, sized.flip(3)]) - 1))[-_LAYERS:]
            pooled = [functional.normalize(functional.normalize(layer).mean((2, 3))) for layer in layers]
            parts.append(torch.cat(pooled, 1).view(2, len(images), -1).transpose(0, 1).float().cpu())
    return torch.cat(parts)
