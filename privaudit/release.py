"""The release: everything an outsider would receive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PrivacyClaim:
    """A differential-privacy claim as its maker states it; complete or absent (NIST SP 800-226).

    epsilon, delta: the budget. unit: 'image' or 'person'. adjacency: 'add/remove' or 'replace'.
    mechanism: what was noised and how, with its parameters (noise multiplier, sampling rate, steps, clip, divisor).
    accountant: name and version. trust_model: who saw the data without noise.
    """

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    mechanism: Mapping[str, Any]
    accountant: str
    trust_model: str


@dataclass(frozen=True, eq=False)
class Release:
    """What is to be published. Row i of every field is the same image.

    soft_labels: float32 [N, classes] or None. teacher: a network published with the images, or None.
    statistics: named arrays published with the images (BatchNorm statistics), or None.
    unread: what is published beside all this but could not be read, one phrase each.
    """

    images: Images
    soft_labels: NDArray[np.float32] | None = None
    teacher: torch.nn.Module | None = None
    statistics: Mapping[str, NDArray[Any]] | None = None
    claim: PrivacyClaim | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of what is published beside images and labels."""
        return tuple(name for name in ("soft_labels", "teacher", "statistics") if getattr(self, name) is not None)
