"""All that looks at the members for `dp-bn-matching`: the teacher and the noisy sums, made once."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import numpy as np

from privaudit import seeds
from privaudit.accounting import GaussianSteps
from privaudit.calls import surroundings
from privaudit.images import Images
from privaudit.learning import Architecture
from privaudit.learning.networks import GROUPNORM
from privaudit.learning.private import PrivateTraining, train_privately
from privaudit.store import Arrays
from privaudit.synth.bn_matching.embedding import Embedding, exact_sums, noisy_sums


def fit_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'images'} to the arrays of a network, and 'sums' and 'counts' of `NoisySums`."""
    images = Images(inputs["images"]["pixels"], inputs["images"]["labels"])
    seed, device = int(arguments["seed"]), arguments["device"]
    if arguments["secret"]:
        rng = np.random.default_rng(secrets.randbits(128))
    else:
        rng = seeds.generator(seed, "dp-bn-matching noise")
    architecture = Architecture(
        name=GROUPNORM,
        channels=1 if images.size[2] == 1 else 3,
        classes=arguments["classes"],
        side=min(images.size[:2]),
    )
    asked = PrivateTraining(
        GaussianSteps(*arguments["teacher"]),
        clip=arguments["clip"],
        divisor=arguments["divisor"],
        learning_rate=arguments["teacher_learning_rate"],
        crop=arguments["crop"],
    )
    network = train_privately(
        architecture,
        asked,
        images,
        start=int(seeds.generator(seed, "dp-bn-matching start").integers(2**62)),
        randomness=int(rng.integers(2**62)),
        device=device,
        progress=surroundings().report,
    )
    with Embedding(network, arguments["statistics_length"], device) as embedding:
        exact = exact_sums(embedding, images, arguments["classes"])
    found = noisy_sums(exact, float(arguments["sums"]), rng)
    return {**network.cpu().arrays(), "sums": found.sums.numpy(), "counts": found.counts.numpy()}
