"""Membership inference on a published teacher."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator
from scipy import special

from privaudit.attack import Context, Evidence, Seen, Settings, Sight, Source
from privaudit.attacks.membership.calibration import combined
from privaudit.attacks.membership.networks import (
    TO_COMPARE,
    attacker_recipe,
    class_count,
    confidences,
    spending,
    trainings,
)
from privaudit.attacks.membership.scores import Floats
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, features, logits, trained
from privaudit.release import Release


def gradient_confidence(network: Network, images: Images, device: str) -> Floats:
    """Minus the log norm of the loss's gradient at the last layer's weights, [N].

    That gradient is (p - onehot(y)) times the features, so its norm is the product of two norms.
    """
    error = special.softmax(logits(network, images, device).astype(np.float64), axis=1)
    error[np.arange(len(images)), images.labels] -= 1
    inputs = features(network, images, device).astype(np.float64)
    norms = np.linalg.norm(error, axis=1) * np.linalg.norm(inputs, axis=1)
    return np.asarray(-np.log(np.maximum(norms, 1e-30)))


class TeacherMembership(Settings):
    """A published network, against networks of the same kind trained on the attacker's own images.

    The teacher that the candidate was made with lies beside it. The attacker holds its parameters; he trains reference
    networks of its architecture on images of his own, and asks whether the teacher is surer of a suspect than they let
    expect. Sources: as for `membership`; gradient norm: Nasr, Shokri, Houmansadr 2019.
    """

    name: ClassVar[str] = "teacher-membership"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = True
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.TEACHER})
    threat_model: ClassVar[str] = (
        "An outsider who holds the network that is published beside the images, with all its parameters, and "
        "photographs of his own from the same source. He asks whether that network is surer of a candidate photograph "
        "than networks that he trains on his own photographs."
    )

    signal: Literal["logits", "gradient"] = Field(
        "logits", description="what is looked at: the confidence in the label, or the gradient of the last layer"
    )
    score: Literal["student-t", "lira", "lira-fixed", "difference", "rmia", "loss"] = Field(
        "student-t", description="how teacher and references are compared"
    )
    networks: int | None = Field(None, ge=2, description="reference networks; default by effort: 2, 4, 16")
    steps: int | None = Field(
        None, ge=1, description="steps of each training, in whole epochs; default by effort: 200, 600, 1,500"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.signal == "gradient" and self.score == "rmia":
            raise ValueError("rmia compares probabilities, and a gradient is none: choose another score, or logits")
        return self

    def reach(self, n_release: int) -> int | None:
        """None: every suspect is ranked."""
        return None

    def expose(self, release: Release, world: Context) -> Seen:
        """The teacher. What it was trained on is no released image: the source is empty."""
        if release.teacher is None:
            raise InputError(f"{self.name} looks at a teacher; this release has none. Leave it out of --attacks.")
        none = np.zeros(0, dtype=np.int64)
        return Seen(release.teacher.arrays(), Source(none, none))

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the teacher's confidence in each suspect's label, calibrated by the references.

        Raises InputError where the attacker has too few images of his own, or the teacher does not know a label.
        """
        reference, device = own.own_images(self.name, TO_COMPARE), own.device
        teacher = Network.from_arrays(dict(seen.arrays))
        classes, needed = teacher.architecture.classes, class_count(reference, suspects)
        if classes < needed:
            raise InputError(
                f"The teacher tells {classes} classes apart; the private images and the controls have labels up to "
                f"{needed - 1}. Give the network that was trained on these classes."
            )
        spent = spending(own.effort, self.networks, self.steps)
        recipe = attacker_recipe(reference, spent.steps, teacher.architecture.name)
        asked = trainings("reference", recipe, reference, classes, spent.networks, own.seed)
        networks = [teacher, *trained(asked, device)]
        if self.signal == "gradient":
            sure = np.stack([gradient_confidence(network, suspects, device) for network in networks], axis=1)
        else:
            sure = confidences(networks, suspects, device)
        return Evidence(scores=combined(self.score, sure[:, :1], sure[:, 1:]))
