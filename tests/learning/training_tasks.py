"""Work for tests/learning/test_trainings.py, importable in worker processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from privaudit.attack import Context
from privaudit.images import Images
from privaudit.learning import Recipe, Training, checkpoint, trained
from privaudit.store import Arrays


def attack(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Trains one network, with a seed from the generator; its arrays. nothing_to_lose: a checkpoint an epoch."""
    if arguments.get("nothing_to_lose"):
        checkpoint.SECONDS_TO_LOSE = 0.0
    own = Context(np.random.default_rng(arguments["seed"]))
    images = Images(inputs["images"]["pixels"], inputs["images"]["labels"])
    assert isinstance(images.pixels, np.memmap)
    seed: Any = own.generator.integers(2**31)  # a number of numpy, as plugins will have it
    soft = inputs["images"].get("soft_labels")
    network = own.train(
        Recipe.model_validate(arguments["recipe"]), images, seed, classes=arguments.get("classes"), soft_labels=soft
    )
    assert not network.training
    return network.arrays()


def several(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Trains networks on halves of the images, all asked for at once; their last layers."""
    images = Images(inputs["images"]["pixels"], inputs["images"]["labels"])
    halves = [images.take(slice(start, None, 2)) for start in (0, 1, 0)]
    recipe = Recipe.model_validate(arguments["recipe"])
    networks = trained([Training(recipe, half, 3, arguments["seed"]) for half in halves], "cpu")
    return {str(number): network.arrays()["body.linear.weight"] for number, network in enumerate(networks)}
