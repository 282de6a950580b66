"""Network bodies, most with BatchNorm: standardised images [N, C, H, W] to logits [N, classes]."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from privaudit.errors import InputError


def _convolution(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class ConvNet(nn.Module):
    """Convolution, BatchNorm, ReLU, average pool by 2, as often as the images allow; then their mean, and one layer.

    32 maps in the first block, doubled in each up to 256; two blocks for 8 px, four for 32 px, six from 128 px on.
    groups: of GroupNorm instead of BatchNorm, for DP-SGD: then 16 maps, up to 64, for the noise grows with the weights;
    and four means instead of one, which it learns sooner.
    """

    def __init__(self, channels: int, classes: int, side: int, groups: int | None = None) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        maps, (first, most) = channels, (32, 256) if groups is None else (16, 64)
        for number in range(min(6, max(2, int(math.log2(side)) - 1))):
            wider = min(most, first * 2**number)
            norm = nn.BatchNorm2d(wider) if groups is None else nn.GroupNorm(groups, wider)
            blocks += [_convolution(maps, wider), norm, nn.ReLU(), nn.AvgPool2d(2)]
            maps = wider
        self.blocks = nn.Sequential(*blocks)
        self.places = 1 if groups is None else 2
        self.linear = nn.Linear(maps * self.places**2, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        maps = self.blocks(images)
        means = maps.mean((2, 3)) if self.places == 1 else functional.adaptive_avg_pool2d(maps, self.places).flatten(1)
        logits: Tensor = self.linear(means)
        return logits


class _PaddedShortcut(nn.Module):
    """Option A of He et al. 2016: every second pixel, and zeros for the new maps; no parameters."""

    def __init__(self, new_maps: int) -> None:
        super().__init__()
        self.before, self.after = new_maps // 2, new_maps - new_maps // 2

    def forward(self, maps: Tensor) -> Tensor:
        return functional.pad(maps[:, :, ::2, ::2], (0, 0, 0, 0, self.before, self.after))


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = _convolution(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = _convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(maps)))
        return functional.relu(self.bn2(self.conv2(inner)) + self.shortcut(maps))


class ResNet(nn.Module):
    """Residual network with the CIFAR stem: one 3x3 convolution of stride 1, no pool (He et al. 2016, section 4.2,
    doi 10.1109/CVPR.2016.90).

    widths, blocks: maps and blocks of each stage. padded: shortcuts of option A; else 1x1 convolutions with BatchNorm.
    """

    def __init__(
        self, channels: int, classes: int, widths: tuple[int, ...], blocks: tuple[int, ...], padded: bool
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, widths[0])
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = len(widths)
        maps = widths[0]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            stage: list[nn.Module] = []
            for place in range(count):
                stride = 2 if number > 0 and place == 0 else 1
                shortcut: nn.Module = nn.Identity()
                if stride != 1 or maps != width:
                    shortcut = (
                        _PaddedShortcut(width - maps)
                        if padded
                        else nn.Sequential(_convolution(maps, width, stride, 1), nn.BatchNorm2d(width))
                    )
                stage.append(_BasicBlock(maps, width, stride, shortcut))
                maps = width
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))
        self.linear = nn.Linear(maps, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        for number in range(self.stages):
            maps = self.get_submodule(f"layer{number + 1}")(maps)
        logits: Tensor = self.linear(maps.mean((2, 3)))
        return logits


RESIDUAL = {
    "resnet20": ((16, 32, 64), (3, 3, 3), True),
    "resnet56": ((16, 32, 64), (9, 9, 9), True),
    "resnet18": ((64, 128, 256, 512), (2, 2, 2, 2), False),
    "resnet34": ((64, 128, 256, 512), (3, 4, 6, 3), False),
}
"""Widths, blocks per stage, padded shortcuts."""


def residual(name: str, channels: int, classes: int) -> ResNet:
    """One of `RESIDUAL` by name."""
    widths, blocks, padded = RESIDUAL[name]
    return ResNet(channels, classes, widths, blocks, padded)


def _check_square(name: str, images: Tensor, side: int) -> None:
    height, width = images.shape[2:]
    if height != side or width != side:
        raise InputError(
            f"The network '{name}' was made for images of {side} x {side} pixels and takes no others; found "
            f"{width} x {height}. Choose a network that ends in a mean over all places, such as convnet."
        )


class LeNet(nn.Module):
    """Three 5x5 convolutions of 12 maps, strides 2, 2 and 1, each with a sigmoid; one linear layer; square images.

    All weights and biases are uniform in -0.5..0.5. Zhu, Liu, Han 2019, arXiv 1906.08935.
    """

    def __init__(self, channels: int, classes: int, side: int) -> None:
        super().__init__()
        self.side = side
        layers: list[nn.Module] = []
        for maps, stride in ((channels, 2), (12, 2), (12, 1)):
            layers += [nn.Conv2d(maps, 12, 5, stride, 2), nn.Sigmoid()]
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(12 * (-(-side // 4)) ** 2, classes)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]. Raises InputError for images of another size."""
        _check_square("lenet", images, self.side)
        logits: Tensor = self.linear(self.convolutions(images).flatten(1))
        return logits


class MLP(nn.Module):
    """All pixels to 1,000 hidden units, ReLU, one linear layer; square images."""

    def __init__(self, channels: int, classes: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.hidden = nn.Linear(channels * side**2, 1000)
        self.linear = nn.Linear(1000, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]. Raises InputError for images of another size."""
        _check_square("mlp", images, self.side)
        logits: Tensor = self.linear(functional.relu(self.hidden(images.flatten(1))))
        return logits


class Coloured(nn.Module):
    """A body for three channels, given grey images: grey is repeated."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes]."""
        logits: Tensor = self.body(images.expand(-1, 3, -1, -1))
        return logits
