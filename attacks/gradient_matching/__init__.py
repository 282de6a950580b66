"""Gradient matching: images are reconstructed from the gradients that training on them gives."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from privaudit.attack import Context, Effort, Evidence, Seen, Sight, Source
from privaudit.attacks.gradient_matching import deep_leakage, exact_batches, victim
from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.inverting import (
    Optimiser,
    Precision,
    Reconstruction,
    Schedule,
    Search,
    invert,
    reference_start,
)
from privaudit.attacks.gradient_matching.labels import labels_of
from privaudit.attacks.gradient_matching.objectives import Objective
from privaudit.attacks.gradient_matching.settings import ThreatModel, VictimSettings
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

_INVERTING = (
    "objective",
    "optimiser",
    "schedule",
    "precision",
    "total_variation",
    "pixel_norm",
    "statistics_weight",
    "consensus",
)
"""Settings of the search of inverting-gradients."""

_LARGEST = 1e6
"""Costs are told up to here: that of a search that was lost has no bound."""


class GradientMatching(VictimSettings):
    """Images from gradients, as an honest-but-curious server of federated learning sees them.

    The attacker holds the network before a step and the gradient of each of several batches of the release. He reads
    the labels from the gradient of the last layer and looks for images that would give the gradients seen: by their
    direction (inverting-gradients: Geiping, Bauermeister, Droege, Moeller 2020, arXiv 2003.14053, but from the mean of
    his own images of the label instead of noise, unless `start` says so) or by their distance
    (deep-leakage: Zhu, Liu, Han 2019, arXiv 1906.08935). A batch of one through a first fully connected layer he gets
    by division (Phong et al. 2018, doi 10.1109/TIFS.2017.2787987). Restarts are chosen by his own cost.
    """

    name: ClassVar[str] = "gradient-matching"
    version: ClassVar[int] = 3
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.GRADIENTS, Sight.PARAMETERS})
    threat_model: ClassVar[ThreatModel] = ThreatModel(
        "Someone who takes part in training, such as the server of federated learning. He never sees the released "
        "images; he sees a network that is trained on them, and the gradient that each of some small batches gives."
    )

    algorithm: Algorithm = Field("inverting-gradients", description="inverting-gradients or deep-leakage")
    objective: Objective = Field(
        "cosine",
        description="what gradients are compared by: cosine, l2, or layer-cosine, each layer weighted by its share of "
        "the squared length (inverting-gradients)",
    )
    start: Literal["reference", "noise"] = Field(
        "reference",
        description="reference (mean of the attacker's own images of the label, with noise) or noise",
    )
    optimiser: Optimiser = Field("signed-adam", description="signed-adam or adam (inverting-gradients)")
    schedule: Schedule = Field(
        "cosine", description="steps: the rate is divided by ten three times; or cosine (inverting-gradients)"
    )
    total_variation: float = Field(1e-4, ge=0, description="weight of smoothness (inverting-gradients)")
    pixel_norm: float = Field(0.0, ge=0, description="weight of the mean square of the pixels (inverting-gradients)")
    statistics_weight: float = Field(
        1e-3, ge=0, description="weight of the BatchNorm statistics, where they are sent (inverting-gradients)"
    )
    consensus: float = Field(
        0.0, ge=0, description="weight of what the restarts agree on, if there are several (inverting-gradients)"
    )
    precision: Precision = Field(
        "float32", description="of the convolutions of the search: float32 or bfloat16 (inverting-gradients)"
    )
    iterations: int | None = Field(None, ge=1, description="steps of the optimiser; None: by effort")
    restarts: int | None = Field(None, ge=1, description="starts, of which the cheapest counts; None: by effort")

    @model_validator(mode="after")
    def _search_is_possible(self) -> Self:
        given = [name for name in _INVERTING if getattr(self, name) != type(self).model_fields[name].default]
        if self.algorithm == "deep-leakage" and given:
            raise ValueError(
                f"algorithm 'deep-leakage' has its own objective and optimiser: leave {', '.join(given)} out, or "
                "choose algorithm 'inverting-gradients'"
            )
        if self.consensus and self.restarts == 1:
            raise ValueError("consensus is between restarts: set restarts to 2 or more")
        return self

    def reach(self, n_release: int) -> int:
        """All images of all batches."""
        count, size = self.batches(n_release) if n_release else (0, 0)
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
        if self.inputs == "unit":
            network.set_standardisation(np.zeros(images.size[2]), np.ones(images.size[2]))
        count, size = self.batches(len(images))
        rows = world.generator.permutation(len(images))[: count * size]
        used = images.take(rows)
        noise_seed = int(world.generator.integers(2**62)) if self.noise_multiplier else 0
        seen = victim.exposed(network, used, size, self.batch_norm, world.device, self.sending, noise_seed)
        if self.labels == "known":
            seen[victim.LABELS] = used.labels.reshape(count, size)
        return Seen(seen, Source(rows, np.repeat(np.arange(count), size)))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Reconstruct the images of every batch. Diagnostics: the costs, and the share that is certain."""
        observed = victim.observed(seen.arrays, self.batch_norm, own.device, self.sending)
        certain = exact_batches.certain(observed, own)
        if certain is None:
            found = self._searched(exact_batches.single(observed), own)
        else:
            found = exact_batches.filled(observed, certain, lambda left: self._searched(left, own))
        costs = found.cost.double().clamp_max(_LARGEST).cpu().numpy()
        return Evidence(
            recovered=Images(_pixels(observed, found.images), found.labels.cpu().numpy()),
            victim=np.repeat(np.arange(observed.victims), observed.batch_size),
            diagnostics={
                "median cost": float(np.median(costs)),
                "largest cost": float(costs.max()),
                **exact_batches.diagnostics(certain),
            },
        )

    def _searched(self, observed: Observed, own: Context) -> Reconstruction:
        """The best of all restarts, victim by victim, by the attacker's own cost."""
        iterations, restarts = SPENT[self.algorithm][own.effort]
        iterations, restarts = self.iterations or iterations, self.restarts or restarts
        if self.algorithm == "deep-leakage":
            fixed = observed.known is not None or observed.batch_size == 1
            labels = labels_of(observed, own.reference, own.generator) if fixed else None

            def drawn() -> tuple[torch.Tensor, torch.Tensor]:
                return _drawn(observed, own)

            return deep_leakage.restarted(observed, labels, iterations, restarts, drawn, own.progress)
        labels = labels_of(observed, own.reference, own.generator)
        starts = torch.stack([_drawn(observed, own)[0] for _ in range(restarts)])
        if self.start == "reference":
            starts = torch.stack([reference_start(observed, labels, noise, own.reference) for noise in starts])

        def report(share: float) -> None:
            own.progress("invert gradients", share)

        return invert(observed, labels, starts, self.search(iterations), report)

    def search(self, iterations: int) -> Search:
        """How inverting-gradients seeks under these settings, in so many steps."""
        return Search(iterations, **{name: getattr(self, name) for name in _INVERTING})


def _drawn(observed: Observed, own: Context) -> tuple[torch.Tensor, torch.Tensor]:
    """Normal images and label logits of a start."""
    count, classes = observed.victims * observed.batch_size, observed.network.architecture.classes
    with seeded(int(own.generator.integers(2**62))):
        images, logits = torch.randn(count, *observed.image_shape), torch.randn(count, classes)
    return images.to(observed.device), logits.to(observed.device)


def _pixels(observed: Observed, standardised: torch.Tensor) -> NDArray[np.uint8]:
    mean, std = observed.network.mean[:, None, None], observed.network.std[:, None, None]
    levels = (torch.nan_to_num(standardised * std + mean).clamp(0, 1) * 255).round()
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
