"""Gradient matching: images are reconstructed from the gradients that training on them gives."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Context, Effort, Evidence, Seen, Settings, Sight, Source
from privaudit.attacks.gradient_matching import algebra, deep_leakage, inverting, labels, victim
from privaudit.attacks.gradient_matching.gradients import BatchNormMode, Observed
from privaudit.attacks.gradient_matching.inverting import Reconstruction
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Recipe
from privaudit.learning.training import new_network, seeded
from privaudit.release import Release

Algorithm = Literal["inverting-gradients", "deep-leakage"]

SPENT: dict[Algorithm, dict[Effort, tuple[int, int]]] = {
    "inverting-gradients": {"quick": (230, 1), "standard": (700, 1), "thorough": (4800, 2)},
    "deep-leakage": {"quick": (100, 1), "standard": (300, 4), "thorough": (300, 16)},
}
"""Iterations and restarts by effort. Deep leakage is started again only for victims that it has not solved."""

_LARGEST = 1e6
"""Costs are told up to here: that of a search that was lost has no bound."""


class GradientMatching(Settings):
    """Images from gradients, as an honest-but-curious server of federated learning sees them.

    The attacker holds the network before a step and the gradient of each of several batches of the release. He reads
    the labels from the gradient of the last layer and looks for images that would give the gradients seen: by their
    direction (inverting-gradients: Geiping, Bauermeister, Droege, Moeller 2020, arXiv 2003.14053, but from the mean of
    his own images of the label instead of noise, unless `start` says so) or by their distance
    (deep-leakage: Zhu, Liu, Han 2019, arXiv 1906.08935). A batch of one through a first fully connected layer he gets
    by division (Phong et al. 2018, doi 10.1109/TIFS.2017.2787987). Restarts are chosen by his own cost.
    """

    name: ClassVar[str] = "gradient-matching"
    version: ClassVar[int] = 2
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.GRADIENTS, Sight.PARAMETERS})
    threat_model: ClassVar[str] = (
        "Someone who takes part in training, such as the server of federated learning. He never sees the released "
        "images; he sees a network that is trained on them, and the gradient that each of some small batches gives."
    )

    algorithm: Algorithm = Field("inverting-gradients", description="inverting-gradients or deep-leakage")
    network: str = Field("convnet", description="the victim's network, by name, as in a training recipe")
    epochs: int = Field(0, ge=0, description="epochs the victim has trained before; 0: a fresh network")
    batch_norm: BatchNormMode = Field("evaluation", description="mode of BatchNorm while the gradients are computed")
    victims: int = Field(64, ge=1, description="batches whose gradients are seen")
    batch_size: int = Field(1, ge=1, description="images in each batch")
    start: Literal["reference", "noise"] = Field(
        "reference",
        description="reference (mean of the attacker's own images of the label, with noise) or noise",
    )
    total_variation: float = Field(1e-4, ge=0, description="weight of smoothness (inverting-gradients)")
    iterations: int | None = Field(None, ge=1, description="steps of the optimiser; None: by effort")
    restarts: int | None = Field(None, ge=1, description="starts, of which the cheapest counts; None: by effort")

    def _batches(self, n_release: int) -> tuple[int, int]:
        """Number of batches and images in each; a release smaller than one batch is one batch."""
        size = min(self.batch_size, n_release)
        return min(self.victims, n_release // size), size

    def reach(self, n_release: int) -> int:
        """All images of all batches."""
        count, size = self._batches(n_release) if n_release else (0, 0)
        return count * size

    def expose(self, release: Release, world: Context) -> Seen:
        """The network and the gradient of each batch; batches are drawn at random and share no image."""
        images = release.images
        classes = int(images.labels.max(initial=0)) + 1
        recipe = Recipe(network=self.network, epochs=max(1, self.epochs), precision="float32")
        if self.epochs:
            network = world.train(recipe, images, world.seed, classes=classes)
        else:
            network = new_network(recipe, images, classes, world.seed)
        count, size = self._batches(len(images))
        rows = world.generator.permutation(len(images))[: count * size]
        seen = victim.exposed(network, images.take(rows), size, self.batch_norm, world.device)
        return Seen(seen, Source(rows, np.repeat(np.arange(count), size)))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Reconstruct the images of every batch. Diagnostics: the costs, and the share that is certain."""
        observed = victim.observed(seen.arrays, self.batch_norm, own.device)
        layer = algebra.first_layer(observed) if observed.batch_size == 1 else None
        found, certain = None, 0.0
        if layer is not None:
            found, certified = _divided(observed, layer)
            certain = float(certified.float().mean())
        if found is None or certain < 1:
            searched = self._searched(observed, own)
            found = searched if found is None else _where(certified, found, searched)
        costs = found.cost.double().clamp_max(_LARGEST).cpu().numpy()
        return Evidence(
            recovered=Images(_pixels(observed, found.images), found.labels.cpu().numpy()),
            victim=np.repeat(np.arange(observed.victims), observed.batch_size),
            diagnostics={
                "median cost": float(np.median(costs)),
                "largest cost": float(costs.max()),
                "share certified": certain,
            },
        )

    def _searched(self, observed: Observed, own: Context) -> Reconstruction:
        """The best of all restarts, victim by victim, by the attacker's own cost."""
        iterations, restarts = SPENT[self.algorithm][own.effort]
        iterations, restarts = self.iterations or iterations, self.restarts or restarts
        known = self._labels(observed, own) if self.algorithm == "inverting-gradients" else None
        images = observed.victims * observed.batch_size
        best = None
        for number in range(restarts):

            def report(share: float, number: int = number) -> None:
                own.progress(f"restart {number + 1} of {restarts}", share)

            with seeded(int(own.generator.integers(2**62))):
                start = torch.randn(images, *observed.image_shape).to(observed.device)
                logits = torch.randn(images, _classes(observed)).to(observed.device)
            if known is None:
                solved = None if best is None else best.cost < deep_leakage.SUCCESS
                found = deep_leakage.leak(observed, start, logits, iterations, report, solved)
            else:
                if self.start == "reference":
                    start = inverting.reference_start(observed, known, start, own.reference)
                found = inverting.invert(observed, known, start, iterations, self.total_variation, report)
            best = found if best is None else _where(best.cost <= found.cost, best, found)
        if best is None:
            raise InputError("restarts must be at least 1.")
        return best

    def _labels(self, observed: Observed, own: Context) -> torch.Tensor:
        if observed.batch_size == 1:
            found = labels.single_labels(observed)
        else:
            found = labels.batch_labels(observed, own.reference, own.generator).ravel()
        return torch.from_numpy(found).to(observed.device)


def _classes(observed: Observed) -> int:
    return observed.network.architecture.classes


def _divided(observed: Observed, layer: str) -> tuple[Reconstruction, torch.Tensor]:
    """Images by division, their labels, and which of them are certain."""
    images = algebra.divide(observed, layer)
    found = torch.from_numpy(labels.single_labels(observed)).to(observed.device)
    difference = algebra.relative_difference(observed, images, found)
    return Reconstruction(images, found, difference), difference < algebra.CERTAIN


def _where(first: torch.Tensor, one: Reconstruction, other: Reconstruction) -> Reconstruction:
    """For each victim the images of `one` where `first` says so, else those of `other`."""
    each = torch.repeat_interleave(first, len(one.labels) // len(first))
    return Reconstruction(
        torch.where(each[:, None, None, None], one.images, other.images),
        torch.where(each, one.labels, other.labels),
        torch.where(first, one.cost, other.cost),
    )


def _pixels(observed: Observed, standardised: torch.Tensor) -> NDArray[np.uint8]:
    mean, std = observed.network.mean[:, None, None], observed.network.std[:, None, None]
    levels = (torch.nan_to_num(standardised * std + mean).clamp(0, 1) * 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
