"""Pretraining on the selected public images: no member takes part, so that it costs no privacy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.calls import surroundings
from privaudit.images import Images
from privaudit.learning.checkpoint import Checkpoint
from privaudit.learning.training import autocast, seeded
from privaudit.store import Arrays
from privaudit.synth.privimage.diffusion import as_images, averaged_over_steps, losses, new_denoiser, shape_of

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
    public = Images(inputs["public"]["pixels"], inputs["public"]["labels"])
    images, device = relabelled(public, inputs["query"]["selected"]), arguments["device"]
    seed, shape, batch = arguments["seed"], shape_of(arguments["shape"]), arguments["batch_size"]
    model = new_denoiser(shape, int(seeds.generator(seed, "privimage start").integers(2**62))).to(device).train()
    averaged = averaged_over_steps(model, _AVERAGE)
    optimizer = torch.optim.Adam(model.parameters(), lr=arguments["learning_rate"])
    around, steps = surroundings(), -(-arguments["images"] // batch)
    state = Checkpoint(around.checkpoint, model, averaged, optimizer)
    for step in range(state.load(), steps):
        rng = seeds.generator(seed, "privimage pretraining", step)
        rows = rng.integers(len(images), size=batch)
        labels = np.where(rng.random(batch) < _NO_CLASS, shape.classes, images.labels[rows])
        with seeded(step), autocast(device, device == "cuda"):
            shown = as_images(images.pixels[rows], device)
            loss = losses(model, shown, torch.from_numpy(labels).to(device), rng).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        averaged.update_parameters(model)
        state.save(step + 1)
        around.report("pretraining on public images", (step + 1) / steps)
    state.remove()
    model.load_state_dict(averaged.module.state_dict())
    return model.cpu().arrays()
