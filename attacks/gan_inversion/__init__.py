"""GAN inversion: a generator is steered until a classifier of the victim's accepts its images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Context, Effort, Evidence, Seen, Settings, Sight, Source
from privaudit.attacks.gan_inversion.collaborative import Participant, Victim, interplay, sample
from privaudit.attacks.gan_inversion.found import evidence, spread
from privaudit.attacks.gan_inversion.inversion import Search, invert
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, Recipe, logits
from privaudit.learning.adversarial import trained_generator
from privaudit.learning.generator import Generator
from privaudit.learning.training import seeded
from privaudit.release import Release

MODEL = "model: "
"""How the names of the classifier's arrays begin in what the attacker sees."""

_RIGHT = "training images classified right"


@dataclass(frozen=True)
class Spending:
    """What an attacker spends: steps of the generator's training and the search for latents; rounds of collaboration,
    and images drawn from each generator after them.
    """

    generator_steps: int
    search: Search
    rounds: int
    draws: int


SPENDING: Mapping[Effort, Spending] = {
    "quick": Spending(300, Search(2, 30, 128, 2), 300, 64),
    "standard": Spending(1000, Search(4, 80, 512, 4), 1000, 256),
    "thorough": Spending(8000, Search(8, 1000, 2048, 8), 20_000, 1024),
}


class GanInversion(Settings):
    """Images that a classifier takes for one of its classes, made by a generator.

    inversion: the victim trains a classifier on the release and gives it away. The attacker trains a generator on
    images of his own and optimises its latents until the classifier is sure (Zhang et al. 2020, arXiv 1911.07135; loss
    and choice among restarts as by Struppek et al. 2022, arXiv 2201.12179). Gradients are averaged over transformed
    copies (AlignMI 2025, "Generative Model Inversion Through the Lens of the Manifold Hypothesis").

    collaborative: the victim trains a classifier together with the attacker, who holds no images at all. They exchange
    its parameters only; the attacker trains a generator for each class with the shared model as its discriminator
    (Hitaj, Ateniese, Perez-Cruz 2017, arXiv 1702.07464).
    """

    name: ClassVar[str] = "gan-inversion"
    version: ClassVar[int] = 2
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.PARAMETERS})
    threat_model: ClassVar[str] = (
        "Someone who holds a classifier that was trained on the released images, with all its parameters and the names "
        "of its classes, and photographs of his own from the same source; or who takes part in its training and has no "
        "photographs. He makes images that the classifier is sure of, in the hope that they show what it was trained "
        "on."
    )

    variant: Literal["inversion", "collaborative"] = Field(
        "inversion", description="inversion of a finished classifier, or collaborative training with the attacker"
    )
    images: int = Field(64, ge=1, description="images recovered, shared out equally among the classes")
    victim: Recipe = Field(
        Recipe(network="convnet", epochs=30, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.01),
        description="how the victim trains; collaborative: only its network, batch_size, crop and flip count",
    )
    loss: Literal["poincare", "margin", "cross-entropy"] = Field(
        "poincare", description="inversion: what the latents minimise"
    )
    copies: int | None = Field(
        None,
        ge=1,
        description="inversion: transformed copies over which gradients are averaged; default by effort: 2, 4, 8",
    )
    restarts: int | None = Field(
        None, ge=1, description="inversion: latents optimised per image; default by effort: 2, 4, 8"
    )
    steps: int | None = Field(None, ge=0, description="inversion: steps of latents; default by effort: 30, 80, 1,000")
    rounds: int | None = Field(
        None, ge=1, description="collaborative: turns of each participant; default by effort: 300, 1,000, 20,000"
    )

    def reach(self, n_release: int) -> int:
        """As many images as the setting says, no more than were released."""
        return min(n_release, self.images)

    def expose(self, release: Release, world: Context) -> Seen:
        """The classifier, the classes that it knows, how many images are to be recovered; collaborative: also the
        attacker's own generators, which he has trained meanwhile.
        """
        images = release.images
        targets = spread(np.unique(images.labels), self.reach(len(images)))
        known: dict[str, NDArray[Any]] = {"targets": targets}
        if self.variant == "inversion":
            network = world.train(self.victim, images, seed=world.seed)
            known |= _named(MODEL, network.arrays())
            right = int((logits(network, images, world.device).argmax(1) == images.labels).sum())
        else:
            made, right = self._collaborate(images, targets, world)
            known |= made
        source = Source(np.arange(len(images)), images.labels, {_RIGHT: (right, len(images))})
        return Seen(known, source)

    def _collaborate(
        self, images: Images, targets: NDArray[np.int64], world: Context
    ) -> tuple[dict[str, NDArray[Any]], int]:
        labels, device = int(images.labels.max()) + 1, world.device
        honest, hostile = world.generator.spawn(2)
        with seeded(int(world.generator.integers(2**62)), device):
            victim = Victim(images, labels + 1, self.victim, world.seed, honest, device)
            adversary = Participant(images.size, np.unique(targets).tolist(), labels, hostile, device)
            rounds = self.rounds or SPENDING[world.effort].rounds
            shared = interplay(victim, adversary, rounds, world.progress)
        known: dict[str, NDArray[Any]] = {"size": np.asarray(images.size), "loss": np.asarray(adversary.loss)}
        for label, generator in adversary.generators.items():
            known |= _named(_generator(label), generator.arrays())
        return known | _named(MODEL, shared), victim.right(shared)

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Images for each class; their labels, and their victims, are the classes that they are for.

        Raises InputError where the attacker has no images of his own to train a generator on.
        """
        with seeded(int(own.generator.integers(2**62)), own.device):
            return self._sample(seen, own) if self.variant == "collaborative" else self._invert(seen, own)

    def _invert(self, seen: Seen, own: Context) -> Evidence:
        if own.reference is None or len(own.reference) < 2:
            raise InputError(
                "gan-inversion needs images of the attacker's own from the same source; give --reference or more "
                "controls, of which a fifth is then set aside. Its collaborative variant needs none."
            )
        spending = SPENDING[own.effort]
        generator, loss = trained_generator(own.reference, spending.generator_steps, own.seed, own.device)
        targets, found = seen.arrays["targets"], spending.search
        search = Search(
            found.restarts if self.restarts is None else self.restarts,
            found.steps if self.steps is None else self.steps,
            found.candidates,
            found.copies if self.copies is None else self.copies,
        )
        result = invert(
            generator.requires_grad_(False),
            _model(seen, own.device),
            torch.from_numpy(np.array(targets)).to(own.device),
            search,
            self.loss,
            own.generator,
            own.progress,
        )
        return evidence(result, targets, own.reference, {"generator loss": loss})

    def _sample(self, seen: Seen, own: Context) -> Evidence:
        targets, (height, width, channels) = seen.arrays["targets"], seen.arrays["size"].tolist()
        generators = {
            label: Generator.from_arrays(_without(_generator(label), seen.arrays), (height, width, channels))
            for label in np.unique(targets).tolist()
        }
        model, draws = _model(seen, own.device), SPENDING[own.effort].draws
        result = sample(
            {label: generator.to(own.device) for label, generator in generators.items()},
            model,
            targets,
            draws,
            own.generator,
            own.device,
        )
        return evidence(result, targets, own.reference, {"generator loss": float(seen.arrays["loss"])})


def _generator(label: int) -> str:
    return f"generator {label}: "


def _named(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{prefix}{name}": value for name, value in arrays.items()}


def _without(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _model(seen: Seen, device: str) -> Network:
    return Network.from_arrays(_without(MODEL, seen.arrays)).to(device).requires_grad_(False)
