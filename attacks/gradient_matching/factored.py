"""Scalar products between the gradients of many victims and what was seen of them, differentiable by the images.

All batches go through the network together. The inputs of a layer and the gradients at its outputs are the two factors
of the gradient of its weights, batch by batch. The scalar products that objectives need are taken from the factors by
products of matrices: no convolution gets weights of its own for each victim, and the largest tensors of an automatic
graph, the gradients of the weights and all that is derived from them, are not made.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from privaudit.attacks.gradient_matching.gradients import BatchNormMode, Observed
from privaudit.attacks.gradient_matching.objectives import Products
from privaudit.learning.networks import TORCHVISION


class FactoredProducts(torch.autograd.Function):
    """Scalar products of G = rows columns^T per victim: <G, target> and <G, G>, [V] each.

    rows: [V, outputs, places]. columns: [V, inputs, places]. target: [V, outputs, inputs], a constant.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """<G, G> is the product of the two Gram matrices over places, where these are smaller than G."""
        outputs, places, inputs = rows.shape[1], rows.shape[2], columns.shape[1]
        across = target @ columns
        ctx.by_places = places * (outputs + inputs) < outputs * inputs
        if ctx.by_places:
            kept = [rows.transpose(1, 2) @ rows, columns.transpose(1, 2) @ columns]
            square = _product(kept[0], kept[1])
        else:
            kept = [rows @ columns.transpose(1, 2)]
            square = _product(kept[0], kept[0])
        ctx.save_for_backward(rows, columns, target, across, *kept)
        return _product(rows, across), square

    @staticmethod
    def backward(ctx: Any, *above: Any) -> tuple[Tensor, Tensor, None]:
        """By rows and columns."""
        of_dot, of_square = (part[:, None, None] for part in above)
        rows, columns, target, across, *kept = ctx.saved_tensors
        if ctx.by_places:
            of_rows, of_columns = kept
            to_rows = torch.baddbmm(of_dot * across, 2 * of_square * rows, of_columns)
            to_columns = torch.baddbmm(target.transpose(1, 2) @ (of_dot * rows), columns, 2 * of_square * of_rows)
        else:
            mixed = torch.addcmul(of_dot * target, 2 * of_square, kept[0])
            to_rows, to_columns = mixed @ columns, mixed.transpose(1, 2) @ rows
        return to_rows, to_columns, None


def _product(one: Tensor, other: Tensor) -> Tensor:
    products: Tensor = torch.linalg.vecdot(one.flatten(1), other.flatten(1))
    return products


