"""The evidence of an audit: all that a judgement needs, so that another policy can judge without attacking again.

It lies in the private half of the run's folder: facts as JSON, scores per unit as `.npz`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from privaudit.arms import ARMS, Arm
from privaudit.attack import Criterion, Ranked, Settings
from privaudit.data.named_file import ordinary_file
from privaudit.data.npy import open_npz, printable
from privaudit.data.resizing import MAX_DATASET_BYTES
from privaudit.errors import InputError
from privaudit.record import (
    Attribution,
    BlindBaseline,
    DataRecord,
    Exchangeability,
    Family,
    IdenticalPair,
    Recovery,
    ScanFinding,
    Similarity,
    Statistic,
)
from privaudit.store import atomic_file
from privaudit.utility.record import UtilityRecord
from privaudit.validation import bounded, json_of

_MOST_BYTES, _MOST_VALUES = 2**27, 5_000_000
_FILE_NAME = r"^[^/\\\x00]{1,200}$"
FACTS = "evidence.json"
NO_FILES = "traces in the released files: no files were given"
SCORES, GALLERY = "scores", "pictures"

Scores = Mapping[str, NDArray[np.float64]]
"""Scores per unit of one attack on one release.

    release members, release controls, release fresh     the candidate
    raw members, raw controls; fresh members, fresh controls
    plant KIND, plant KIND controls                      the planted units, and the controls (fresh ones included)
                                                         scored in the same run
"""


Gallery = Mapping[str, NDArray[Any]]
"""Pixels of a few recovered images, their source, the nearest member and the nearest control, row by row; or the
pairs of an attack that holds the release (see `privaudit.pairs`)."""

PAIRS = "pairs"
"""Where the pairs stand among the pictures of an attack, beside the arms."""


class AttackFacts(Settings):
    """What is known about an attack's run, beside its scores. trace: where it failed; stays private."""

    name: str = Field(pattern=_FILE_NAME)
    version: int
    settings: dict[str, Any]
    family: Family
    threat_model: str
    reach: int | None
    seconds: float
    failure: str | None
    recoveries: dict[str, Recovery] = Field(default_factory=dict, description="by arm; mediated attacks")
    attributions: dict[str, Attribution] = Field(default_factory=dict, description="by arm; of mixed releases")
    arms: tuple[Arm, Arm, Arm] = Field(ARMS, description="the question, what must be found, what must not")
    trace: str | None = None
    informs: tuple[Criterion, ...] = ("singling_out",)
    pairs: int = Field(0, description="pictured pairs of a released image and a member; they lie beside the scores")
    looks_at: tuple[str, ...] = Field((), description="what is published beside the images that it looks at")
    ranks: Ranked = "suspects"


Part = Literal["members", "controls", "fresh"]


class UnitFacts(Settings):
    """The scored units of one pool, in the order of their scores.

    classes: place of the class in `AuditFacts.class_names`, -1: its images have several. images: how many are scored.
    """

    classes: tuple[int, ...]
    images: tuple[int, ...]

    def kept(self, chosen: NDArray[np.bool_]) -> UnitFacts:
        """The chosen units alone. chosen: bool, one per unit."""
        rows = np.flatnonzero(chosen)
        return UnitFacts(
            classes=tuple(self.classes[row] for row in rows), images=tuple(self.images[row] for row in rows)
        )


class SiblingFacts(Settings):
    """The persons whose siblings are ranked. member_ids: neutral id of each one's first scored image, in the order of
    their scores. blind_baseline: whether siblings of members and of controls differ by themselves; None: too few.
    """

    member_ids: tuple[str, ...]
    scored_controls: int
    scored_fresh: int
    blind_baseline: BlindBaseline | None = None

    @property
    def persons(self) -> tuple[int, int]:
        """How many of the members, and of controls and fresh images."""
        return len(self.member_ids), self.scored_controls + self.scored_fresh


class ReleaseFacts(Settings):
    """What is known about a candidate, beside the attacks."""

    name: str
    images: int
    size: tuple[int, int, int]
    class_counts: dict[str, int]
    claim: dict[str, Any] | None
    identical: tuple[IdenticalPair, ...]
    common: int
    scan: tuple[ScanFinding, ...]
    not_assessed: tuple[str, ...]
    similarity: dict[Statistic, Similarity | None] = Field(default_factory=dict, description="None: not assessed")
    utility: UtilityRecord | None = None
    unseen: tuple[str, ...] = Field((), description="published beside the images, but no attack looks at it")
    artifacts: tuple[str, ...] = Field((), description="what is published beside the images, by name")
    attacks: tuple[AttackFacts, ...]


