"""A diffusion model as Karras et al. 2022 (EDM, arXiv 2206.00364) have it: a UNet behind their preconditioning, their
loss, and the deterministic sampler (Euler's steps along their noise levels, which is DDIM). UNet and scheduler are
those of diffusers.

Images are float32 [N, C, H, W] in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from privaudit.learning.training import seeded
from privaudit.synth.privimage.installed import diffusers

LEAST_NOISE, MOST_NOISE, BEND = 0.002, 80.0, 7.0
DATA = 3**-0.5
"""Standard deviation of the images: that of a uniform distribution."""

_LOG_NOISE = -1.2, 1.2
"""Mean and standard deviation of the logarithm of the noise in training."""


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
        self.unet = diffusers().UNet2DModel(
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
        self.scheduler = _scheduler()

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
        ready = functional.pad(self.scheduler.precondition_inputs(noisy, noise), (0, -width % step, 0, -height % step))
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


def _scheduler() -> Any:
    return diffusers().EDMEulerScheduler(sigma_min=LEAST_NOISE, sigma_max=MOST_NOISE, sigma_data=DATA, rho=BEND)


def losses(model: nn.Module, images: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
    """The loss of each image, [N], at a level of noise of its own: the mean squared error over its pixels, weighed so
    that every level counts the same.
    """
    level = np.exp(rng.normal(*_LOG_NOISE, len(images))).astype(np.float32)
    noise = torch.from_numpy(level).to(images.device)
    drawn = torch.from_numpy(rng.standard_normal(tuple(images.shape), dtype=np.float32)).to(images.device)
    found: Tensor = model(images + drawn * noise[:, None, None, None], noise, labels)
    weight = (noise**2 + DATA**2) / (noise * DATA) ** 2
    return weight * (found - images).square().mean((1, 2, 3))


def averaged_over_steps(model: nn.Module, decay: float) -> AveragedModel:
    """Follows a model in training: a moving average, whose decay per step rises to this one over the first steps, so
    that what it started with is forgotten in short trainings too.
    """

    def average(kept: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        done = int(steps)
        return kept.lerp(now, 1 - min(decay, (1 + done) / (10 + done)))

    return AveragedModel(model, avg_fn=average, use_buffers=True)


def as_images(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def sampled(
    model: Denoiser, labels: NDArray[np.int64], size: tuple[int, int], steps: int, rng: np.random.Generator, device: str
) -> NDArray[np.uint8]:
    """An image of each label, uint8 [N, H, W, C], from noise, in so many steps."""
    model = model.to(device).eval()
    scheduler, wanted = _scheduler(), torch.from_numpy(labels).to(device)
    scheduler.set_timesteps(steps)
    start = rng.standard_normal((len(labels), model.shape.channels, *size), dtype=np.float32)
    images = torch.from_numpy(start).to(device) * scheduler.init_noise_sigma
    for step, level in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        answer = model.raw(images, torch.full((len(labels), 1, 1, 1), float(level), device=device), wanted)
        scheduler.scale_model_input(images, step)  # it must be told where it is; the answer has this done already
        images = scheduler.step(answer, step, images).prev_sample
    levels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels
