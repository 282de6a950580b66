"""Points in a network's features that stand for a class: its Wasserstein barycentre with few points.

The measure with k points that is nearest to the images of a class in the 2-Wasserstein distance, where the points may
have any weights, is that of the centres of k-means with the clusters' shares (Pollard 1982, DOI
10.1109/TIT.1982.1056481). Its use: Liu et al. 2025, arXiv 2311.18531. The centres are means of few private images each,
and tell of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.calls import Call, compute
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, features
from privaudit.store import Arrays

MEMBERS_PER_POINT = 5
"""Members of a class for each point, at least: nearly single images would be released otherwise."""

_VERSION = 1
_ITERATIONS = 100


def barycentres(
    network: Network, images: Images, wanted: Mapping[int, int], seed: int, device: str
) -> dict[int, NDArray[np.float32]]:
    """So many points [k, features] for each class, done once for all batches.

    Raises InputError where a class has fewer than MEMBERS_PER_POINT members for each point.
    """
    counts = np.bincount(images.labels, minlength=max(wanted) + 1)
    for label, points in wanted.items():
        if counts[label] < MEMBERS_PER_POINT * points:
            raise InputError(
                f"features_weight pulls each image to a mean of private images, and class {label} has "
                f"{counts[label]:,} for {points:,} images: it needs {MEMBERS_PER_POINT} for each. Set images_per_class "
                f"to {max(1, int(counts[list(wanted)].min()) // MEMBERS_PER_POINT)} or less, or features_weight to 0."
            )
    arguments = {"points": {str(label): points for label, points in wanted.items()}, "seed": seed, "device": device}
    inputs: dict[str, Arrays] = {
        "network": network.arrays(),
        "images": {"pixels": images.pixels, "labels": images.labels},
    }
    function = "privaudit.synth.bn_matching.barycentres:barycentres_task"
    call = Call(f"barycentres of {len(images):,} images", function, arguments, inputs, {"version": _VERSION})
    return {int(label): points for label, points in compute(call)[0].items()}


def barycentres_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'network', 'images'} to the points of each class, by its number."""
    from sklearn.cluster import KMeans

    images = Images(inputs["images"]["pixels"], inputs["images"]["labels"])
    found = features(Network.from_arrays(inputs["network"]), images, arguments["device"])
    centres = {}
    for label, points in arguments["points"].items():
        mine = found[images.labels == int(label)]
        means = KMeans(points, n_init=1, max_iter=_ITERATIONS, random_state=arguments["seed"] % 2**32).fit(mine)
        centres[label] = means.cluster_centers_.astype(np.float32)
    return centres
