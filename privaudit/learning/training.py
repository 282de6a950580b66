"""The training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from privaudit import seeds
from privaudit.attack import Progress, no_progress
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.batches import batches, check_soft_labels, drawn_batch
from privaudit.learning.checkpoint import Checkpoint
from privaudit.learning.networks import SIDES, Architecture, Network
from privaudit.learning.recipe import Recipe, Training
from privaudit.views import Views

_WARMUP = 0.05


def channel_moments(images: Images) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per channel of images in [0, 1], exact, in one pass."""
    total = np.zeros(images.size[2])
    squares = np.zeros(images.size[2])
    for start in range(0, len(images), 1024):
        block = images.pixels[start : start + 1024].astype(np.float64) / 255
        total += block.sum((0, 1, 2))
        squares += (block**2).sum((0, 1, 2))
    mean = total / (images.pixels.size / images.size[2])
    return mean, np.sqrt(np.maximum(squares / (images.pixels.size / images.size[2]) - mean**2, 0))


def architecture_of(recipe: Recipe, images: Images, classes: int) -> Architecture:
    """The network that a recipe trains on these images. Raises InputError for too few or too small images, and for
    labels out of range.
    """
    if len(images) < 2:
        raise InputError(f"Training needs at least two images; found {len(images)}.")
    if images.labels.min() < 0 or images.labels.max() >= classes:
        raise InputError(f"Labels must be 0 to {classes - 1}; found {images.labels.min()} to {images.labels.max()}.")
    height, width, channels = images.size
    if not SIDES[0] <= min(height, width) <= SIDES[1]:
        raise InputError(
            f"Networks take images of {SIDES[0]} to {SIDES[1]} pixels on their smaller side; found {width} x {height}."
        )
    return Architecture(name=recipe.network, channels=channels, classes=classes, side=min(height, width))


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Torch's own generators, from which layers draw, start from this seed in the block, then go on as before."""
    gpu = [torch.cuda.current_device()] if device == "cuda" else []
    with torch.random.fork_rng(devices=gpu):
        torch.default_generator.manual_seed(seed)
        for number in gpu:
            torch.cuda.default_generators[number].manual_seed(seed)
        if device == "mps":
            torch.mps.manual_seed(seed)
        yield


def new_network(recipe: Recipe, images: Images, classes: int, seed: int) -> Network:
    """An untrained network for these images, standardising with their moments; equal for equal seeds."""
    with seeded(_torch_seed(seed, "weights")):
        network = Network(architecture_of(recipe, images, classes))
    network.set_standardisation(*channel_moments(images))
    return network


def _torch_seed(seed: int, *names: str | int) -> int:
    return int(seeds.generator(seed, "training", *names).integers(2**62))


def train(
    recipe: Recipe,
    images: Images,
    classes: int,
    seed: int,
    *,
    soft_labels: NDArray[np.float32] | None = None,
    views: Views | None = None,
    bfloat16: bool = False,
    device: str = "cpu",
    progress: Progress = no_progress,
    checkpoint: Path | None = None,
    network: Network | None = None,
    penalty: Callable[[Network], Tensor] | None = None,
) -> Network:
    """Train from scratch (or go on from `network`, which is changed) and return it in evaluation mode, on the CPU.

    soft_labels, views: what to learn instead of the labels, see `Training`. bfloat16: matrix products in bfloat16.
    checkpoint: a file that is written from time to time and read at the start, so that a killed training goes on with
    the same bits; removed at the end. penalty: a scalar of the network being trained, added to the loss of every step
    in float32; a function of its parameters alone, so that a training that goes on finds what it left.
    Raises InputError for too few images or labels out of range.
    """
    architecture_of(recipe, images, classes)
    asked = Training(recipe, images, classes, seed, soft_labels, views)
    check_soft_labels(asked)
    found = new_network(recipe, images, classes, seed) if network is None else network
    found.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    averaged = None
    if recipe.ema is not None:
        average = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
        averaged = AveragedModel(found, multi_avg_fn=average, use_buffers=True)
    optimizer = optimizer_of(recipe, found.parameters())
    state = Checkpoint(checkpoint, found, averaged, optimizer)
    steps = steps_per_epoch(recipe, len(images))
    for epoch in range(state.load(), recipe.epochs):
        with seeded(_torch_seed(seed, "epoch", epoch), device):
            rng = seeds.generator(seed, "training", "batches", epoch)
            for number, rows in enumerate(batches(len(images), recipe.batch_size, rng)):
                set_learning_rate(optimizer, recipe, (epoch * steps + number) / (recipe.epochs * steps))
                batch, wanted = drawn_batch(asked, rows, device, rng)
                with autocast(device, bfloat16):
                    logits = found(batch)
                loss = functional.cross_entropy(logits.float(), wanted, label_smoothing=recipe.label_smoothing)
                if penalty is not None:
                    loss = loss + penalty(found)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                if averaged is not None:
                    averaged.update_parameters(found)
        if not torch.isfinite(loss):
            raise InputError(
                f"The training of {recipe.network} diverged in epoch {epoch + 1}: its loss is {loss.item()}. Choose a "
                f"learning_rate below {recipe.learning_rate:g}."
            )
        state.save(epoch + 1)
        progress("training", (epoch + 1) / recipe.epochs)
    if averaged is not None:
        found.load_state_dict(averaged.module.state_dict())
    state.remove()
    return found.cpu().eval()


def learning_rate(recipe: Recipe, share: float) -> float:
    """The learning rate when this share of all steps is done."""
    if share < _WARMUP:
        return recipe.learning_rate * (share / _WARMUP * 0.9 + 0.1)
    done = (share - _WARMUP) / (1 - _WARMUP)
    return recipe.learning_rate * (1 + math.cos(math.pi * done / recipe.decay)) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, recipe: Recipe, share: float) -> None:
    """Give the optimiser the learning rate when this share of all steps is done."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(recipe, share)


def steps_per_epoch(recipe: Recipe, count: int) -> int:
    """Steps of one pass over so many images; a last single image is no step of its own."""
    return math.ceil((count - 1) / recipe.batch_size)


def autocast(device: str, bfloat16: bool) -> AbstractContextManager[Any]:
    """Matrix products in bfloat16, or nothing."""
    return torch.autocast(device, torch.bfloat16) if bfloat16 else nullcontext()


def optimizer_of(recipe: Recipe, parameters: Iterable[Tensor], stacked: bool = False) -> torch.optim.Optimizer:
    """The optimiser of a network's parameters. stacked: of several networks, along a first axis."""
    decayed, kept = list[Tensor](), list[Tensor]()
    for parameter in parameters:
        (decayed if parameter.ndim > 1 + stacked else kept).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
