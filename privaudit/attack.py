"""The attack contract: an attack is anything that ranks suspects.

The victim and the attacker are two functions. What `expose` returns is all that `attack` receives: that is how a
threat model is enforced. The runner shuffles the suspects, keeps the answer, and owns arms, plants, seeds, caching
and statistics; an attack owns its algorithm only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, cast, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import Release

if TYPE_CHECKING:
    from privaudit.learning import Network, Recipe

Effort = Literal["quick", "standard", "thorough"]
Criterion = Literal["singling_out", "linkability", "inference"]
Ranked = Literal["suspects", "siblings"]
Progress = Callable[[str, float], None]


class Sight(StrEnum):
    """What an attacker can see."""

    RELEASE = "release"
    MODEL_OUTPUT = "model_output"
    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    TEACHER = "teacher"
    STATISTICS = "statistics"
    SOFT_LABELS = "soft_labels"


@dataclass(frozen=True, eq=False)
class Source:
    """What only the runner learns of the victim's half: the truth that a mediated attack is measured by.

    rows: int64 [N], the released images that can be recovered. victim: int64 [N], which victim used each; recovered
        images are matched within their victim. counts: figures of the victim's own, by name: how many of how many.
    """

    rows: NDArray[np.int64]
    victim: NDArray[np.int64]
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.rows.ndim != 1 or self.rows.shape != self.victim.shape:
            raise InputError(f"A source needs one victim per row; found {self.rows.shape} and {self.victim.shape}.")


@dataclass(frozen=True, eq=False)
class Seen:
    """All that the attacker receives: named arrays, nothing else. The runner stores it between the two halves.

    source: kept by the runner and never handed to the attacker, who finds None here.
    """

    arrays: Mapping[str, NDArray[Any]]
    source: Source | None = None

    @cached_property
    def images(self) -> Images:
        """The released images, where the attacker holds them (arrays `pixels` and `labels`)."""
        if "pixels" not in self.arrays or "labels" not in self.arrays:
            raise InputError(f"This attacker does not hold the released images; he sees {sorted(self.arrays)}.")
        return Images(self.arrays["pixels"], self.arrays["labels"])


@dataclass(frozen=True, eq=False)
class Assembly:
    """Images that an attacker put together of blocks of the released ones; the runner measures how well.

    images: what came out. start: int64 [N], the released image that each of them started from. block: height and
    width of a block in pixels; blocks begin at the upper left corner.
    """

    images: Images
    start: NDArray[np.int64]
    block: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What the attacker concludes. Exactly one of the first two is set.

    scores: float64 [N suspects], higher = surer that this one was used; NaN = no opinion, ranked last as one tie.
    recovered: reconstructed images; the core then scores the suspects by closeness to them.
    victim: int64 [N recovered], from which victim each came (see `Source`); None: all from victim 0.
    diagnostics: the attacker's own losses, never the truth.
    nearest: int64 [N suspects], row of the released image that each suspect's score rests on, -1: none; for the
        pictures of the evidence edition. None: the attack does not tell.
    assembly: images put together of released blocks, for attacks on mixed releases.
    """

    scores: NDArray[np.float64] | None = None
    recovered: Images | None = None
    victim: NDArray[np.int64] | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    nearest: NDArray[np.int64] | None = None
    assembly: Assembly | None = None

    def __post_init__(self) -> None:
        if (self.scores is None) == (self.recovered is None):
            raise InputError("Evidence needs exactly one of scores and recovered.")
        if self.victim is not None and (self.recovered is None or self.victim.shape != (len(self.recovered),)):
            raise InputError("Evidence names one victim per recovered image, or none.")
        if self.nearest is not None and (self.scores is None or self.nearest.shape != self.scores.shape):
            raise InputError("Evidence names one released row per score (-1: none), or none at all.")


def no_progress(stage: str, share: float) -> None:
    """Ignore progress."""


@dataclass(frozen=True, eq=False)
class Context:
    """What the runner gives to a half of an attack or to an engine.

    generator: the only source of randomness. seed: the run's, for what must be equal in all parts of a run, such as a
        training. device: 'cpu', 'cuda' or 'mps'. effort: how much may be spent.
    reference: images of the attacker's own, from the members' source but neither members nor suspects
        (given to the attacker only; None for the victim). progress: called with a stage and a share in [0, 1].
    reference_units: the person in each of these images, str [N reference]; images with one name show one person. Only
        for attacks that rank siblings (see `ranks`), and None where persons are not known.
    weights: the weight store, which the attacker may have too; only for attacks that use it (see `uses_backbones`), and
        None where it has no backbone.
    masks: what of each member is foreground, pixels [N, H, W, 1]; only for engines that ask for it.
    """

    generator: np.random.Generator
    seed: int = 0
    device: str = "cpu"
    effort: Effort = "standard"
    reference: Images | None = None
    progress: Progress = no_progress
    reference_units: NDArray[np.str_] | None = None
    weights: Path | None = None
    masks: Images | None = None

    def own_images(self, attack: str, needs: str = "images of the attacker's own from the same source") -> Images:
        """The attacker's own images. Raises InputError where he has fewer than two, naming the attack that needs them.

        needs: what the attack needs, for the message.
        """
        if self.reference is None or len(self.reference) < 2:
            raise InputError(
                f"{attack} needs {needs}; give --reference or more controls, of which a fifth is then set aside."
            )
        return self.reference

    def train(
        self,
        recipe: Recipe,
        images: Images,
        seed: int,
        *,
        classes: int | None = None,
        soft_labels: NDArray[np.float32] | None = None,
    ) -> Network:
        """A network trained by this recipe, in evaluation mode, on the CPU; trained once for all who ask for the same.

        classes: number of logits; None: the largest label and those below it. The task that asks is started again
        when the network is ready, so ask before anything long. For several networks at once: `learning.trained`.
        """
        from privaudit.learning import Training, trained

        count = int(images.labels.max(initial=0)) + 1 if classes is None else classes
        return trained([Training(recipe, images, count, seed, soft_labels)], self.device)[0]


