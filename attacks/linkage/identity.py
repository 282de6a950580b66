"""An embedding in which images of one person lie close: a small network trained on the attacker's own images alone.

Each step shows pairs of views: of two images of one person where such are known, else of one image. The two views of a
pair must be nearer to each other than to all others of the batch (NT-Xent: Chen et al. 2020, arXiv 2002.05709).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from privaudit import seeds
from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning.augmentation import augment
from privaudit.learning.contrastive import nt_xent
from privaudit.learning.training import seeded
from privaudit.store import Arrays

VERSION = 1
SIDE = 32
_PAIRS, _DIMENSIONS, _RATE = 64, 64, 2e-3
TEMPERATURE = 0.2
_ROWS = 1024
_TASK = "privaudit.attacks.linkage.identity:train_task"


class Encoder(nn.Module):
    """Images [N, channels, side, side] in [0, 1] to unit vectors [N, 64]. Where in the image something lies is kept."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        maps, size = channels, side
        for wider in (24, 48, 96):
            blocks += [nn.Conv2d(maps, wider, 3, padding=1, bias=False), nn.BatchNorm2d(wider), nn.ReLU()]
            blocks.append(nn.AvgPool2d(2))
            maps, size = wider, size // 2
        self.blocks = nn.Sequential(*blocks)
        self.linear = nn.Linear(maps * size * size, _DIMENSIONS)

    def forward(self, images: Tensor) -> Tensor:
        """Unit vectors."""
        return functional.normalize(self.linear(self.blocks(images).flatten(1)), dim=1)


def views(images: Images, side: int) -> Tensor:
    """Square images of this side, mean and contrast of each normalised away, float32 [N, C, side, side]."""
    parts = []
    for batch in images.blocks():
        small = functional.interpolate(batch, (side, side), mode="bilinear", antialias=True, align_corners=False)
        small = small - small.mean((1, 2, 3), keepdim=True)
        parts.append(small / small.std((1, 2, 3), keepdim=True).clamp_min(0.02))
    return torch.cat(parts)


def side_of(images: Images) -> int:
    """Side at which images are looked at: theirs rounded down to a multiple of 8, at most 32."""
    return max(8, min(SIDE, min(images.size[:2]) // 8 * 8))


def partners(units: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each image another one of the same person at random, itself where there is none."""
    order = rng.permutation(len(units))
    grouped = order[np.argsort(units[order], kind="stable")]
    names = units[grouped]
    first = np.searchsorted(names, names, side="left")
    last = np.searchsorted(names, names, side="right")
    found = np.empty(len(units), dtype=np.int64)
    after = np.arange(len(units)) + 1
    found[grouped] = grouped[np.where(after < last, after, first)]
    return found


def train_encoder(images: Images, units: NDArray[np.str_], steps: int, seed: int) -> Encoder:
    """An encoder trained on these images. units: str [N], who is shown in each."""
    side = side_of(images)
    rows = views(images, side)
    rng = seeds.generator(seed, "linkage")
    _, people = np.unique(units, return_inverse=True)
    with seeded(int(rng.integers(2**31))):
        encoder = Encoder(images.size[2], side).train()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=_RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=max(2, steps))
    report = surroundings().report
    for step in range(steps):
        anchor = rng.permutation(len(rows))[:_PAIRS]
        other = partners(units, rng)[anchor]
        left, right = (encoder(_changed(rows[which], rng)) for which in (anchor, other))
        loss = nt_xent(left, right, TEMPERATURE, torch.from_numpy(people[anchor]))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        report("training", (step + 1) / steps)
    return encoder.eval()


def _changed(rows: Tensor, rng: np.random.Generator) -> Tensor:
    """A view: shifted by up to an eighth, brightness, contrast and noise changed."""
    shifted = augment(rows, max(1, rows.shape[2] // 8), False, rng)
    gains = torch.from_numpy(rng.uniform(0.8, 1.25, len(rows)).astype(np.float32))
    noise = torch.from_numpy(rng.normal(0, 0.15, tuple(rows.shape)).astype(np.float32))
    return shifted * gains[:, None, None, None] + noise


def trained_encoder(images: Images, units: NDArray[np.str_], steps: int, seed: int) -> Encoder:
    """`train_encoder`, once for all arms, plants and candidates."""
    inputs: dict[str, Arrays] = {"images": {"pixels": images.pixels, "labels": images.labels, "units": units}}
    arguments = {"steps": steps, "seed": seed}
    label = f"learning to recognise persons in {len(images):,} images"
    (arrays,) = compute(Call(label, _TASK, arguments, inputs, {"version": VERSION}))
    encoder = Encoder(images.size[2], side_of(images))
    encoder.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return encoder.eval()


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels, labels, units} to the weights of an encoder, by name."""
    arrays = inputs["images"]
    encoder = train_encoder(Images.from_arrays(arrays), arrays["units"], arguments["steps"], arguments["seed"])
    return {name: value.detach().numpy().copy() for name, value in encoder.state_dict().items()}


@torch.inference_mode()
def embedded(encoder: Encoder, images: Images) -> Tensor:
    """Unit vectors of images as they are, float32 [N, 64]."""
    side = side_of(images)
    return torch.cat([encoder(part) for part in torch.split(views(images, side), _ROWS)])
