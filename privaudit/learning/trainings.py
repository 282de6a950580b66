"""Trained networks, each trained once per store: the tasks behind `Context.train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning.networks import Architecture, Network
from privaudit.learning.precision import bfloat16_pays
from privaudit.learning.recipe import Recipe
from privaudit.learning.training import architecture_of, train
from privaudit.store import Arrays

VERSION = 1
"""Rises when the same recipe, images and seed give other networks."""


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is asked for. soft_labels: [N, classes] probabilities to learn instead of the labels."""

    recipe: Recipe
    images: Images
    classes: int
    seed: int
    soft_labels: NDArray[np.float32] | None = None


def trained(trainings: Sequence[Training], device: str) -> list[Network]:
    """The trained networks, in order, in evaluation mode; equal trainings are done once."""
    return [Network.from_arrays(arrays) for arrays in compute(*(_call(training, device) for training in trainings))]


def _call(training: Training, device: str) -> Call:
    images: dict[str, NDArray[Any]] = {"pixels": training.images.pixels, "labels": training.images.labels}
    if training.soft_labels is not None:
        images["soft_labels"] = training.soft_labels
    arguments = {
        "recipe": training.recipe.model_dump(mode="json"),
        "classes": int(training.classes),
        "seed": int(training.seed),
        "device": device,
    }
    label = f"training {training.recipe.network} on {len(training.images):,} images"
    return Call(label, "privaudit.learning.trainings:train_task", arguments, {"images": images}, {"version": VERSION})


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels, labels, soft_labels where there are any} to the arrays of a network."""
    recipe, device, arrays = Recipe.model_validate(arguments["recipe"]), arguments["device"], inputs["images"]
    images = Images(arrays["pixels"], arrays["labels"])
    architecture = architecture_of(recipe, images, arguments["classes"])
    bfloat16 = recipe.precision == "bfloat16"
    if recipe.precision == "auto":
        bfloat16 = bfloat16_pays_here(architecture, recipe.batch_size, device)
    around = surroundings()
    network = train(
        recipe,
        images,
        arguments["classes"],
        arguments["seed"],
        soft_labels=arrays.get("soft_labels"),
        bfloat16=bfloat16,
        device=device,
        progress=around.report,
        checkpoint=around.checkpoint,
    )
    return network.arrays()


def bfloat16_pays_here(architecture: Architecture, batch_size: int, device: str) -> bool:
    """Whether bfloat16 pays, by a trial that is made once per store, so that a close call is decided once."""
    arguments = {"architecture": architecture.model_dump(mode="json"), "batch_size": batch_size, "device": device}
    (trial,) = compute(Call("trying bfloat16", "privaudit.learning.trainings:trial_task", arguments))
    return bool(trial["pays"])


def trial_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Whether bfloat16 pays: 'pays', 0 or 1."""
    architecture = Architecture.model_validate(arguments["architecture"])
    return {"pays": np.asarray(bfloat16_pays(architecture, arguments["batch_size"], arguments["device"]))}
