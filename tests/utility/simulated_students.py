"""Students whose true accuracies are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Sides = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def students(
    rng: np.random.Generator,
    count: int,
    images: int,
    means: tuple[float, float],
    spread: float,
    shared: tuple[float, float] = (0.5, 0.2),
    persons: int | None = None,
) -> Sides:
    """Where `count` students of two sides are right about the same images.

    A student's accuracy is normal around its side's mean with sd `spread`. An image is got right where a normal number
    lies below that accuracy's quantile; its variance comes in shares from the image (the same for all students, or
    from its person), from image and side, and for the rest from image and student.
    """
    everyone = rng.normal(size=images)
    if persons is not None:
        everyone = rng.normal(size=persons)[np.arange(images) % persons]
    sides = []
    for mean in means:
        accuracy = np.clip(mean + spread * rng.normal(size=(count, 1)), 0.005, 0.995)
        own = rng.normal(size=images)
        rest = rng.normal(size=(count, images))
        latent = np.sqrt(shared[0]) * everyone + np.sqrt(shared[1]) * own + np.sqrt(1 - sum(shared)) * rest
        sides.append(latent < stats.norm.ppf(accuracy))
    return sides[0], sides[1]
