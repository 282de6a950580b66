"""The gradient of one victim after the other, through a network whose BatchNorm is folded into its convolutions.

A BatchNorm in evaluation mode is an affine map per channel. Folded into the convolution before it, it costs nothing,
and the gradients of weights, gains and shifts follow from those of the folded weights. The derivatives of gradients,
which gradient matching needs, are costly for BatchNorm itself: without it they are almost nothing but convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.objectives import Products, layer_products, layers_of


@dataclass(frozen=True, eq=False)
class _Fold:
    """A convolution and the BatchNorm behind it, by name.

    scale: gain / standard deviation, [C]. unit: weight / standard deviation. offset: (bias - mean) / standard
    deviation, [C]. The folded weight is gain * unit, the folded bias shift + gain * offset.
    """

    convolution: str
    norm: str
    scale: Tensor
    unit: Tensor
    offset: Tensor


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, names: tuple[str, str], mean: Tensor, var: Tensor) -> _Fold:
    """The fold; `convolution` gets the folded weight and bias."""
    inverse = torch.rsqrt(var + norm.eps)
    bias = torch.zeros_like(mean) if convolution.bias is None else convolution.bias.detach()
    gain, weight = norm.weight.detach(), convolution.weight.detach()
    fold = _Fold(*names, gain * inverse, weight * inverse[:, None, None, None], (bias - mean) * inverse)
    convolution.weight = nn.Parameter(fold.unit * gain[:, None, None, None])
    convolution.bias = nn.Parameter(norm.bias.detach() + gain * fold.offset)
    return fold


class FoldedNetwork:
    """The network with BatchNorm folded away, one victim after the other.

    possible: whether the network can be followed, its BatchNorm is in evaluation mode, and one gradient was sent.
    """

    def __init__(self, observed: Observed, dtype: torch.dtype) -> None:
        self.observed, self.dtype = observed, dtype
        self.folds: dict[str, _Fold] = {}
        self.possible = observed.batch_norm == "evaluation" and observed.local_steps == 1
        try:
            body = fx.symbolic_trace(copy.deepcopy(observed.network.body).eval())
        except (fx.proxy.TraceError, TypeError, NameError):
            self.possible = False
            return
        for node in list(body.graph.nodes):
            if node.op == "call_module" and len(node.args) == 1 and isinstance(node.args[0], fx.Node):
                self._try_to_fold(body, node, node.args[0])
        body.delete_all_unused_submodules()
        body.recompile()
        self.body = body.to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
        named = list(self.body.named_parameters())
        self.names, self.parameters = [name for name, _ in named], [parameter for _, parameter in named]
        layers = {name.rpartition(".")[0] for name in self.names} | {fold.norm for fold in self.folds.values()}
        self.possible &= layers == set(layers_of(observed))
        self.lengths = observed.squared_lengths(layers_of(observed))

    def _try_to_fold(self, body: fx.GraphModule, node: fx.Node, before: fx.Node) -> None:
        if before.op != "call_module" or len(before.users) != 1:
            return
        names = str(before.target), str(node.target)
        convolution, norm = (body.get_submodule(name) for name in names)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and norm.affine:
            if norm.running_mean is None or norm.running_var is None:
                return
            self.folds[names[0]] = _fold(convolution, norm, names, norm.running_mean, norm.running_var)
            node.replace_all_uses_with(before)
            body.graph.erase_node(node)

    def products(self, images: Tensor, labels: Tensor) -> Products:
        """Scalar products of the gradients of images [victims * batch size, C, H, W] with those seen."""
        size = self.observed.batch_size
        each = []
        for victim in range(self.observed.victims):
            rows = slice(victim * size, (victim + 1) * size)
            values = images[rows].to(self.dtype).contiguous(memory_format=torch.channels_last)
            loss = functional.cross_entropy(self.body(values).float(), labels[rows])
            found = torch.autograd.grad(loss, self.parameters, create_graph=True)
            unfolded = self._unfolded(dict(zip(self.names, found, strict=True)))
            each.append(layer_products(self.observed, victim, unfolded))
        dots, squares = (torch.stack(parts, 1) for parts in zip(*each, strict=True))
        return Products(dots, squares, self.lengths)

    def _unfolded(self, folded: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gradients by the parameters of the network itself."""
        found: dict[str, Tensor] = {}
        for name, gradient in folded.items():
            layer, _, part = name.rpartition(".")
            exact = gradient.float()
            fold = self.folds.get(layer)
            if fold is None:
                found[f"body.{name}"] = exact
            elif part == "weight":
                found[f"body.{name}"] = exact * fold.scale[:, None, None, None]
                by_gain = (exact * fold.unit).sum((1, 2, 3))
                found[f"body.{fold.norm}.weight"] = by_gain + folded[f"{layer}.bias"].float() * fold.offset
            else:
                found[f"body.{fold.norm}.bias"] = exact
                if f"body.{name}" in self.observed.gradients:
                    found[f"body.{name}"] = exact * fold.scale
        return found
