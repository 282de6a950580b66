"""A first fully connected layer as its attacker knows it: which images it may hold, and what each would have caused."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient
from privaudit.learning import Network

_LEVELS = 255
_OFF_GRID = 0.05
"""Largest distance from a whole grey level. Two mixed images keep it in every pixel about once in 10^(number of pixels
in which they differ), for a tenth of all numbers do."""
_TWICE = 1e-10
"""Relative difference of gradients below which rounding decides, for an image that is taken more than once."""
_NUMBERS = 2**24
"""Numbers in a chunk of derivatives."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """What the attacker's own network says of candidates, by the gradients that were seen; [K] candidates.

    label: int64 [K]. count: int64 [K], how often the image with this label was in the batch; 0: refused. columns:
    float64 [K, neurons], what the accepted image and label add to the gradient by the layer's outputs, over all its
    counts. doubtful: bool [K, neurons], neurons so near to the bend of their ReLU that rounding decides.
    """

    label: Tensor
    count: Tensor
    columns: Tensor
    doubtful: Tensor


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """The attacker's own network, in float64 on the CPU, and its first layer with parameters.

    name: of the layer. batch_size: images over which the loss was averaged. shape: channels, height and width.
    epsilon: spacing of the numbers that the gradients were computed with. Images are rows [K, pixels], standardised.
    """

    network: Network
    name: str
    batch_size: int
    shape: tuple[int, int, int]
    epsilon: float

    @property
    def tolerance(self) -> float:
        """Largest relative difference of gradients that certifies: the square root of the precision."""
        return float(self.epsilon**0.5)

    def standardised(self, levels: Tensor) -> Tensor:
        """Images [K, pixels] of whole grey levels, as the network's body receives them."""
        mean, std = self._moments()
        return (levels.double() / _LEVELS - mean) / std

    def levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest whole grey levels uint8 [K, pixels], and whether every pixel lies close to one in 0..255, bool [K].

        The attacker knows that images have 8 bits. What lies on that grid he has without any error, so that errors do
        not add up from one image to the next; a mixture of images does not lie on it.
        """
        mean, std = self._moments()
        grey = torch.nan_to_num((images * std + mean) * _LEVELS, nan=-1.0)
        whole = grey.round().clamp(0, _LEVELS)
        return whole.to(torch.uint8), ((grey - whole).abs() < _OFF_GRID).all(1)

    def _moments(self) -> tuple[Tensor, Tensor]:
        pixels = self.shape[1] * self.shape[2]
        return self.network.mean.repeat_interleave(pixels), self.network.std.repeat_interleave(pixels)

    def gradient(self, images: Tensor, labels: Tensor) -> Sequence[Tensor]:
        """What images [K, C, H, W] with these labels add to the gradient of the batch, parameter by parameter."""
        share = len(labels) / self.batch_size
        return [part * share for part in batch_gradient(self.network, images, labels)]

    def derivatives(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of images [K, pixels]: predicted probabilities [K, classes]; derivatives of the logits by the layer's outputs
        [K, classes, neurons]; neurons whose output is within rounding of zero, bool [K, neurons].
        """
        kept: list[Tensor] = []

        def keep(module: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            kept.append(output.detach().requires_grad_())
            return kept[0]

        layer = self.network.get_submodule(self.name)
        handle = layer.register_forward_hook(keep)
        try:
            logits = self.network.body(images.reshape(-1, *self.shape))
        finally:
            handle.remove()
        (outputs,) = kept
        parts = [
            torch.autograd.grad(logits[:, label].sum(), outputs, retain_graph=True)[0]
            for label in range(logits.shape[1])
        ]
        weight, bias = layer.get_parameter("weight").detach(), layer.get_parameter("bias").detach()
        size = images.abs() @ weight.abs().T + bias.abs()
        doubtful = outputs.detach().abs() < 8 * self.epsilon * size
        return logits.detach().softmax(1), torch.stack(parts, 1), doubtful

    def certify(
        self, images: Tensor, seen: Tensor, where: Tensor, most: int, others: Tensor | None = None
    ) -> Certificate:
        """Compare what each image would cause, with every label and up to `most` times, with what was seen.

        images: [K, pixels]. seen: [K, neurons], gradient of the loss by the layer's outputs that this image alone has
        caused. where: bool [K, neurons], for which of them that is known. others: orthonormal [neurons, n], directions
        that are not compared. An image is accepted with the label and count that fit best, if these fit to
        `tolerance`. No truth is needed.
        """
        classes = self.network.architecture.classes
        rows = max(1, _NUMBERS // (classes * seen.shape[1]))
        chunks = [slice(first, first + rows) for first in range(0, len(images), rows)]
        parts = [self._certify(images[some], seen[some], where[some], most, others) for some in chunks]
        if not parts:
            none = torch.zeros(0, dtype=torch.int64)
            return Certificate(none, none, seen[:0], where[:0])
        return Certificate(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _certify(
        self, images: Tensor, seen: Tensor, where: Tensor, most: int, others: Tensor | None
    ) -> tuple[Tensor, ...]:
        predicted, slopes, doubtful = self.derivatives(images)
        mean = (predicted[:, :, None] * slopes).sum(1, keepdim=True)
        one = (mean - slopes) / self.batch_size
        known = (where & ~doubtful)[:, None, :]
        wanted = torch.where(known, seen[:, None, :], 0.0)
        made = torch.where(known, one, 0.0)
        if others is not None:
            wanted, made = (part - (part @ others) @ others.T for part in (wanted, made))
        count = torch.nan_to_num((wanted * made).sum(2) / made.square().sum(2)).round().clamp(0, most)
        rest = (wanted - count[:, :, None] * made).square().sum(2).sqrt() / wanted.square().sum(2).sqrt()
        rest = torch.where(count > 0, torch.nan_to_num(rest, nan=torch.inf), torch.inf)
        least, label = rest.min(1)
        chosen = torch.arange(len(label))
        often = count[chosen, label]
        # Halfway between two images that are nearly the same lies a third that, taken twice, fits to second order.
        allowed = torch.where(often > 1, max(self.epsilon**0.75, _TWICE), self.tolerance)
        times = torch.where(least <= allowed, often, 0.0)
        return label, times.long(), one[chosen, label] * times[:, None], doubtful


def first_layer_of(observed: Observed, name: str) -> FirstLayer:
    """The layer of this name of the network that was seen; precision as that of the gradients."""
    network = copy.deepcopy(observed.network).double().cpu()
    dtype = observed.gradients[f"{name}.weight"].dtype
    return FirstLayer(network, name, observed.batch_size, observed.image_shape, torch.finfo(dtype).eps)
