"""The semantic query: which public classes do the private images look like, asked with noise.

Each private image votes for the k public classes that a classifier of public images holds most likely, in the row of
its own class. An image more or less changes one row by k ones, so that the L2 sensitivity is the root of k (Li et al.,
PrivImage, USENIX Security 2024, arXiv 2311.12850).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, logits
from privaudit.private_engine import noise_generator
from privaudit.store import Arrays

Histogram = NDArray[np.float64]
"""[private classes, public classes]."""


def votes(answers: NDArray[np.float32], labels: NDArray[np.int64], classes: int, k: int) -> Histogram:
    """How many images of each private class have each public class among their k largest answers ([N, public]).

    Of equal answers the earlier class counts as larger.
    """
    found = np.zeros((classes, answers.shape[1]))
    chosen = np.argsort(-answers, axis=1, kind="stable")[:, :k]
    np.add.at(found, (labels[:, None], chosen), 1)
    return found


def noisy(histogram: Histogram, k: int, noise_multiplier: float, rng: np.random.Generator) -> Histogram:
    """The histogram with Gaussian noise of the noise multiplier times its sensitivity, the root of k."""
    return histogram + rng.normal(0, noise_multiplier * k**0.5, histogram.shape)


def selected(histogram: Histogram, k: int) -> NDArray[np.int64]:
    """The k public classes of each private class, [private classes, k]: the highest bins of its row that no earlier row
    has taken; of equal ones the first.

    Raises InputError where there are too few public classes.
    """
    classes, public = histogram.shape
    check_enough(classes, k, public)
    free, found = np.ones(public, dtype=bool), []
    for row in histogram:
        best = np.argsort(np.where(free, -row, np.inf), kind="stable")[:k]
        free[best] = False
        found.append(best)
    return np.array(found)


def check_enough(classes: int, k: int, public: int) -> None:
    """Raises InputError where there are too few public classes for k of each private class."""
    if classes * k > public:
        raise InputError(
            f"{classes} private classes take {k} public {'class' if k == 1 else 'classes'} each, but the public images "
            f"have {public}. Choose a smaller classes_each, or public images of more classes."
        )


def query_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images', 'classifier'} to 'histogram', which has noise, and 'selected'."""
    images = Images.from_arrays(inputs["images"])
    answers = logits(Network.from_arrays(inputs["classifier"]), images, arguments["device"])
    k = arguments["k"]
    exact = votes(answers, images.labels, arguments["classes"], k)
    found = noisy(exact, k, arguments["noise_multiplier"], noise_generator(arguments, "privimage query"))
    return {"histogram": found, "selected": selected(found, k)}


def query_scores(
    noise_multiplier: float,
    images: Images,
    classes: int,
    public: int,
    k: int,
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What one image more leaves in the noisy histogram, float64 [canaries]; each in a histogram of its own, of random
    answers.
    """
    answers = rng.standard_normal((len(images), public), dtype=np.float32)
    exact = votes(answers, images.labels, classes, k)
    scores = np.empty(len(inside))
    for place, is_in in enumerate(inside):
        own = rng.standard_normal((1, public), dtype=np.float32)
        direction = votes(own, np.array([place % classes]), classes, k)
        seen = noisy(exact + float(is_in) * direction, k, noise_multiplier, rng)
        scores[place] = ((seen - exact) * direction).sum() / k
    return scores
