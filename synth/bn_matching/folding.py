"""A teacher made ready for matching: frozen, BatchNorm folded into the convolution before it, every BatchNorm measured.

A frozen BatchNorm is an affine map per channel. Folded into the convolution before it, it costs nothing, and the
moments of its input follow from those of its output by the inverse map. A BatchNorm without such a convolution, or with
a channel whose factor is too small to be inverted, is measured in front instead.
"""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from privaudit.errors import InputError
from privaudit.learning import Network
from privaudit.learning.networks import last_linear
from privaudit.synth.bn_matching.moments import Kernels, Moments

_SMALLEST_FACTOR = {torch.float32: 1e-4, torch.bfloat16: 2**-5}
"""Smallest factor of a channel, as a share of its offset, whose inverse keeps enough digits."""

_NOT_IN_PLACE: dict[Any, Any] = {operator.iadd: operator.add, operator.imul: operator.mul, torch.relu_: torch.relu}


class _Tap(nn.Module):
    """Hands its input on and keeps the moments."""

    def __init__(self, owner: list[tuple[Tensor, Tensor]], settings: dict[str, Any]) -> None:
        super().__init__()
        self.owner, self.settings = owner, settings

    def forward(self, y: Tensor) -> Tensor:
        y, mean, square = Moments.apply(y, self.settings["groups"], self.settings["kernels"])  # type: ignore[no-untyped-call,unused-ignore]
        self.owner.append((mean, square))
        return y


def batch_norms(network: Network) -> dict[str, nn.BatchNorm2d]:
    """The BatchNorm layers of the body by name, in the order of their definition. InputError where there are none."""
    found = {name: module for name, module in network.body.named_modules() if isinstance(module, nn.BatchNorm2d)}
    if not found:
        raise InputError(
            f"The network '{network.architecture.name}' has no BatchNorm layers, so there is nothing to match. "
            "Choose convnet, a resnet, or a torchvision network with BatchNorm."
        )
    return found


class MatchedNetwork:
    """Logits of standardised images, with mean and variance of the input of every BatchNorm.

    layers: names of the BatchNorm layers, in the order of the columns. layer_of: [columns] number of each column's
    layer; the columns are the channels of all layers, one after the other. features: what the last linear layer was
    given for the last images, float32 [N, features].
    """

    def __init__(self, network: Network, device: str, dtype: torch.dtype, kernels: Kernels) -> None:
        norms = batch_norms(network)
        self._dtype = dtype
        self._moments: list[tuple[Tensor, Tensor]] = []
        self._settings: dict[str, Any] = {"groups": 1, "kernels": kernels}
        body = copy.deepcopy(network.body).eval().requires_grad_(False)
        try:
            graph = fx.symbolic_trace(body)
        except (fx.proxy.TraceError, TypeError, NameError) as error:
            raise InputError(
                f"The network '{network.architecture.name}' cannot be traced ({error}). Choose another teacher."
            ) from error
        self.layers, inverses = self._rewrite(graph, norms)
        self._graph = graph.to(device).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
        self._watch_last_linear()
        self._factor = torch.cat([factor for factor, _ in inverses]).to(device)
        self._offset = torch.cat([offset for _, offset in inverses]).to(device)
        sizes = [norms[name].num_features for name in self.layers]
        self.layer_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).to(device)

    def __call__(self, images: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
        """Standardised images [N, C, H, W], `groups` equal runs, to logits [N, classes], mean and biased variance
        [groups, columns], all float32.
        """
        self._moments.clear()
        self._settings["groups"] = groups
        ready = images.to(self._dtype).contiguous(memory_format=torch.channels_last)
        logits = self._graph(ready).float()
        mean = torch.cat([part for part, _ in self._moments], 1)
        square = torch.cat([part for _, part in self._moments], 1)
        self._moments.clear()
        return logits, mean * self._factor + self._offset, (square - mean * mean) * self._factor**2

    def _watch_last_linear(self) -> None:
        linear = last_linear(self._graph)

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.features = inputs[0].float()

        if linear is not None:
            linear.register_forward_pre_hook(keep)

    def _rewrite(
        self, graph: fx.GraphModule, norms: dict[str, nn.BatchNorm2d]
    ) -> tuple[list[str], list[tuple[Tensor, Tensor]]]:
        """Put a tap at every BatchNorm. Returns their names in the order of computation, and for each the affine map
        from what its tap measures to the input of the BatchNorm.
        """
        modules = dict(graph.named_modules())
        used = [node.target for node in graph.graph.nodes if node.op == "call_module"]
        layers: list[str] = []
        inverses: list[tuple[Tensor, Tensor]] = []
        for node in list(graph.graph.nodes):
            self._not_in_place(node, modules)
            if node.op != "call_module" or node.target not in norms:
                continue
            name, norm, before = str(node.target), norms[str(node.target)], node.args[0]
            scale, shift = _affine(norm)
            convolution = modules.get(str(before.target)) if before.op == "call_module" else None
            if (
                isinstance(convolution, nn.Conv2d)
                and len(before.users) == 1
                and used.count(before.target) == 1
                and bool((scale * scale_of_input(norm)).abs().ge(_SMALLEST_FACTOR[self._dtype] * _level(norm)).all())
            ):
                _replace(graph, str(before.target), fuse_conv_bn_eval(convolution, norm))
                _replace(graph, name, _Tap(self._moments, self._settings))
                inverses.append((1 / scale, -shift / scale))
            else:
                tap = f"{name}_tap".replace(".", "_")
                graph.add_module(tap, _Tap(self._moments, self._settings))
                with graph.graph.inserting_before(node):
                    node.replace_input_with(before, graph.graph.call_module(tap, (before,)))
                inverses.append((torch.ones_like(scale), torch.zeros_like(scale)))
            layers.append(name)
        graph.graph.lint()
        graph.recompile()
        return layers, inverses

    @staticmethod
    def _not_in_place(node: fx.Node, modules: dict[str, nn.Module]) -> None:
        """What the taps have measured must not be overwritten."""
        if node.op == "call_function":
            node.target = _NOT_IN_PLACE.get(node.target, node.target)
            if node.target is functional.relu:
                node.kwargs = {key: value for key, value in node.kwargs.items() if key != "inplace"}
                node.args = node.args[:1]
        elif node.op == "call_module" and hasattr(modules[str(node.target)], "inplace"):
            modules[str(node.target)].inplace = False  # type: ignore[assignment]


def scale_of_input(norm: nn.BatchNorm2d) -> Tensor:
    """Standard deviation of each channel in front of a BatchNorm, from its running variance."""
    return (_running(norm)[1] + norm.eps).sqrt()


def _running(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise InputError("The teacher's BatchNorm layers keep no running statistics; it cannot be frozen.")
    return norm.running_mean.detach().cpu(), norm.running_var.detach().cpu()


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """A frozen BatchNorm as `scale * x + shift`."""
    mean, variance = _running(norm)
    weight = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().cpu()
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().cpu()
    scale = weight / (variance + norm.eps).sqrt()
    return scale, bias - scale * mean


def _level(norm: nn.BatchNorm2d) -> Tensor:
    """How large a channel's output is beside its variation: at least 1e-6."""
    bias = torch.zeros(norm.num_features) if norm.bias is None else norm.bias.detach().cpu()
    return bias.abs().clamp_min(1e-6)


def _replace(graph: fx.GraphModule, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(graph.get_submodule(parent) if parent else graph, last, module)
