"""Statistics matching: does an image help to explain the class-wise statistics that were published?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Context, Evidence, Seen, Settings, Sight, Source
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import Release
from privaudit.released_statistics import IMAGES, MEAN, VARIANCE, layers_of, moments, needs_network

_STATISTICS, _NETWORK = "statistics: ", "network: "
_SMALLEST_REST = 0.05

Floats = NDArray[np.float64]


class Whitening:
    """Differences of an image from its class, of one size in every direction as far as the attacker's images tell.

    rows: float64 [N, d], residuals of his own images. Directions that they do not show get the variance `floor`, a
    share of the mean.
    """

    def __init__(self, rows: Floats, floor: float) -> None:
        self.scale = np.maximum(rows.std(0), 1e-9 + 1e-6 * float(rows.std()))
        _, spread, axes = np.linalg.svd(rows / self.scale, full_matrices=False)
        variances = spread**2 / len(rows)
        ridge = floor * float(variances.sum()) / rows.shape[1]
        self.axes, self.gain = axes, 1 / np.sqrt(variances + ridge) - 1 / np.sqrt(ridge)
        self.base = 1 / np.sqrt(ridge)

    def __call__(self, rows: Floats) -> Floats:
        """Float64 [N, d]."""
        scaled = rows / self.scale
        return np.asarray(self.base * scaled + ((scaled @ self.axes.T) * self.gain) @ self.axes)


def gain(shift: Floats, rows: Floats, count: int) -> Floats:
    """Twice the log likelihood gained by taking each image for one of the `count` behind a published class mean.

    shift: [d], published mean less the population's; rows: [N, d], images less the population's mean; both whitened.
    With the image the mean is normal around row/count with variance (count - 1)/count^2, without it around 0 with
    variance 1/count; what is equal for all images of the class is left out.
    """
    rest = max(count - 1, _SMALLEST_REST)
    return np.asarray((2 * count * rows @ shift - (rows**2).sum(1)) / rest)


class StatisticsMatching(Settings):
    """Membership by published class-wise statistics.

    The attacker holds the statistics, the network that they were measured with, and images of his own (`reference`). An
    image behind a class's mean has pulled it towards itself: the mean of n images moves by 1/n of the difference. Means
    and mean squares of all layers are compared with those of his own images of that class, whitened by his own images,
    and each suspect gets the likelihood that it gains as one of the n; then his own images of the class say how large
    such gains are by chance. This is the likelihood ratio of normal laws, of this project's own making.
    """

    name: ClassVar[str] = "statistics-matching"
    version: ClassVar[int] = 1
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.STATISTICS})
    threat_model: ClassVar[str] = (
        "An outsider who holds the class-wise statistics that were published, the network that they were measured "
        "with, and images of his own from the same source. He asks of every photograph whether the statistics look as "
        "if it had been among the images behind them."
    )

    floor: float = Field(
        0.1, gt=0, le=100, description="variance where his own images show none, as a share of the mean variance"
    )

    def reach(self, n_release: int) -> int | None:
        """None: every suspect is ranked."""
        return None

    def expose(self, release: Release, world: Context) -> Seen:
        """The statistics, and the network where layers of one are among them."""
        if release.statistics is None:
            raise InputError("statistics-matching looks at published statistics; this release has none.")
        shown: dict[str, NDArray[Any]] = {_STATISTICS + name: array for name, array in release.statistics.items()}
        if needs_network(release.statistics):
            if release.teacher is None:
                raise InputError("The network that the statistics were measured with is not published.")
            shown |= {_NETWORK + name: array for name, array in release.teacher.arrays().items()}
        nothing = np.zeros(0, dtype=np.int64)
        return Seen(shown, Source(nothing, nothing))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: likelihood gained, in standard deviations of the gains of his own images of the class."""
        reference = own.own_images(self.name)
        statistics = _named(seen.arrays, _STATISTICS)
        layers, classes = layers_of(statistics), len(statistics[IMAGES])
        network = None
        if parts := _named(seen.arrays, _NETWORK):
            from privaudit.learning import Network

            network = Network.from_arrays(parts)
        mine, rows = (_features(moments(images, layers, network, own.device)) for images in (reference, suspects))
        own.progress("features", 0.5)
        labels = reference.labels
        published = np.concatenate(
            [
                part
                for layer in layers
                for part in (
                    statistics[MEAN + layer],
                    statistics[VARIANCE + layer] + statistics[MEAN + layer] ** 2,
                )
            ],
            axis=1,
        )
        means = np.stack(
            [mine[labels == label].mean(0) if (labels == label).any() else mine.mean(0) for label in range(classes)]
        )
        known = labels < classes
        white = Whitening(mine[known] - means[labels[known]], self.floor)
        scores = np.full(len(suspects), np.nan)
        for label in range(classes):
            count, asked, his = int(statistics[IMAGES][label]), suspects.labels == label, labels == label
            if count == 0 or not asked.any():
                continue
            shift = white((published[label] - means[label])[None])[0]
            found = gain(shift, white(rows[asked] - means[label]), count)
            law = gain(shift, white(mine[his if his.sum() > 1 else known] - means[label]), count)
            scores[asked] = (found - np.median(law)) / max(float(law.std()), 1e-12)
        return Evidence(scores=scores)


def _named(arrays: Mapping[str, NDArray[Any]], start: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _features(found: Mapping[str, tuple[Floats, Floats]]) -> Floats:
    """Means and mean squares of all layers, float64 [N, d]."""
    return np.concatenate([part for layer in sorted(found) for part in found[layer]], axis=1)
