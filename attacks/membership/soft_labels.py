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
    soft_labels: NDArray[np.float32],
    labels: NDArray[np.int64],
    temperature: float | None,
    classes: int,
    class_means: bool = False,
) -> NDArray[np.float32]:
    """What a student learns, float32 [N, classes]: the probabilities to the power 1 / temperature, with sum 1.

    Without a temperature: the one at which the logits, less the mean of each image's, have a standard deviation of 1,
    whatever temperature the probabilities were published at. Rows of NaN, images without soft labels, get all weight
    on their label. classes: as many as the published ones or more; the others have no weight. class_means: each image
    has the mean logits of its class instead of its own, which tell nothing of single images.
    """
    found = np.zeros((len(soft_labels), classes))
    hard = ~np.isfinite(soft_labels).all(axis=1)
    found[hard, labels[hard]] = 1.0
    given = soft_labels[~hard].astype(np.float64)
    smallest = np.clip(given.min(where=given > 0, initial=1.0), _LEAST, _MOST_FOR_ZERO)
    logits = np.log(np.maximum(given, smallest))
    logits -= logits.mean(axis=1, keepdims=True)
    spread = float(logits.std()) if len(logits) else 0.0
    if class_means:
        for label in np.unique(labels[~hard]):
            mine = labels[~hard] == label
            logits[mine] = logits[mine].mean(axis=0)
    learned = special.softmax(logits / ((spread or 1.0) if temperature is None else temperature), axis=1)
    found[~hard, : learned.shape[1]] = learned
    return found.astype(np.float32)


class SoftLabelMembership(ReleaseAttack):
    """Students of the released images and their soft labels, against students of the mean soft label of each class.

    A teacher's probabilities for images that are no members tell what it has memorised of those that are: a student
    that learns from them alone can be sure of images that it never saw (Behrens, Zdeborová 2025, arXiv 2506.14457). The
    attacker trains students on the release with its soft labels, made even enough that unlikely classes count, and
    scores a suspect by how much surer of its label they are than others that learned the same images with the mean soft
    label of each image's class. These differ in what the soft labels tell of single images, and in nothing else.
    """

    name: ClassVar[str] = "soft-label-membership"
    version: ClassVar[int] = 3
    trains: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.RELEASE, Sight.SOFT_LABELS})
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images with their soft labels. He trains networks on them and asks whether "
        "they are surer of a candidate photograph than networks that learned the same images with the mean soft label "
        "of each class."
    )

    against: Literal["class-means", "reference"] = Field(
        "class-means",
        description="networks to compare with: of the release, with the mean soft label of each class; or of the "
        "attacker's own images with their labels, which finds copies in the release, too",
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

        Raises InputError where the release has too few images to train on, and, for `against: reference`, the attacker
        too few of his own.
        """
        release, device = seen.images, own.device
        other = own.own_images(self.name, TO_COMPARE) if self.against == "reference" else release
        spent = spending(own.effort, self.networks, self.steps)
        soft = np.asarray(seen.arrays["soft_labels"], dtype=np.float32)
        classes = max(class_count(release, other, suspects), soft.shape[1])
        height, width, _ = release.size
        network = "convnet" if self.network == "mlp" and height != width else self.network
        recipe = attacker_recipe(release, spent.steps, network)
        learned = targets_of(soft, release.labels, self.temperature, classes)
        asked = trainings("target", recipe, release, classes, spent.networks, own.seed, learned)
        means = None
        if self.against == "class-means":
            means = targets_of(soft, release.labels, self.temperature, classes, class_means=True)
        other_recipe = attacker_recipe(other, spent.steps, network)
        asked += trainings("reference", other_recipe, other, classes, spent.networks, own.seed, means)
        sure = confidences(trained(asked, device), suspects, device)
        return Evidence(scores=combined(self.score, sure[:, : spent.networks], sure[:, spent.networks :]))
