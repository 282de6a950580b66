"""The model: a UNet of diffusers behind the preconditioning of `privaudit.learning.edm`, conditioned on a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privaudit.learning import edm
from privaudit.learning.training import seeded

ENGINE = "privimage"


@dataclass(frozen=True)
class Shape:
    """channels, classes: of the images. widths: channels of the UNet's levels, each half as large as the one before;
    blocks: residual blocks a level; attention: at the last level.
    """

    channels: int
    classes: int
    widths: tuple[int, ...]
    blocks: int


def shape_of(arguments: Mapping[str, Any]) -> Shape:
    """A shape from JSON."""
    return Shape(**{**arguments, "widths": tuple(arguments["widths"])})


class Denoiser(nn.Module):
    """Estimates images from noisy ones, for a class or for none."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        levels = len(shape.widths)
        self.unet = edm.diffusers(ENGINE).UNet2DModel(
            in_channels=shape.channels,
            out_channels=shape.channels,
            block_out_channels=shape.widths,
            layers_per_block=shape.blocks,
            down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
            num_class_embeds=shape.classes + 1,
            norm_num_groups=8,
            attention_head_dim=8,
        )
        self.scheduler = edm.scheduler(ENGINE)

    def forward(self, noisy: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """What the images are without their noise, whose standard deviation is `noise` [N]. labels: [N]; the number of
        classes stands for no class.
        """
        column = noise[:, None, None, None]
        return self.scheduler.precondition_outputs(noisy, self.raw(noisy, column, labels), column)  # type: ignore[no-any-return]

    def raw(self, noisy: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """The UNet's own answer. Sides that do not halve often enough are padded."""
        height, width = noisy.shape[2:]
        step = 2 ** (len(self.shape.widths) - 1)
        ready = edm.padded(self.scheduler.precondition_inputs(noisy, noise), step)
        level = self.scheduler.precondition_noise(noise).flatten()
        found: Tensor = self.unet(ready, level, class_labels=labels).sample
        return found[:, :, :height, :width]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All weights by name."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}

    @staticmethod
    def from_arrays(shape: Shape, arrays: Mapping[str, NDArray[Any]]) -> Denoiser:
        """The model of this shape that `arrays` came from."""
        found = Denoiser(shape)
        found.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in arrays.items()})
        return found


def new_denoiser(shape: Shape, seed: int) -> Denoiser:
    """An untrained model; equal for equal seeds."""
    with seeded(seed):
        return Denoiser(shape)


def sampled(
    model: Denoiser, labels: NDArray[np.int64], size: tuple[int, int], steps: int, rng: np.random.Generator, device: str
) -> NDArray[np.uint8]:
    """An image of each label, uint8 [N, H, W, C], from noise, in so many steps."""
    model, wanted = model.to(device).eval(), torch.from_numpy(labels).to(device)
    shape = (len(labels), model.shape.channels, *size)
    return edm.sampled(lambda images, noise: model.raw(images, noise, wanted), shape, steps, rng, device, ENGINE)