def factored_products(rows: Tensor, columns: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """`FactoredProducts`, with its types."""
    products: tuple[Tensor, Tensor] = FactoredProducts.apply(rows, columns, target)  # type: ignore[no-untyped-call,unused-ignore]
    return products


class _Layer(nn.Module, ABC):
    """A layer of constants that remembers what it received and returned."""

    received: Tensor
    returned: Tensor

    def __init__(self, layer: nn.Module, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.weight = layer.get_parameter("weight").detach()
        self.bias = None if layer.bias is None else layer.get_parameter("bias").detach()

    def forward(self, values: Tensor) -> Tensor:
        self.received = values
        self.returned = self.output(values)
        return self.returned

    @abstractmethod
    def output(self, values: Tensor) -> Tensor:
        """What the layer makes of its input."""

    @abstractmethod
    def weight_products(self, above: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """<G, target> and <G, G> over the weights, [V] each."""

    def products(self, above: Tensor, targets: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """<G, target> and <G, G> over the layer's parameters, by the gradient above its output, [V] each."""
        dot, square = self.weight_products(above, targets["weight"])
        if self.bias is not None:
            gradient = self.per_victim(above if above.ndim == 2 else above.sum((2, 3))).sum(1)
            dot, square = dot + _product(gradient, targets["bias"]), square + _product(gradient, gradient)
        return dot, square

    def per_victim(self, values: Tensor) -> Tensor:
        """[N, ...] to [victims, batch size, ...]."""
        return values.reshape(-1, self.batch_size, *values.shape[1:])


class _Convolution(_Layer):
    def __init__(self, layer: nn.Conv2d, batch_size: int) -> None:
        super().__init__(layer, batch_size)
        self.window = layer.kernel_size, layer.dilation, layer.padding, layer.stride

    def output(self, values: Tensor) -> Tensor:
        _, dilation, padding, stride = self.window
        return functional.conv2d(values, self.weight, self.bias, stride, padding, dilation)

    def weight_products(self, above: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        columns = functional.unfold(self.received, *self.window)  # type: ignore[arg-type,unused-ignore]
        rows, columns = (self.per_victim(part).transpose(1, 2).flatten(2) for part in (above.flatten(2), columns))
        return factored_products(rows, columns, target.flatten(2))


class _Linear(_Layer):
    def output(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.weight, self.bias)

    def weight_products(self, above: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = (self.per_victim(part).transpose(1, 2) for part in (above, self.received))
        return factored_products(rows, columns, target)


class _Normalisation(_Layer):
    """BatchNorm, by the running statistics or by those of each victim's batch."""

    def __init__(self, layer: nn.BatchNorm2d, batch_size: int, mode: BatchNormMode) -> None:
        super().__init__(layer, batch_size)
        self.mode, self.eps, self.centre = mode, layer.eps, layer.bias.detach()
        self.mean, self.variance = layer.running_mean, layer.running_var

    def output(self, values: Tensor) -> Tensor:
        if self.mode == "evaluation" and self.mean is not None and self.variance is not None:
            mean, variance = self.mean[:, None, None], self.variance[:, None, None]
        else:
            batches = self.per_victim(values)
            moments = torch.var_mean(batches, (1, 3, 4), correction=0, keepdim=True)
            variance, mean = (part.expand(-1, self.batch_size, -1, -1, -1).flatten(0, 1) for part in moments)
        self.shift, self.scale = mean, torch.rsqrt(variance + self.eps)
        slope = self.scale * self.weight[:, None, None]
        return torch.addcmul(self.centre[:, None, None] - self.shift * slope, values, slope)

    def weight_products(self, above: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        standard = (self.received - self.shift) * self.scale
        gradient = self.per_victim((above * standard).sum((2, 3))).sum(1)
        return _product(gradient, target), _product(gradient, gradient)


def _replaced(module: nn.Module, batch_size: int, mode: BatchNormMode) -> _Layer | None:
    if isinstance(module, nn.Conv2d) and module.groups == 1 and module.padding_mode == "zeros":
        return None if isinstance(module.padding, str) else _Convolution(module, batch_size)
    if isinstance(module, nn.Linear):
        return _Linear(module, batch_size)
    if isinstance(module, nn.BatchNorm2d) and module.affine:
        return _Normalisation(module, batch_size, mode)
    return None


class FactoredNetwork:
    """The network with its layers replaced, all victims at once.

    possible: whether all that has parameters could be replaced: plain convolutions, linear layers and BatchNorm.
    """

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.body = copy.deepcopy(observed.network.body)
        self.layers: dict[str, _Layer] = {}
        for name, module in list(self.body.named_modules()):
            layer = _replaced(module, observed.batch_size, observed.batch_norm)
            if layer is not None:
                self.layers[name] = layer
                self.body.set_submodule(name, layer)
        # What still has parameters was not replaced; torchvision's networks change what a layer returned in place.
        in_place = observed.network.architecture.name.startswith(TORCHVISION)
        self.possible = not in_place and not list(self.body.parameters())
        self.targets = {name: observed.of_layer(name) for name in self.layers}
        self.lengths = observed.squared_lengths([*self.layers])

    def products(self, images: Tensor, labels: Tensor) -> Products:
        """Scalar products of the gradients of images [victims * batch size, C, H, W] with those seen."""
        observed = self.observed
        images = images if images.requires_grad else images.detach().requires_grad_()
        loss = functional.cross_entropy(self.body(images), labels, reduction="sum") / observed.batch_size
        outputs = [layer.returned for layer in self.layers.values()]
        gradients = torch.autograd.grad(loss, outputs, create_graph=True)
        found = []
        for (name, layer), above in zip(self.layers.items(), gradients, strict=True):
            found.append(layer.products(above, self.targets[name]))
        dots, squares = (torch.stack(parts) for parts in zip(*found, strict=True))
        return Products(dots, squares, self.lengths)
