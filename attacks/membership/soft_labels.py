"""Membership inference through soft labels: a student learns from them what the teacher has learned by heart."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import special

from privaudit.attack import Context, Evidence, ReleaseAttack, Seen, Sight
from privaudit.attacks.membership.calibration import Score, combined
from privaudit.attacks.membership.networks import (
    TO_COMPARE,
    attacker_recipe,
    class_count,
    confidences,
    spending,
    trainings,
)
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import trained
from privaudit.release import Release

_LEAST, _MOST_FOR_ZERO = 1e-20, 1e-4
"""A published zero counts as the smallest probability above it that was published, within these bounds."""


def targets_of(
    soft_labels: NDArray[np.float32], labels: NDArray[np.int64], temperature: float | None, classes: int
) -> NDArray[np.float32]:
    """What a student learns, float32 [N, classes]: the probabilities to the power 1 / temperature, with sum 1.

    Without a temperature: the one at which the logits, less the mean of each image's, have a standard deviation of 1,
    whatever temperature the probabilities were published at. Rows of NaN, images without soft labels, get all weight
    on their label. classes: as many as the published ones or more; the others have no weight.
    """
    found = np.zeros((len(soft_labels), classes))
    hard = ~np.isfinite(soft_labels).all(axis=1)
    found[hard, labels[hard]] = 1.0
    given = soft_labels[~hard].astype(np.float64)
    smallest = np.clip(given.min(where=given > 0, initial=1.0), _LEAST, _MOST_FOR_ZERO)
    logits = np.log(np.maximum(given, smallest))
    logits -= logits.mean(axis=1, keepdims=True)
    spread = float(logits.std()) if len(logits) else 0.0
    learned = special.softmax(logits / ((spread or 1.0) if temperature is None else temperature), axis=1)
    found[~hard, : learned.shape[1]] = learned
    return found.astype(np.float32)


class SoftLabelMembership(ReleaseAttack):
    """Students of the released images and their soft labels, against networks that never saw either.

    A teacher's probabilities for images that are no members tell what it has memorised of those that are: a student
    that learns from them alone can be sure of images that it never saw (Behrens, Zdeborová 2025, arXiv 2506.14457). The
    attacker trains students on the release with its soft labels, made even enough that unlikely classes count, and
    scores a suspect by how much surer of its label they are than networks that he compares with.
    """

    name: ClassVar[str] = "soft-label-membership"
    version: ClassVar[int] = 2
    trains: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.RELEASE, Sight.SOFT_LABELS})
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images with their soft labels, and photographs of his own from the same "
        "source. He trains networks on the soft labels and asks whether they are surer of a candidate photograph than "
        "networks that never saw them."
    )

    against: Literal["reference", "hard-labels"] = Field(
        "reference",
        description="networks to compare with: of the attacker's own images; or of the release with its labels alone, "
        "which leaves what the soft labels add",
    )
    score: Score = Field("student-t", description="how the two are compared")
    temperature: float | None = Field(
        None,
        gt=0,
        description="the probabilities are raised to the power 1 / temperature; above 1: more even; empty: such that "
        "their logits, less the mean of each image's, have a standard deviation of 1",
    )
    network: str = Field("mlp", description="the attacker's networks; mlp, for images that are not square: convnet")
    networks: int | None = Field(None, ge=2, description="networks on each side; default by effort: 2, 4, 16")
    steps: int | None = Field(
        None, ge=1, description="steps of each training, in whole epochs; default by effort: 200, 600, 1,500"
    )

    def expose(self, release: Release, world: Context) -> Seen:
        """The released images, labels and soft labels, as published."""
        if release.soft_labels is None:
            raise InputError(f"{self.name} looks at soft labels; this release has none. Leave it out of --attacks.")
        images = release.images
        return Seen({"pixels": images.pixels, "labels": images.labels, "soft_labels": release.soft_labels})

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the mean over the students; see `scores`.

        Raises InputError where the attacker has too few images of his own, or the release too few to train on.
        """
        release, reference, device = seen.images, own.own_images(self.name, TO_COMPARE), own.device
        spent = spending(own.effort, self.networks, self.steps)
        soft = np.asarray(seen.arrays["soft_labels"], dtype=np.float32)
        classes = max(class_count(release, reference, suspects), soft.shape[1])
        height, width, _ = release.size
        network = "convnet" if self.network == "mlp" and height != width else self.network
        recipe = attacker_recipe(release, spent.steps, network)
        learned = targets_of(soft, release.labels, self.temperature, classes)
        asked = trainings("target", recipe, release, classes, spent.networks, own.seed, learned)
        if self.against == "hard-labels":
            asked += trainings("target", recipe, release, classes, spent.networks, own.seed)
        else:
            other = attacker_recipe(reference, spent.steps, network)
            asked += trainings("reference", other, reference, classes, spent.networks, own.seed)
        sure = confidences(trained(asked, device), suspects, device)
        return Evidence(scores=combined(self.score, sure[:, : spent.networks], sure[:, spent.networks :]))
