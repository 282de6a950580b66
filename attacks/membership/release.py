"""Membership inference on what a user of the release would train."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from privaudit.attack import Context, Evidence, ReleaseAttack, Seen
from privaudit.attacks.membership.calibration import combined
from privaudit.attacks.membership.label_only import robustness
from privaudit.attacks.membership.networks import (
    TO_COMPARE,
    attacker_recipe,
    class_count,
    confidences,
    spending,
    trainings,
)
from privaudit.images import Images
from privaudit.learning import trained


class Membership(ReleaseAttack):
    """Networks trained on the release, against networks trained on the attacker's own images.

    The attacker trains target networks on the released images, as a user of them would, and reference networks in the
    same way on images of his own (`reference`), none of which is a suspect. A suspect of which the targets are surer
    than the references let expect is likely a member. Sources: LiRA (Carlini et al. 2022, arXiv 2112.03570), the
    Student-t score of BaVarIA (2026, arXiv 2603.11799), RMIA (Zarifzadeh, Liu, Shokri 2024), label-only robustness
    (Choquette-Choo et al. 2021); written from the descriptions. That the references' confidences are first moved to
    the targets' scale along a fitted line is this project's own.
    """

    name: ClassVar[str] = "membership"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = True
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and photographs of his own from the same source. He trains networks "
        "on the release and on his own photographs, and asks whether the former are surer of a candidate photograph "
        "than the latter let expect."
    )

    score: Literal["student-t", "lira", "lira-fixed", "difference", "rmia", "loss", "label-only"] = Field(
        "student-t", description="how targets and references are compared; loss: not at all; label-only: labels alone"
    )
    networks: int | None = Field(None, ge=2, description="networks on each side; default by effort: 2, 4, 16")
    steps: int | None = Field(
        None, ge=1, description="steps of each training, in whole epochs; default by effort: 200, 600, 1,500"
    )

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: see `scores`; the mean over the targets.

        Raises InputError where the attacker has too few images of his own, or the release too few to train on.
        """
        release, reference, device = seen.images, own.own_images(self.name, TO_COMPARE), own.device
        spent = spending(own.effort, self.networks, self.steps)
        classes = class_count(release, reference, suspects)
        asked = [
            *trainings("target", attacker_recipe(release, spent.steps), release, classes, spent.networks, own.seed),
            *trainings(
                "reference", attacker_recipe(reference, spent.steps), reference, classes, spent.networks, own.seed
            ),
        ]
        networks = trained(asked, device)
        targets, references = networks[: spent.networks], networks[spent.networks :]
        if self.score == "label-only":
            noise = int(own.generator.integers(2**62))
            mine, others = (
                robustness(side, suspects, np.random.default_rng(noise), device) for side in (targets, references)
            )
            return Evidence(scores=mine - others)
        return Evidence(
            scores=combined(
                self.score, confidences(targets, suspects, device), confidences(references, suspects, device)
            )
        )
