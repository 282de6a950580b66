"""The descriptor: a small network that learns, from the attacker's own images, to know an image after strong changes.

NT-Xent loss of SimCLR (Chen et al. 2020, arXiv 2002.05709); trained on the data at hand to find copies, as by Dar et
al. 2025 (doi 10.1038/s41551-025-01468-8); changes and use as by Pizzi et al. 2022 (SSCD, arXiv 2202.10261). Written
from the descriptions. One view of a pair is the image itself, as it is in the attacker's pile, the other is changed, as
it may be in the release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from privaudit import seeds
from privaudit.attacks.copy_descriptor.augmentation import changed
from privaudit.attacks.copy_descriptor.descriptions import described
from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning import Network, Precision, in_bfloat16
from privaudit.learning.batches import as_float
from privaudit.learning.contrastive import nt_xent
from privaudit.learning.networks import Architecture
from privaudit.learning.training import autocast, channel_moments, seeded
from privaudit.store import Arrays

VERSION = 2
"""Rises when the same images, steps and seed give another descriptor."""

LARGEST_SIDE = 64
SMALLEST_SIDE = 8
_BATCH = 64
_ROWS_PER_BLOCK = 512
_LEARNING_RATE = 2e-3
_TEMPERATURE = 0.1


def prepared(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """Float32 NCHW in [0, 1] with a smaller side of 8 to 64 pixels."""
    images = as_float(pixels, device)
    height, width = images.shape[2:]
    factor = min(LARGEST_SIDE / min(height, width), max(1.0, SMALLEST_SIDE / min(height, width)))
    if factor == 1:
        return images
    size = (round(height * factor), round(width * factor))
    return functional.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=factor < 1)


def trained_descriptors(
    own: Images,
    parts: Sequence[Images],
    dimensions: int,
    steps: int,
    seed: int,
    device: str = "cpu",
    precision: Precision = "float32",
) -> tuple[list[Tensor], dict[str, float]]:
    """Descriptors of the images in each part, rows of length 1, float32 [N, D] on the CPU, each the mean of those of
    the image and its mirror image; and figures of the training.

    The network is trained, and each part described, once for all who ask for the same.
    """
    label, arguments = f"training a copy descriptor on {len(own):,} images", {"device": device}
    some = prepared(own.pixels[:1], "cpu")
    architecture = Architecture(
        name="convnet", channels=int(some.shape[1]), classes=dimensions, side=int(min(some.shape[2:]))
    )
    bfloat16 = in_bfloat16(precision, architecture, 2 * min(_BATCH, len(own)), device)
    training = {
        "architecture": architecture.model_dump(mode="json"),
        "steps": steps,
        "seed": seed,
        "bfloat16": bfloat16,
        **arguments,
    }
    facts = {"version": VERSION}
    (arrays,) = compute(Call(label, f"{__name__}:train_task", training, {"images": {"pixels": own.pixels}}, facts))
    weights = {name: value for name, value in arrays.items() if name != "loss"}
    task = f"{__name__}:describe_task"
    rows = described(parts, task, arguments, {"network": weights}, facts)
    return rows, {"NT-Xent loss": float(arrays["loss"]), "trained in bfloat16": float(bfloat16)}


def describe_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'network': its arrays, 'images': pixels} to the 'rows' of the images."""
    network, device = Network.from_arrays(inputs["network"]), arguments["device"]
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pixels = inputs["images"]["pixels"]
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), _ROWS_PER_BLOCK):
            images = prepared(pixels[start : start + _ROWS_PER_BLOCK], device)
            both = torch.cat([images, images.flip(3)]).contiguous(memory_format=torch.channels_last)
            rows = functional.normalize(network(both))
            parts.append(functional.normalize(rows[: len(images)] + rows[len(images) :]).cpu())
    return {"rows": torch.cat(parts).numpy()}


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels} to the arrays of a network and its mean 'loss' over the last tenth of the steps."""
    pixels, steps, device = inputs["images"]["pixels"], arguments["steps"], arguments["device"]
    rng = seeds.generator(arguments["seed"], "copy descriptor")
    report, count = surroundings().report, min(_BATCH, len(pixels))
    losses = []
    with seeded(int(rng.integers(2**62)), device):
        network = Network(Architecture.model_validate(arguments["architecture"])).to(
            device, memory_format=torch.channels_last
        )  # type: ignore[call-overload]
        network.set_standardisation(*channel_moments(Images(pixels, np.zeros(len(pixels), np.int64))))
        optimizer = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(steps):
            batch = prepared(pixels[rng.permutation(len(pixels))[:count]], "cpu")
            second = changed(batch, rng).to(device)
            both = torch.cat([batch.to(device), second]).contiguous(memory_format=torch.channels_last)
            with autocast(device, arguments["bfloat16"]):
                rows = network(both)
            rows = functional.normalize(rows.float())
            loss = nt_xent(rows[:count], rows[count:], _TEMPERATURE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            if step % 20 == 19:
                report("training a copy descriptor", (step + 1) / steps)
    return {**network.cpu().eval().arrays(), "loss": np.asarray(np.mean(losses[-max(1, steps // 10) :]))}
