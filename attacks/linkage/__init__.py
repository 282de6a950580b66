"""Linkage: can another photograph of somebody be linked to the release?"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from privaudit.attack import Context, Criterion, Evidence, Ranked, ReleaseAttack, Seen
from privaudit.attacks.linkage.correlation import likeness
from privaudit.attacks.linkage.identity import embedded, trained_encoder
from privaudit.images import Images
from privaudit.nearest_rows import nearest_rows, unlikeness

STEPS = {"quick": 60, "standard": 300, "thorough": 2000}
"""Steps of training by effort."""


def by_embedding(suspects: Tensor, others: Tensor, nearest: int) -> Tensor:
    """Mean likeness of each suspect to its nearest others; unit rows [N, d] and [M, d] to float32 [N]."""
    return -nearest_rows(suspects, others, min(nearest, len(others)), unlikeness)[0].mean(1)


def standardised(values: Tensor) -> NDArray[np.float64]:
    """Distance from the median in units of the median absolute deviation; 0 where nothing varies."""
    found = values.numpy().astype(np.float64)
    centred = found - np.median(found)
    spread = 1.4826 * np.median(np.abs(centred))
    return centred / spread if spread > 1e-9 else np.zeros_like(centred)


class Linkage(ReleaseAttack):
    """Linking other photographs of a person to the release.

    The attacker holds the released images, photographs of persons that the publisher never used, and images of his own
    from the same source (`reference`), with the persons in them where these are known. He trains a small network on his
    own images to recognise persons, and compares every photograph with the released images in two ways: in that
    network's embedding, and by correlation of the pixels over shifts. Each likeness is taken less the likeness to his
    own images, which are of strangers: some photographs resemble everybody's. The two are standardised over the pile
    and added.
    """

    name: ClassVar[str] = "linkage"
    version: ClassVar[int] = 1
    informs: ClassVar[tuple[Criterion, ...]] = ("linkability",)
    ranks: ClassVar[Ranked] = "siblings"
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and other photographs of persons, which the publisher never used: a "
        "later X-ray, a picture from a profile. With images of his own from the same source he learns to recognise "
        "persons, and asks whether one of them was among those behind the release."
    )

    shift: int = Field(1, ge=0, le=4, description="largest shift at which pixels are compared, in sixteenths of a side")
    strangers: int = Field(3, ge=1, description="nearest images of his own that a likeness is held against")
    steps: int | None = Field(None, ge=1, description="steps of training; default: by effort, 60, 300 or 2000")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: standardised likeness to the nearest released image, of the embedding and of the pixels."""
        reference = own.own_images(self.name)
        units = own.reference_units
        if units is None:
            units = np.array([str(row) for row in range(len(reference))], dtype=np.str_)
        encoder = trained_encoder(reference, units, self.steps or STEPS[own.effort], own.seed)
        rows, released, strangers = (embedded(encoder, images) for images in (suspects, seen.images, reference))
        identity = by_embedding(rows, released, 1) - by_embedding(rows, strangers, self.strangers)
        own.progress("persons", 0.5)
        pixels = likeness(suspects, seen.images, self.shift, 1) - likeness(
            suspects, reference, self.shift, self.strangers
        )
        own.progress("pixels", 1.0)
        return Evidence(scores=standardised(identity) + standardised(pixels))
