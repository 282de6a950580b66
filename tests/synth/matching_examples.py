"""Small networks with lived-in BatchNorm layers, and the plain loop that the fused one is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.synth.bn_matching.matching import total_variation
from privaudit.synth.bn_matching.statistics import Law


def network(name: str = "resnet20", channels: int = 3, classes: int = 4, side: int = 16, seed: int = 0) -> Network:
    """Random weights; BatchNorm with random factors (some negative), offsets and running statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = Network(Architecture(name=name, channels=channels, classes=classes, side=side))
        for module in found.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                module.weight.data *= torch.where(torch.rand_like(module.weight) < 0.2, -1, 1)
                nn.init.uniform_(module.bias, -0.3, 0.3)
                nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    found.set_standardisation(np.full(channels, 0.4), np.full(channels, 0.25))
    return found.eval()


def images(count: int = 12, channels: int = 3, classes: int = 4, side: int = 16, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % classes)


def inputs_of_norms(found: Network, standardised: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and what every BatchNorm of the body receives, by plain hooks."""
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[name] = inputs[0]

        return hook

    handles = [
        module.register_forward_pre_hook(keep(name))
        for name, module in found.body.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    logits = found.body(standardised)
    for handle in handles:
        handle.remove()
    return logits, seen


def plain_loss(found: Network, standardised: Tensor, labels: Tensor, layers: list[str], law: Law) -> Tensor:
    """The loss of Yin et al. 2020 with weights 10, 1 and 2.5e-5, by hooks and autograd."""
    logits, seen = inputs_of_norms(found, standardised)
    total, start = torch.zeros(()), 0
    for layer in layers:
        values, end = seen[layer], start + seen[layer].shape[1]
        total = total + (values.mean((0, 2, 3)) - law.mean[0, start:end]).norm()
        total = total + (values.var((0, 2, 3), unbiased=False) - law.variance[0, start:end]).norm()
        start = end
    return 10 * total + functional.cross_entropy(logits, labels) + 2.5e-5 * total_variation(standardised)
