"""Networks that a membership attacker trains: on the release, and on images of his own for comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.attack import Effort
from privaudit.attacks.membership.scores import Floats, logit_confidence
from privaudit.images import Images
from privaudit.learning import Network, Recipe, Training, logits
from privaudit.utility.recipes import student_recipe

TO_COMPARE = "images of the attacker's own from the same source, to train networks to compare with"
"""What these attackers need, for `Context.own_images`."""

_MOST_EPOCHS = 300


@dataclass(frozen=True)
class Spending:
    """Networks on each side, and about how many steps each is trained."""

    networks: int
    steps: int


SPENDING: Mapping[Effort, Spending] = {
    "quick": Spending(2, 200),
    "standard": Spending(4, 600),
    "thorough": Spending(16, 1500),
}


def spending(effort: Effort, networks: int | None, steps: int | None) -> Spending:
    """What this effort spends, unless the settings say otherwise."""
    default = SPENDING[effort]
    return Spending(networks or default.networks, steps or default.steps)


def attacker_recipe(images: Images, steps: int, network: str | None = None) -> Recipe:
    """A student's recipe without shifts, so that it learns by heart what it can, in about so many steps.

    At least one epoch and at most 300; float32, for small differences are looked at. network: another one than the
    student's.
    """
    recipe = student_recipe(images)
    epochs = round(steps / math.ceil(max(1, len(images)) / recipe.batch_size))
    changes = {"epochs": min(_MOST_EPOCHS, max(1, epochs)), "crop": 0, "precision": "float32"}
    return recipe.model_copy(update=changes | ({} if network is None else {"network": network}))


def class_count(*parts: Images) -> int:
    """Number of logits for the labels of all these images; at least two, for one class alone needs no network."""
    return max(2, 1 + max(int(part.labels.max(initial=0)) for part in parts))


def trainings(
    side: str,
    recipe: Recipe,
    images: Images,
    classes: int,
    count: int,
    seed: int,
    soft_labels: NDArray[np.float32] | None = None,
) -> list[Training]:
    """The same training from so many seeds, which are the same in all arms and for all candidates."""
    return [
        Training(
            recipe,
            images,
            classes,
            int(seeds.generator(seed, "membership", side, number).integers(2**31)),
            soft_labels,
        )
        for number in range(count)
    ]


def confidences(networks: Sequence[Network], suspects: Images, device: str) -> Floats:
    """Logit confidence of each network in the label of each suspect, [N, networks]."""
    return np.stack(
        [logit_confidence(logits(network, suspects, device), suspects.labels) for network in networks], axis=1
    )
