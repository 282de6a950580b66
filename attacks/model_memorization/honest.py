"""What an honestly trained network tells by itself: the smaller its loss, the likelier an image was used."""

from __future__ import annotations

import numpy as np

from privaudit.attack import Context, Evidence, Seen
from privaudit.attacks.model_memorization.storage import Storage, kept_in
from privaudit.images import Images
from privaudit.learning import Network, Recipe, logits

NETWORK = "network/"
"""How the names of the published network's arrays begin."""

RIGHT = "right on held-out released images"


def honest_parameters(images: Images, recipe: Recipe, storage: Storage, world: Context) -> Seen:
    """Parameters of a network that was trained on all released images and nothing else."""
    network = kept_in(world.train(recipe, images, world.seed), storage)
    return Seen({f"{NETWORK}{name}": array for name, array in network.arrays().items()})


def published_network(seen: Seen) -> Network:
    """The network that the attacker got."""
    parts = {name.removeprefix(NETWORK): array for name, array in seen.arrays.items() if name.startswith(NETWORK)}
    return Network.from_arrays(parts)


def ranked_by_loss(network: Network, suspects: Images, device: str) -> Evidence:
    """Score: minus the cross-entropy of each suspect's label; NaN for labels that the network does not know."""
    found = logits(network, suspects, device).astype(np.float64)
    known = suspects.labels < found.shape[1]
    label = np.where(known, suspects.labels, 0)[:, None]
    largest = found.max(1)
    total = largest + np.log(np.exp(found - largest[:, None]).sum(1))
    scores = np.take_along_axis(found, label, axis=1)[:, 0] - total
    scores[~known] = np.nan
    return Evidence(
        scores=scores, diagnostics={"mean loss of the pile": float(-scores[known].mean()) if known.any() else 0}
    )
