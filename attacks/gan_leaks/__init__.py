"""GAN-Leaks: whoever was used is what a generator trained on the release can make, and one of strangers' cannot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from privaudit import seeds
from privaudit.attack import Context, Effort, Evidence, ReleaseAttack, Seen
from privaudit.attacks.gan_leaks.reconstruction import on_sphere, reconstructing_generator
from privaudit.attacks.gan_leaks.search import reconstruction_errors
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.adversarial import trained_generator
from privaudit.learning.generator import Generator, random_latents

_BATCH = 64
_NAMES = ("own images", "release")
_SMALLEST_ERROR = 1e-4
"""Added to both errors before logarithms are taken: a hundredth of the range of pixels, squared."""


@dataclass(frozen=True)
class Spending:
    """passes: over the images that a generator reconstructs, within fewest to most steps of 64 images. adversarial:
    steps of a generator that is trained against a discriminator. restarts, steps: of the search for a latent. draws:
    latents to start from, where images have none of their own.
    """

    passes: int
    fewest: int
    most: int
    adversarial: int
    restarts: int
    steps: int
    draws: int


SPENDING: Mapping[Effort, Spending] = {
    "quick": Spending(30, 120, 400, 300, 1, 1, 2048),
    "standard": Spending(100, 300, 4000, 1000, 1, 10, 8192),
    "thorough": Spending(300, 1000, 40_000, 8000, 3, 50, 32_768),
}


class GanLeaks(ReleaseAttack):
    """Membership by reconstruction: can a generator trained on the release make this image better than one trained on
    the attacker's own images?

    The generator is inverted at each suspect and at its mirror image; the score is the logarithm of the reference
    generator's error less that of the release's. Source: Chen, Yu, Zhang, Fritz 2020, "GAN-Leaks", arXiv 1909.03935,
    section 4: the white-box attack, for the attacker trains the generator himself, with its calibration. Two changes,
    both measured: the generator learns to reconstruct the release and not to deceive a discriminator, and logarithms of
    errors are subtracted instead of errors. The published ones are settings. The variant that looks at generated images
    only is what nearest-copy and density-ratio do with released ones.
    """

    name: ClassVar[str] = "gan-leaks"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = True
    suspects_at_a_time: ClassVar[int] = 2**12
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and photographs of his own from the same source. He trains a "
        "generator on each of the two, and asks which of them can make a candidate photograph better."
    )

    generator: Literal["reconstructing", "adversarial"] = Field(
        "reconstructing", description="what the generator learns: to reconstruct its images, or to deceive (a GAN)"
    )
    calibration: Literal["ratio", "difference"] = Field(
        "ratio", description="how the two errors are compared: by the logarithm of their ratio, or their difference"
    )
    restarts: int | None = Field(None, ge=1, description="latents optimised per image; default by effort: 1, 1, 3")
    steps: int | None = Field(None, ge=0, description="steps of each latent; default by effort: 1, 10, 50")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the larger of the suspect's and of its mirror image's.

        Raises InputError where the attacker has too few images of his own to train a generator on.
        """
        if own.reference is None or len(own.reference) < 2 or len(seen.images) < 2:
            raise InputError(
                "gan-leaks trains a generator on the released images and one on images of the attacker's own, at least "
                "two of each; give --reference or more controls, of which a fifth is then set aside."
            )
        models = [self._trained(images, own) for images in (own.reference, seen.images)]
        mirrored = Images(np.ascontiguousarray(suspects.pixels[:, :, ::-1]), suspects.labels)
        both = [self._scores(models, images, own) for images in (suspects, mirrored)]
        diagnostics = {f"error of the generator, {name}": model[2] for name, model in zip(_NAMES, models, strict=True)}
        return Evidence(scores=np.maximum(*both), diagnostics=diagnostics)

    def _trained(self, images: Images, own: Context) -> tuple[Generator, Tensor, float]:
        """A generator, the latents to start from, and its loss."""
        spending = SPENDING[own.effort]
        if self.generator == "adversarial":
            generator, loss = trained_generator(images, spending.adversarial, own.seed, own.device)
            draws = random_latents(spending.draws, seeds.generator(own.seed, self.name, "starts"), own.device)
            return generator.requires_grad_(False), on_sphere(draws), loss
        wanted = -(-len(images) * spending.passes // _BATCH)
        steps = min(spending.most, max(spending.fewest, wanted))
        generator, latents, loss = reconstructing_generator(images, steps, own.seed, own.device)
        return generator.requires_grad_(False), latents, loss

    def _scores(
        self, models: list[tuple[Generator, Tensor, float]], images: Images, own: Context
    ) -> NDArray[np.float64]:
        found = SPENDING[own.effort]
        restarts = found.restarts if self.restarts is None else self.restarts
        steps = found.steps if self.steps is None else self.steps
        reference, release = (
            reconstruction_errors(generator, starts, images, restarts, steps, own.device, own.progress)
            for generator, starts, _ in models
        )
        if self.calibration == "difference":
            return reference - release
        scores: NDArray[np.float64] = np.log(reference + _SMALLEST_ERROR) - np.log(release + _SMALLEST_ERROR)
        return scores