class AuditFacts(Settings):
    """Everything but the scores. member_ids: neutral id of each scored unit of members, in the order of its scores."""

    releases: tuple[ReleaseFacts, ...]
    data: DataRecord
    blind_baseline: BlindBaseline | None
    exchangeability: Exchangeability
    member_ids: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    units: dict[Part, UnitFacts] = Field(default_factory=dict)
    siblings: SiblingFacts | None = None
    attacked: bool
    seed: int
    manifest: dict[str, Any]

    def ids(self, ranked: Ranked) -> tuple[str, ...]:
        """Neutral ids of the members whose images an attack ranks, in the order of its scores."""
        if ranked == "suspects":
            return self.member_ids
        return () if self.siblings is None else self.siblings.member_ids


@dataclass(frozen=True, eq=False)
class AuditEvidence:
    """Facts, and by (release name, attack name) the scores, and by arm the pictures of what was recovered."""

    facts: AuditFacts
    scores: Mapping[tuple[str, str], Scores]
    galleries: Mapping[tuple[str, str], Mapping[str, Gallery]] = field(default_factory=dict)


def save(evidence: AuditEvidence, folder: Path) -> None:
    """Write the evidence into a private folder; the facts come last."""
    folder.mkdir(parents=True, exist_ok=True)
    for (release, attack), scores in evidence.scores.items():
        with (
            atomic_file(folder / _file(evidence.facts, release, attack, SCORES)) as partial,
            partial.open("wb") as file,
        ):
            np.savez_compressed(file, **scores)  # type: ignore[arg-type]
    for (release, attack), arms in evidence.galleries.items():
        pixels = {f"{arm} {name}": values for arm, gallery in arms.items() for name, values in gallery.items()}
        _write(folder / _file(evidence.facts, release, attack, GALLERY), pixels)
    with atomic_file(folder / FACTS) as partial:
        partial.write_text(json.dumps(evidence.facts.model_dump(mode="json"), indent=1, sort_keys=True))


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load(folder: Path) -> AuditEvidence:
    """Read the evidence of a finished run. Raises InputError where there is none, or it is damaged."""
    try:
        values = json_of(folder / FACTS, _MOST_BYTES, _MOST_VALUES)
        bounded(values, _MOST_VALUES)
        facts = AuditFacts.model_validate(values)
    except FileNotFoundError:
        raise InputError(
            "This is no finished run: its private/evidence folder is missing. Give the folder that an audit wrote "
            "with --out; sharing the share/ half alone is not enough to judge again."
        ) from None
    except ValidationError as error:
        wrong = error.error_count()  # the error's own text would list all of them
        raise InputError(
            f"The evidence of this run cannot be read ({wrong:,} of its values are wrong or missing). Start its audit "
            "again."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"The evidence of this run cannot be read ({str(error).splitlines()[0]}). Start its audit again."
        ) from None
    scores: dict[tuple[str, str], Scores] = {}
    galleries: dict[tuple[str, str], Mapping[str, Gallery]] = {}
    for release in facts.releases:
        for attack in release.attacks:
            if attack.failure is None and facts.attacked:
                path = folder / _file(facts, release.name, attack.name, SCORES)
                scores[release.name, attack.name] = _read(path, ("release members", len(facts.ids(attack.ranks))))
            pictured = [*attack.recoveries, *([PAIRS] if attack.pairs else [])]
            if pictured:
                path = folder / _file(facts, release.name, attack.name, GALLERY)
                galleries[release.name, attack.name] = _by_arm(_read(path), pictured)
    return AuditEvidence(facts, scores, galleries)


def _read(path: Path, expected: tuple[str, int] | None = None) -> dict[str, NDArray[Any]]:
    """All arrays of a file. expected: one of them, and its length."""
    try:
        ordinary_file(path, "evidence", MAX_DATASET_BYTES)
        with open_npz(path, printable(path.name)) as file:
            found = {name: file.read(name) for name in file.headers}
        if expected is not None and found[expected[0]].shape != expected[1:]:
            raise InputError("The scores belong to another run.")
    except (InputError, LookupError) as error:
        raise InputError(
            f"The file {printable(path.name)} of this run is missing or damaged ({error}). Start its audit again."
        ) from None
    return found


def _by_arm(arrays: Mapping[str, NDArray[Any]], arms: Iterable[str]) -> dict[str, Gallery]:
    return {
        arm: {name.removeprefix(f"{arm} "): array for name, array in arrays.items() if name.startswith(f"{arm} ")}
        for arm in arms
    }


def _file(facts: AuditFacts, release: str, attack: str, what: str) -> str:
    names = [part.name for part in facts.releases]
    return f"{what}-{names.index(release):02d}-{attack}.npz"
