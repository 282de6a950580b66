"""Points in a network's features that stand for a class, after its Wasserstein barycentre with few points.

The measure with k points that is nearest to the images of a class in the 2-Wasserstein distance, where the points may
have any weights, is that of the centres of k-means with the clusters' shares (Pollard 1982, DOI
10.1109/TIT.1982.1056481). Its use: Liu et al. 2025, arXiv 2311.18531. Two differences: the shares are left aside, and a
cluster of few members, which holds those who stand out, is dissolved: its members go to the nearest other one. The
centres are means of private images, and tell of them.
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
"""Members in each cluster, at least."""

_VERSION = 1
_ITERATIONS = 100


def barycentres(
    network: Network, images: Images, wanted: Mapping[int, int], seed: int, device: str
) -> dict[int, NDArray[np.float32]]:
    """So many points [k, features] for each class, each a mean of MEMBERS_PER_POINT members or more, done once for all
    batches; where there are fewer such means, they are repeated in turn.

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
        "images": images.arrays(),
    }
    function = "privaudit.synth.bn_matching.barycentres:barycentres_task"
    call = Call(f"barycentres of {len(images):,} images", function, arguments, inputs, {"version": _VERSION})
    return {int(label): points for label, points in compute(call)[0].items()}


def barycentres_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'network', 'images'} to the points of each class, by its number."""
    from sklearn.cluster import KMeans

    images = Images.from_arrays(inputs["images"])
    found = features(Network.from_arrays(inputs["network"]), images, arguments["device"])
    centres = {}
    for label, points in arguments["points"].items():
        mine = found[images.labels == int(label)]
        means = KMeans(points, n_init=1, max_iter=_ITERATIONS, random_state=arguments["seed"] % 2**32).fit(mine)
        kept = means_of_several(mine, means.labels_)
        centres[label] = kept[np.arange(points) % len(kept)]
    return centres


def means_of_several(found: NDArray[np.float32], cluster: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """The means of the clusters, [at most as many as clusters, features], each of MEMBERS_PER_POINT rows or more.

    The smallest cluster is dissolved until all are large enough, or one is left. cluster: number of each row's cluster.
    """
    number = np.unique(cluster, return_inverse=True)[1].ravel()
    while True:
        sizes = np.bincount(number)
        means = np.stack([found[number == one].mean(axis=0) for one in range(len(sizes))])
        smallest = int(sizes.argmin())
        if sizes[smallest] >= MEMBERS_PER_POINT or len(sizes) == 1:
            return np.asarray(means, dtype=np.float32)
        distances = ((found[number == smallest][:, None] - means) ** 2).sum(axis=2)
        distances[:, smallest] = np.inf
        number[number == smallest] = distances.argmin(axis=1)
        number[number > smallest] -= 1
