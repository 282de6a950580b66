"""Pretraining on the selected public images: no member takes part, so that it costs no privacy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from privaudit import seeds
from privaudit.images import Images
from privaudit.learning.edm import as_images, losses, train
from privaudit.learning.training import autocast
from privaudit.store import Arrays
from privaudit.synth.privimage.diffusion import new_denoiser, shape_of

_NO_CLASS = 0.1
"""Share of the images that are shown without their class."""

_AVERAGE = 0.999


def relabelled(images: Images, selected: NDArray[np.int64]) -> Images:
    """The images of the selected public classes, with the private classes that took them ([private classes, k])."""
    taken_by = np.full(max(int(images.labels.max()), int(selected.max())) + 1, -1)
    taken_by[selected] = np.arange(len(selected))[:, None]
    rows = np.flatnonzero(taken_by[images.labels] >= 0)
    return Images(images.pixels[rows], taken_by[images.labels[rows]])


def pretrain_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'public': pixels and labels, 'query': selected} to the arrays of a denoiser, averaged over the steps."""
    public = Images.from_arrays(inputs["public"])
    images, device = relabelled(public, inputs["query"]["selected"]), arguments["device"]
    seed, shape, batch = arguments["seed"], shape_of(arguments["shape"]), arguments["batch_size"]
    model = new_denoiser(shape, int(seeds.generator(seed, "privimage start").integers(2**62))).to(device).train()

    def loss(step: int) -> Tensor:
        rng = seeds.generator(seed, "privimage pretraining", step)
        rows = rng.integers(len(images), size=batch)
        labels = np.where(rng.random(batch) < _NO_CLASS, shape.classes, images.labels[rows])
        with autocast(device, device == "cuda"):
            shown = as_images(images.pixels[rows], device)
            return losses(model, shown, torch.from_numpy(labels).to(device), rng).mean()

    train(
        model,
        model.parameters(),
        loss,
        steps=-(-arguments["images"] // batch),
        learning_rate=arguments["learning_rate"],
        decay=_AVERAGE,
        stage="pretraining on public images",
    )
    return model.cpu().arrays()
