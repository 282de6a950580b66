"""All that looks at the members for `dp-bn-matching`: the teacher and the noisy sums, made once; and its audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.accounting import GaussianSteps
from privaudit.calls import surroundings
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.learning.gradient_canaries import TOO_LONG, GradientCanaries
from privaudit.learning.networks import GROUPNORM, SIDES
from privaudit.learning.private import PrivateTraining, train_privately
from privaudit.learning.training import seeded
from privaudit.private_engine import noise_generator, randomness_from
from privaudit.store import Arrays
from privaudit.synth.bn_matching.embedding import Embedding, contributions, cut, exact_sums, noisy_sums


def fit_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images'} to the arrays of a network, and 'sums' and 'counts' of `NoisySums`."""
    images = Images.from_arrays(inputs["images"])
    seed, device = int(arguments["seed"]), arguments["device"]
    rng = noise_generator(arguments, "dp-bn-matching noise")
    asked = PrivateTraining(
        GaussianSteps(*arguments["teacher"]),
        clip=arguments["clip"],
        divisor=arguments["divisor"],
        learning_rate=arguments["teacher_learning_rate"],
        crop=arguments["crop"],
    )
    network = train_privately(
        _architecture(images, arguments["classes"]),
        asked,
        images,
        start=int(seeds.generator(seed, "dp-bn-matching start").integers(2**62)),
        randomness=randomness_from(rng),
        device=device,
        progress=surroundings().report,
    )
    with Embedding(network, arguments["statistics_length"], device) as embedding:
        exact = exact_sums(embedding, images, arguments["classes"])
    found = noisy_sums(exact, float(arguments["sums"]), rng)
    return {**network.cpu().arrays(), "sums": found.sums.numpy(), "counts": found.counts.numpy()}


def _architecture(images: Images, classes: int) -> Architecture:
    side = min(images.size[:2])
    if side < SIDES[0]:
        raise InputError(f"The teacher needs images of at least {SIDES[0]} pixels a side; found {side}. Use --size.")
    return Architecture(name=GROUPNORM, channels=1 if images.size[2] == 1 else 3, classes=classes, side=side)


def teacher_scores(
    asked: PrivateTraining,
    claimed: GaussianSteps,
    images: Images,
    classes: int,
    device: str,
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """What gradients leave in the steps of the teacher's training, float64 [canaries]."""
    canaries = GradientCanaries(inside, claimed, asked.clip, asked.divisor, device)
    train_privately(
        _architecture(images, classes),
        asked,
        images,
        start=int(rng.integers(2**62)),
        randomness=randomness_from(rng),
        device=device,
        progress=surroundings().report,
        canaries=canaries,
    )
    return canaries.ratios


def statistics_scores(
    noise_multiplier: float,
    images: Images,
    classes: int,
    length: float,
    device: str,
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
    views: int = 1,
) -> NDArray[np.float64]:
    """What one image more leaves in the noisy sums, float64 [canaries]; each in sums of its own, under a network that
    is not trained. Its vector is a hundred times as long as the limit, and is cut like others.

    views: how often the noise is drawn; more than once gives a mean of so many noisy sums away.
    """
    with seeded(int(rng.integers(2**62))):
        network = Network(_architecture(images, classes))
    with Embedding(network, length, device) as embedding:
        exact = exact_sums(embedding, images, classes)
    scores = np.empty(len(inside))
    for place, is_in in enumerate(inside):
        vector = torch.zeros(1, exact.shape[1] - 1)
        vector[0, place % vector.shape[1]] = TOO_LONG * length
        direction = torch.zeros_like(exact)
        direction[place % classes] = contributions(cut(vector, length), length)[0]
        found = [noisy_sums(exact + float(is_in) * direction, noise_multiplier, rng) for _ in range(views)]
        seen = torch.stack([torch.cat([one.sums, one.counts[:, None]], 1) for one in found]).mean(0) / 2**0.5
        along = direction / direction.norm()
        scores[place] = float(((seen - exact) * along).sum())
    return scores
