"""Copy descriptor: a network that the attacker trains on his own images compares suspects with released images."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field

from privaudit.attack import Context, Effort, Evidence, ReleaseAttack, Seen
from privaudit.attacks.copy_descriptor.backbone import backbone_descriptors
from privaudit.attacks.copy_descriptor.encoder import trained_descriptors
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Precision
from privaudit.nearest_rows import nearest_rows, unlikeness

_FEWEST = 16
_STEPS: dict[Effort, int] = {"quick": 150, "standard": 1000, "thorough": 6000}
_SMALLEST_DISTANCE = 0.01


def log_distance(similarity: torch.Tensor) -> torch.Tensor:
    """Log of the Euclidean distance of rows of length 1 with this cosine similarity, at least that of 0.01."""
    return 0.5 * (2 - 2 * similarity).clamp_min(_SMALLEST_DISTANCE**2).log()


def usual_distance(rows: torch.Tensor, own: torch.Tensor, nearest: int) -> torch.Tensor:
    """Mean log distance of each row to the nearest of the attacker's own images; float32 [N]."""
    return log_distance(-nearest_rows(rows, own, min(nearest, len(own)), unlikeness)[0]).mean(1)


def _less_than_usual(rows: torch.Tensor, released: torch.Tensor) -> torch.Tensor:
    """Log distances, less half of the released image's usual one, which stands behind its descriptor."""
    return log_distance(rows @ released[:, :-1].T) - released[:, -1] / 2


class CopyDescriptor(ReleaseAttack):
    """Copies that were changed strongly, by a descriptor that the attacker trains on images of his own.

    The attacker trains a small network on his own images (`reference`) so that it knows each of them after it was
    cropped, turned, recoloured, blurred, blended or covered in part. He never sees the members. A suspect's score is
    its closeness to the nearest released image, calibrated by how close the two usually come to his own images.
    The network is trained once per run. Where the weight store has a backbone of LPIPS, a network made for other
    photographs, its features are half of the descriptor. Sources: Dar et al. 2025, Pizzi et al. 2022, Chen et al.
    2020, see `encoder`.
    """

    name: ClassVar[str] = "copy-descriptor"
    version: ClassVar[int] = 3
    uses_backbones: ClassVar[bool] = True
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and a set of photographs of his own from the same source. On these "
        "he trains a network to know a photograph after strong changes, and then looks for each candidate photograph "
        "among the released images."
    )

    dimensions: int = Field(128, ge=8, description="length of a descriptor")
    steps: int | None = Field(None, ge=1, description="steps of the training; empty: 150, 1,000 or 6,000 by effort")
    precision: Precision = Field(
        "auto", description="of the training; auto: bfloat16 where processor and network make it pay"
    )
    nearest: int = Field(5, ge=1, description="images of his own by which a similarity is calibrated")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the largest log ratio of usual distances to the distance of the suspect and a released image."""
        if own.reference is None or len(own.reference) < _FEWEST:
            found = 0 if own.reference is None else len(own.reference)
            raise InputError(
                f"copy-descriptor needs at least {_FEWEST} images of the attacker's own from the same source, found "
                f"{found}; give --reference or more controls, of which a fifth is then set aside."
            )
        steps = _STEPS[own.effort] if self.steps is None else self.steps
        pictures = [own.reference, seen.images, suspects]
        (mine, released, rows), training = trained_descriptors(
            own.reference, pictures, self.dimensions, steps, own.seed, own.device, self.precision
        )
        backbone = own.weights and backbone_descriptors(own.weights, own.reference, pictures, own.device)
        if backbone:
            mine, released, rows = (
                torch.nn.functional.normalize(torch.cat(both, 1))
                for both in zip((mine, released, rows), backbone, strict=True)
            )
        own.progress("descriptors", 0.7)
        usual = usual_distance(released, mine, self.nearest)
        distance, place = nearest_rows(rows, torch.cat([released, usual[:, None]], 1), 1, _less_than_usual)
        own.progress("descriptors", 1.0)
        calibrated = usual_distance(rows, mine, self.nearest) / 2 - distance[:, 0]
        return Evidence(
            scores=calibrated.double().numpy(),
            nearest=place[:, 0].numpy(),
            diagnostics={**training, "descriptor's length": mine.shape[1]},
        )
