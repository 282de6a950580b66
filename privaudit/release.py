"""The release: everything an outsider would receive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images, concatenate
from privaudit.store import array_digest, key_of
from privaudit.views import Views

if TYPE_CHECKING:
    from privaudit.learning import Network

TrainedOn = Literal["members", "other", "unknown"]
"""What a teacher was trained on: the members and nothing else; neither members nor controls; nobody knows."""


@dataclass(frozen=True)
class PrivacyClaim:
    """A differential-privacy claim as its maker states it; complete or absent (NIST SP 800-226).

    epsilon, delta: the budget. unit: 'image' or 'person'. adjacency: 'add/remove' or 'replace'.
    mechanism: what was noised and how, with its parameters (noise multiplier, sampling rate, steps, clip, divisor).
    accountant: name and version. trust_model: who saw the data without noise. sampling: how batches were drawn.
    An empty text or mechanism: not stated.
    """

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    mechanism: Mapping[str, Any]
    accountant: str
    trust_model: str
    sampling: str = ""


CLAIM_PARTS = ("unit", "epsilon", "delta", "adjacency", "sampling", "mechanism", "accountant", "trust_model")


def stated(claim: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a claim that its maker states; how batches were drawn may stand in the mechanism."""
    mechanism = claim.get("mechanism")
    within = (
        {key: value for key, value in mechanism.items() if "sampling" in str(key).lower()}
        if isinstance(mechanism, Mapping)
        else {}
    )
    found = {**claim, "sampling": claim.get("sampling") or within}
    return {part: found[part] for part in CLAIM_PARTS if _is_stated(found.get(part))}


def _is_stated(value: Any) -> bool:
    if isinstance(value, float) and not math.isfinite(value):
        return False
    return value not in (None, "", {}, ())


@dataclass(frozen=True, eq=False)
class Release:
    """What is to be published. Row i of every field is the same image.

    soft_labels: float32 [N, classes] or None; NaN in the rows of images that were published without. With `views`
        [N, views, classes]: the soft labels of each image moved and mirrored, see `privaudit.views`.
    teacher: a network published with the images, or None. trained_on: what its maker says that it was trained on.
    statistics: named arrays published with the images (BatchNorm statistics), or None.
    unread: what is published beside all this but could not be read, one phrase each.
    """

    images: Images
    soft_labels: NDArray[np.float32] | None = None
    views: Views | None = None
    teacher: Network | None = None
    statistics: Mapping[str, NDArray[Any]] | None = None
    claim: PrivacyClaim | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    trained_on: TrainedOn = "unknown"

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Names of what is published beside images and labels."""
        return tuple(name for name in ("soft_labels", "teacher", "statistics") if getattr(self, name) is not None)

    @cached_property
    def digest(self) -> str:
        """Hash of all that an audit looks at, 32 hex digits; that of the images where there is nothing else."""
        facts: dict[str, Any] = {}
        if self.soft_labels is not None:
            facts["soft_labels"] = array_digest(self.soft_labels)
        if self.views is not None:
            facts["views"] = array_digest(self.views)
        if self.teacher is not None:
            facts["teacher"] = {name: array_digest(array) for name, array in self.teacher.arrays().items()}
            facts["trained_on"] = self.trained_on
        if self.statistics is not None:
            facts["statistics"] = {name: array_digest(array) for name, array in self.statistics.items()}
        if self.claim is not None:
            facts["claim"] = asdict(self.claim)
        return key_of({"images": self.images.digest} | facts) if facts else self.images.digest


def without_views(release: Release) -> Release:
    """The release with the soft labels of its images as they are, and no others."""
    if release.views is None or release.soft_labels is None:
        return release
    return replace(release, soft_labels=release.soft_labels[:, 0], views=None)


def together(release: Release, public: Images | None) -> Release:
    """What an outsider holds once the release is out: its images, then those that were public already.

    public: images of the release's size; those that equal a released image are not repeated. They come without soft
    labels (NaN).
    """
    if public is None:
        return release
    own = set(release.images.image_digests())
    rows = np.array([row for row, digest in enumerate(public.image_digests()) if digest not in own], dtype=np.int64)
    soft = release.soft_labels
    if soft is not None:
        soft = np.concatenate([soft, np.full((len(rows), soft.shape[1]), np.nan, np.float32)])
    return replace(release, images=concatenate([release.images, public.take(rows)]), soft_labels=soft)
