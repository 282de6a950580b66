"""The small model: diffusion in pixels, of public images, that edges can steer (ControlNet: Zhang, Rao, Agrawala 2023,
arXiv 2302.05543) and that a few references can be shown to (DreamBooth: Ruiz et al. 2022, arXiv 2208.12242).

UNet and ControlNet are those of diffusers, behind the preconditioning of `privaudit.learning.edm`. In the place of a
prompt there is a class: the public one, the same with DreamBooth's rare token, or none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from privaudit.learning import edm
from privaudit.store import Arrays

ENGINE = "spinml"

_WIDTHS = (32, 32, 64)


@dataclass(frozen=True)
class Shape:
    """channels, classes: of the public images. edges: whether edges steer it."""

    channels: int
    classes: int
    edges: bool = False


class PixelModel(nn.Module):
    """Estimates images from noisy ones, for a class and, where it was made for them, for edges."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        diffusers = edm.diffusers(ENGINE)
        self.shape = shape
        self.unet = diffusers.UNet2DConditionModel(
            in_channels=shape.channels,
            out_channels=shape.channels,
            block_out_channels=_WIDTHS,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            mid_block_type="UNetMidBlock2D",
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
            attention_head_dim=8,
            num_class_embeds=2 * shape.classes + 1,
        )
        self.control = _control(self.unet) if shape.edges else None
        self.scheduler = edm.scheduler(ENGINE)

    def forward(self, noisy: Tensor, noise: Tensor, prompts: Tensor, drawn: Tensor | None = None) -> Tensor:
        """What the images are without their noise, whose standard deviation is `noise` [N]. prompts: [N], see
        `prompt`. drawn: float32 [N, 1, H, W], 1 on edges, for models that edges steer.
        """
        column = noise[:, None, None, None]
        return self.scheduler.precondition_outputs(noisy, self.raw(noisy, column, prompts, drawn), column)  # type: ignore[no-any-return]

    def raw(self, noisy: Tensor, noise: Tensor, prompts: Tensor, drawn: Tensor | None = None) -> Tensor:
        """The UNet's own answer. Sides that do not halve often enough are padded."""
        height, width = noisy.shape[2:]
        step = 2 ** (len(_WIDTHS) - 1)
        ready = edm.padded(self.scheduler.precondition_inputs(noisy, noise), step)
        level = self.scheduler.precondition_noise(noise).flatten()
        down, middle = None, None
        if self.control is not None and drawn is not None:
            drawn = edm.padded(drawn, step)
            down, middle = self.control(ready, level, None, drawn, class_labels=prompts, return_dict=False)
        found: Tensor = self.unet(
            ready,
            level,
            None,
            class_labels=prompts,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        return found[:, :, :height, :width].float()

    def arrays(self) -> Arrays:
        """All weights by name."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}

    @staticmethod
    def from_arrays(shape: Shape, arrays: Arrays) -> PixelModel:
        """The model of this shape that `arrays` came from. With edges that are not in them it starts as a ControlNet
        does, with a copy of the UNet that changes nothing yet.
        """
        weights = {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
        found = PixelModel(shape)
        found.unet.load_state_dict(_of("unet.", weights))
        if found.control is not None:
            if learned := _of("control.", weights):
                found.control.load_state_dict(learned)
            else:
                found.control = _control(found.unet)
        return found


def _of(part: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(part): value for name, value in weights.items() if name.startswith(part)}


def _control(unet: nn.Module) -> Any:
    return edm.diffusers(ENGINE).ControlNetModel.from_unet(
        unet, conditioning_channels=1, conditioning_embedding_out_channels=(16,)
    )


def prompt(labels: NDArray[np.int64], classes: int, rare: bool = False) -> NDArray[np.int64]:
    """The numbers of the prompts of these classes, [N]; -1 for none. rare: with DreamBooth's rare token."""
    return np.where(labels < 0, 2 * classes, labels + classes * rare)


def sampled(
    model: PixelModel,
    prompts: NDArray[np.int64],
    drawn: NDArray[np.bool_] | None,
    size: tuple[int, int],
    steps: int,
    rng: np.random.Generator,
    device: str,
) -> NDArray[np.uint8]:
    """An image of each prompt, uint8 [N, H, W, C]; drawn: the edges that steer it, [N, H, W]."""
    model, asked = model.to(device).eval(), torch.from_numpy(prompts).to(device)
    shown = None if drawn is None else as_drawn(drawn, device)
    return edm.sampled(
        lambda images, noise: model.raw(images, noise, asked, shown),
        (len(prompts), model.shape.channels, *size),
        steps,
        rng,
        device,
        ENGINE,
    )


def as_drawn(where: NDArray[np.bool_], device: str) -> Tensor:
    """bool [N, H, W] to float32 [N, 1, H, W]."""
    return torch.from_numpy(where[:, None].astype(np.float32)).to(device)
