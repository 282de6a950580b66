"""How students are trained."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from privaudit.images import Images

if TYPE_CHECKING:
    from privaudit.learning import Recipe

FEWEST_STEPS, MOST_STEPS, MOST_EPOCHS = 1500, 3000, 300

_BATCH = 32


def student_recipe(images: Images) -> Recipe:
    """How students of a release of this size and number are trained, unless the user says otherwise.

    A plain network, AdamW at 0.003, weight decay 0.01, batches of 32, shifts of an eighth of the smaller side, no
    mirror images (a mirrored digit is none). As many steps as there are images, at least 1,500 and at most 3,000, in
    whole epochs, but at most 300 epochs and at least one: a release of 20 images is learned in 300 steps, and one of
    more than 96,000 takes more than 3,000.
    """
    from privaudit.learning import Recipe

    height, width, _ = images.size
    steps = min(MOST_STEPS, max(FEWEST_STEPS, len(images)))
    epochs = round(steps / math.ceil(max(1, len(images)) / _BATCH))
    return Recipe(
        network="convnet",
        epochs=min(MOST_EPOCHS, max(1, epochs)),
        batch_size=_BATCH,
        optimizer="adamw",
        learning_rate=0.003,
        weight_decay=0.01,
        crop=max(1, min(height, width) // 8),
        flip=False,
    )


def in_words(recipe: Recipe) -> str:
    """The recipe in one line."""
    extras = [
        f"shifts up to {recipe.crop} px" if recipe.crop else "no shifts",
        "mirrored" if recipe.flip else "not mirrored",
        *(["boxes of other images"] if recipe.cutmix else []),
        *([f"a cosine {recipe.decay:g} times as long"] if recipe.decay > 1 else []),
        *([f"label smoothing {recipe.label_smoothing:g}"] if recipe.label_smoothing else []),
        *([f"moving average {recipe.ema:g}"] if recipe.ema else []),
    ]
    return (
        f"{recipe.network}, {recipe.optimizer} {recipe.learning_rate:g}, weight decay {recipe.weight_decay:g}, "
        f"{recipe.epochs} epochs in batches of {recipe.batch_size}, {', '.join(extras)}"
    )


def as_many_steps(recipe: Recipe, release: int, images: int) -> Recipe:
    """The recipe with the epochs that take as many steps on these images as its own take on the release."""
    steps = recipe.epochs * math.ceil(release / recipe.batch_size)
    return recipe.model_copy(update={"epochs": max(1, round(steps / math.ceil(images / recipe.batch_size)))})
