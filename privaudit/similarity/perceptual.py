"""LPIPS of pairs of images: the lpips package's heads on a backbone from the local weight store, never downloaded.

Zhang, Isola, Efros, Shechtman, Wang 2018, "The unreasonable effectiveness of deep features as a perceptual metric",
arXiv 1801.03924. Published values were often computed on the wrong range: here images are in [0, 1] and are converted.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit import weights
from privaudit.errors import IncompleteError
from privaudit.similarity.measures import check_pairs
from privaudit.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    import torch

BACKBONES = {"squeezenet1_1-features": "squeeze", "alexnet-features": "alex", "vgg16-features": "vgg"}
"""Names in the weight store, and what lpips calls them; the first one that is there is used."""

_HEADS = "0.1"
_SMALL_SIDE, _ENLARGED_SIDE = 32, 64
_DEPRECATED = "The parameter 'pretrained' is deprecated|Arguments other than a weight enum or `None` for 'weights'"


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network that LPIPS looks through, and the weights that it was loaded with."""

    stored: weights.Stored
    network: torch.nn.Module


def load_backbone(store: Path) -> Backbone | None:
    """LPIPS on the first of `BACKBONES` that the weight store has; None where it has none.

    Raises InputError for damaged weights, IncompleteError where the installed lpips does not take them.
    """
    for name, network in BACKBONES.items():
        entry, tensors = weights.stored(name, store), weights.load(name, store)
        if entry is not None and tensors is not None:
            return Backbone(entry, _network(network, tensors))
    return None


def _network(name: str, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    import torch

    import_torchvision()
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message=_DEPRECATED, category=UserWarning)
        network: torch.nn.Module = lpips.LPIPS(
            net=name, version=_HEADS, pretrained=False, pnet_rand=True, verbose=False
        )
    heads = Path(lpips.__file__).parent / "weights" / f"v{_HEADS}" / f"{name}.pth"
    state: dict[str, Any] = dict(torch.load(heads, map_location="cpu", weights_only=True))
    for key in network.state_dict():
        if key.startswith("net."):  # net.slice3.6.squeeze.weight is torchvision's features.6.squeeze.weight
            own = f"features.{key.split('.', 2)[2]}"
            if own in tensors:
                state[key] = tensors[own]
    loaded = network.load_state_dict(state, strict=False)
    aliases = ("lins.", "scaling_layer.")
    left = [key for key in loaded.missing_keys if not key.startswith(aliases)] + loaded.unexpected_keys
    if left:
        raise IncompleteError(
            f"The installed lpips does not fit its weights: {', '.join(left[:3])} was not loaded. "
            "Install lpips 0.1.4 again."
        )
    return network.eval().requires_grad_(False)


def _looked_at(height: int, width: int) -> tuple[int, int]:
    """Height and width that the network sees: below 32 pixels enlarged, so that the shorter side is 64."""
    shorter = min(height, width)
    if shorter >= _SMALL_SIDE:
        return height, width
    return round(height * _ENLARGED_SIDE / shorter), round(width * _ENLARGED_SIDE / shorter)


def lpips_name(backbone: Backbone, height: int, width: int) -> str:
    """The statistic with its parameters, for images of this size."""
    enlarged = _looked_at(height, width) != (height, width)
    return (
        f"lpips ({backbone.stored.name.removesuffix('-features')}, heads {_HEADS}"
        f"{f', shorter side enlarged to {_ENLARGED_SIDE} px, bilinear' if enlarged else ''})"
    )


def lpips_distance(a: torch.Tensor, b: torch.Tensor, backbone: Backbone) -> torch.Tensor:
    """Perceptual distance of each pair, [N], 0 for identical images; lower = more alike.

    a, b: float [N, C, H, W] in [0, 1] (not [-1, 1]); one channel is repeated to three; images whose shorter side is
    below 32 pixels are enlarged to 64 (bilinear). Raises InputError for other shapes or values.
    """
    import torch
    from torch.nn import functional

    check_pairs(a, b)
    size = _looked_at(a.shape[2], a.shape[3])
    both = torch.cat([a, b])
    if both.shape[1] == 1:
        both = both.expand(-1, 3, -1, -1)
    if size != tuple(both.shape[2:]):
        both = functional.interpolate(both, size=size, mode="bilinear", align_corners=False)
    with torch.inference_mode():
        values: torch.Tensor = backbone.network(both[: len(a)], both[len(a) :], normalize=True)
    return values.flatten()