@runtime_checkable
class Attack(Protocol):
    """An attack: a frozen settings model whose fields are its settings.

    name, version: both are in every cache key; version rises when scores change.
    sees: what the attacker sees. threat_model: in words, what the attacker holds.
    A class may also declare `informs: ClassVar[tuple[Criterion, ...]]`, `trains: ClassVar[bool]`,
    `ranks: ClassVar[Ranked]`, `uses_backbones: ClassVar[bool]` and `suspects_at_a_time: ClassVar[int]` (see the
    functions of these names).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    sees: ClassVar[frozenset[Sight]]
    threat_model: ClassVar[str]

    def reach(self, n_release: int) -> int | None:
        """How many distinct images it can recover from a release of this size; None: it ranks all suspects."""

    def expose(self, release: Release, world: Context) -> Seen:
        """Play the victim: compute from the release what the attacker gets to see."""

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Play the attacker: rank the suspects, or reconstruct images."""


class Settings(BaseModel):
    """Base of all settings models: frozen, unknown keys forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ReleaseAttack(Settings, ABC):
    """Base of attacks that hold the released images: a plugin gives name, version, threat_model and `attack`."""

    name: ClassVar[str]
    version: ClassVar[int]
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.RELEASE})
    threat_model: ClassVar[str]

    def reach(self, n_release: int) -> int | None:
        """None: every suspect is ranked."""
        return None

    def expose(self, release: Release, world: Context) -> Seen:
        """The released images and labels, as published."""
        return Seen(release.images.arrays())

    @abstractmethod
    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Rank the suspects against `seen.images`."""


@runtime_checkable
class EngineBound(Protocol):
    """What an attack has besides, which undoes what one engine did: in the originals there is nothing for it.

    In place of `raw` and `fresh` it is run on what the engine makes of members, with the truth handed to it
    (`positive`), and on what it makes of images that nobody used (`negative`).
    """

    engine: str

    def bound_to(self, release: Release) -> Attack | None:
        """The attack with what it reads off this release in its settings; None: it does not look made by the engine."""

    def engine_run(self, images: Images) -> tuple[Mapping[str, Any], Images]:
        """Settings of the engine that made the release, and those of these images that it can be run on; of a bound
        attack.
        """

    def told(self, seen: Seen, sources: Images) -> Seen:
        """What is seen, with the truth about it. sources: all images that the engine was fed."""


def informs(attack: Attack) -> tuple[Criterion, ...]:
    """The criteria of WP216 that an attack declares to inform, in its class attribute `informs`.

    An attack that declares none informs singling out: it ranks whose images were used. Raises InputError for a
    criterion that does not exist.
    """
    declared = tuple(getattr(type(attack), "informs", ())) or ("singling_out",)
    for criterion in declared:
        if criterion not in get_args(Criterion):
            raise InputError(
                f"The attack '{attack.name}' informs '{criterion}', which is no criterion. "
                f"Allowed: {', '.join(get_args(Criterion))}."
            )
    return declared


def trains(attack: Attack) -> bool:
    """Whether the attack trains networks on what it sees (class attribute `trains`, False where it is not declared).

    Such an attack costs a training for every release that it looks at: it is not run on planted members, so that its
    power in this candidate stays unknown and it supports no pass.
    """
    return bool(getattr(type(attack), "trains", False))


def finds_plants(attack: Attack) -> bool:
    """Whether it is run on planted members: it looks at the release, trains nothing on it, is bound to no engine."""
    return holds_release(attack) and not trains(attack) and not isinstance(attack, EngineBound)


def uses_backbones(attack: Attack) -> bool:
    """Whether the attacker looks through backbones of the weight store where it has any (class attribute
    `uses_backbones`, False where it is not declared). Their hashes are then part of what decides his scores.
    """
    return bool(getattr(type(attack), "uses_backbones", False))


def suspects_at_a_time(attack: Attack) -> int | None:
    """How many suspects it may be shown in one task (class attribute `suspects_at_a_time`); None: always all of them.

    An attack may declare it where it judges a suspect by what is seen and by the attacker's own images, and by other
    suspects only so far as any large part of them does as well: many suspects are then shared out among tasks, in the
    order of the shuffled pile, each with all that is seen and all his own images.
    """
    declared = getattr(type(attack), "suspects_at_a_time", None)
    return None if declared is None else int(declared)


def ranks(attack: Attack) -> Ranked:
    """Whose images the attack ranks, in its class attribute `ranks`: 'suspects' (the default) or 'siblings'.

    A sibling is another image of a person in members, controls or fresh images, which no engine was fed. Raises
    InputError for anything else.
    """
    declared = getattr(type(attack), "ranks", "suspects")
    if declared not in get_args(Ranked):
        raise InputError(f"The attack '{attack.name}' ranks '{declared}'. Allowed: {', '.join(get_args(Ranked))}.")
    return cast(Ranked, declared)


def holds_release(attack: Attack) -> bool:
    """Whether the attacker holds the released images; only such attacks can support a pass."""
    return Sight.RELEASE in attack.sees
