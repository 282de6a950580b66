"""Digits in a fixed random order, and a recipe that learns them quickly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from privaudit.data.builtin import load_digits
from privaudit.images import Images
from privaudit.learning import Recipe


@lru_cache(maxsize=1)
def _all_digits() -> Images:
    images = load_digits().images
    return images.take(np.random.default_rng(0).permutation(len(images)))


def digits(start: int, end: int) -> Images:
    return _all_digits().take(slice(start, end))


def recipe(epochs: int) -> Recipe:
    return Recipe(
        epochs=epochs, batch_size=32, optimizer="adamw", learning_rate=0.003, weight_decay=0.01, precision="float32"
    )
