"""Trained networks, each trained once per store: the tasks behind `Context.train`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from privaudit.calls import Call, compute, surroundings
from privaudit.images import Images
from privaudit.learning.networks import Architecture, Network
from privaudit.learning.precision import bfloat16_pays
from privaudit.learning.recipe import Precision, Recipe, Training
from privaudit.learning.stacked import train_together
from privaudit.learning.training import architecture_of, train
from privaudit.store import Arrays

VERSION = 1
"""Rises when the same recipe, images and seed give other networks."""

TOGETHER = 32
"""Networks trained as one on a GPU, at most."""


def trained(trainings: Sequence[Training], device: str) -> list[Network]:
    """The trained networks, in order, in evaluation mode; equal trainings are done once.

    On a GPU those that are alike are trained as one network, TOGETHER at most, and are kept by who was trained with
    them; on cores each is a task of its own, so that they run beside each other.
    """
    groups = [[number] for number in range(len(trainings))] if device == "cpu" else alike(trainings)
    made = compute(*(_call([trainings[number] for number in group], device) for group in groups))
    found: dict[int, Network] = {}
    for group, arrays in zip(groups, made, strict=True):
        for place, number in enumerate(group):
            found[number] = Network.from_arrays(_part(arrays, place) if len(group) > 1 else arrays)
    return [found[number] for number in range(len(trainings))]


def alike(trainings: Sequence[Training]) -> list[list[int]]:
    """Numbers of trainings that can be done together: one recipe, a network of this project, as many images of one
    size.
    """
    groups: dict[Any, list[list[int]]] = {}
    for number, one in enumerate(trainings):
        # Layers of other packages may draw random numbers, which would not be those of a training alone.
        apart = number if one.recipe.network.startswith("torchvision:") else None
        views = None if one.views is None else one.views.tobytes()
        key = one.recipe, one.classes, len(one.images), one.images.size, one.soft_labels is None, views, apart
        lists = groups.setdefault(key, [[]])
        if len(lists[-1]) == TOGETHER:
            lists.append([])
        lists[-1].append(number)
    return [group for lists in groups.values() for group in lists]


def _call(trainings: Sequence[Training], device: str) -> Call:
    one = trainings[0]
    arguments = {
        "recipe": one.recipe.model_dump(mode="json"),
        "classes": int(one.classes),
        "device": device,
    }
    facts = {"version": VERSION}
    if len(trainings) == 1:
        label = f"training {one.recipe.network} on {len(one.images):,} images"
        task, alone = "privaudit.learning.trainings:train_task", {**arguments, "seed": int(one.seed)}
        return Call(label, task, alone, {"images": _arrays(one)}, facts)
    label = f"training {len(trainings)} {one.recipe.network} on {len(one.images):,} images each"
    images = {f"images {place}": _arrays(training) for place, training in enumerate(trainings)}
    together = {**arguments, "seeds": [int(training.seed) for training in trainings]}
    return Call(label, "privaudit.learning.trainings:train_together_task", together, images, facts)


def _arrays(training: Training) -> dict[str, NDArray[Any]]:
    images: dict[str, NDArray[Any]] = training.images.arrays()
    others = {"soft_labels": training.soft_labels, "views": training.views}
    return images | {name: array for name, array in others.items() if array is not None}


def _part(arrays: Arrays, place: int) -> Arrays:
    start = f"{place} "
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def train_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images': pixels, labels, soft_labels and views where there are any} to the arrays of a network."""
    one = _training(arguments, arguments["seed"], inputs["images"])
    around = surroundings()
    network = train(
        one.recipe,
        one.images,
        one.classes,
        one.seed,
        soft_labels=one.soft_labels,
        views=one.views,
        bfloat16=_bfloat16(one, arguments["device"]),
        device=arguments["device"],
        progress=around.report,
        checkpoint=around.checkpoint,
    )
    return network.arrays()


def train_together_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images 0': ..., 'images 1': ...} to the arrays of the networks, their names after the number of each.
    A killed one starts anew.
    """
    device = arguments["device"]
    asked = [_training(arguments, seed, inputs[f"images {place}"]) for place, seed in enumerate(arguments["seeds"])]
    networks = train_together(
        asked, bfloat16=_bfloat16(asked[0], device), device=device, progress=surroundings().report
    )
    return {
        f"{place} {name}": array for place, network in enumerate(networks) for name, array in network.arrays().items()
    }


def _training(arguments: Mapping[str, Any], seed: int, arrays: Arrays) -> Training:
    images = Images.from_arrays(arrays)
    recipe = Recipe.model_validate(arguments["recipe"])
    return Training(recipe, images, arguments["classes"], seed, arrays.get("soft_labels"), arrays.get("views"))


def _bfloat16(training: Training, device: str) -> bool:
    recipe = training.recipe
    architecture = architecture_of(recipe, training.images, training.classes)
    return in_bfloat16(recipe.precision, architecture, recipe.batch_size, device)


def in_bfloat16(precision: Precision, architecture: Architecture, batch_size: int, device: str) -> bool:
    """Whether to compute in bfloat16. auto: where it pays."""
    return bfloat16_pays(architecture, batch_size, device) if precision == "auto" else precision == "bfloat16"
