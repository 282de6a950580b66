"""What engines with a claim of differential privacy share: their budget, and what they open, so that the claim can be
audited.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from privaudit import seeds
from privaudit.accounting import GaussianSteps, accountant_name, epsilon_spent
from privaudit.attack import Context, Settings
from privaudit.calls import surroundings
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import PrivacyClaim
from privaudit.synthesizer import Shard

Observe = Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.float64]]
"""Runs a computation with these canaries in, and gives a score of each."""


@dataclass(frozen=True)
class PrivateStage:
    """A noisy computation of an engine. claimed: what its claim counts it as.

    observe: runs it with these canaries in (bool [m]) and returns float64 [m], higher = surer that it was in: all that
        the engine's later steps and its release depend on may be looked at. Scores of different canaries must be
        independent. one_run: whether all canaries were in one run, or each had a run of its own.
    """

    name: str
    claimed: GaussianSteps
    observe: Observe
    one_run: bool


@runtime_checkable
class PrivateEngine(Protocol):
    """What an engine with a claim has besides, so that the claim can be audited."""

    def private_stages(self, members: Images, context: Context) -> Sequence[PrivateStage]:
        """Its noisy computations. Their claimed counts, together, are the claim of what it releases."""

    def budget(self) -> tuple[float, float]:
        """Epsilon and delta. Raises InputError where they are not set."""


class PrivateSettings(Settings):
    """The budget, and where the noise comes from."""

    name: ClassVar[str]

    epsilon: float | None = Field(None, gt=0, description="budget of everything that looks at members")
    delta: float | None = Field(None, ge=1e-12, lt=0.1, description="delta of the budget; below 1 / number of members")
    classes: int | None = Field(
        None,
        ge=1,
        description="number of classes, which is public; default: as many as the members' source names",
    )
    noise: Literal["secret", "seeded"] = Field(
        "secret",
        description="secret: from the operating system, kept in the store; seeded: from the seed of the run, for tests "
        "and benchmarks: who knows the seed can take the noise away",
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.epsilon is None) != (self.delta is None):
            given, missing = ("epsilon", "delta") if self.delta is None else ("delta", "epsilon")
            raise ValueError(f"{given} is given without {missing}: a guarantee needs both, as epsilon 3 and delta 1e-5")
        return self

    def budget(self) -> tuple[float, float]:
        """Epsilon and delta. Raises InputError where they are not set."""
        if self.epsilon is None or self.delta is None:
            raise InputError(
                f"{self.name} needs a budget: set epsilon and delta, for example --set epsilon=3 --set delta=1e-5."
            )
        return self.epsilon, self.delta

    def class_count(self, members: Images) -> int:
        """How many classes there are. Raises InputError where members have others."""
        largest = int(members.labels.max()) + 1
        if self.classes is not None and largest > self.classes:
            raise InputError(f"classes is {self.classes}, but a member has the class number {largest - 1}.")
        return self.classes or largest

    def check_delta(self, members: int) -> None:
        """Raises InputError where delta would allow a member to be released as it is."""
        _, delta = self.budget()
        if delta * members >= 1:
            raise InputError(
                f"delta {delta:g} allows one of {members:,} members to be released as it is: it must be below 1 / "
                f"members, {1 / members:.2g} here, and is better far below."
            )

    def check_claims(self) -> None:
        """Raises InputError where no claim is made."""
        if self.noise == "seeded":
            raise InputError("With noise: seeded no claim is made, so that there is nothing to audit. Leave noise out.")

    def claim(self, mechanisms: Sequence[GaussianSteps], described: Mapping[str, Any]) -> PrivacyClaim | None:
        """The claim of an engine that looks at its members by these alone; None with noise that is not secret."""
        if self.noise == "seeded":
            return None
        _, delta = self.budget()
        return PrivacyClaim(
            epsilon=epsilon_spent(mechanisms, delta),
            delta=delta,
            unit="image",
            adjacency="add/remove",
            mechanism=described,
            accountant=accountant_name(),
            trust_model="central: whoever ran the engine saw the images; computed in floating point",
            sampling="Poisson: each image takes part in a step by a coin of its own",
        )

    def check_kept(self) -> None:
        """Secret noise is drawn once: whoever makes parts of a release needs a store."""
        if self.noise == "secret" and not surroundings().keeps:
            raise RuntimeError("secret noise must be kept, or every part draws its own: run this through a store")


def noise_generator(arguments: Mapping[str, Any], *names: str) -> np.random.Generator:
    """What the noise of a task is drawn from; arguments: `secret`, and `seed` for noise that is not."""
    if arguments["secret"]:
        return np.random.default_rng(secrets.randbits(128))
    return seeds.generator(arguments["seed"], *names)


def randomness_from(rng: np.random.Generator) -> int:
    """128 bits, for `take_private_steps`."""
    return int.from_bytes(rng.bytes(16), "little")


def class_batches(classes: int, images_per_class: int, batch_size: int) -> list[Shard]:
    """A plan that tells nothing of the members: every class has as many images. Each shard knows its `label`."""
    return [
        Shard(
            f"class {label} part {part}",
            min(batch_size, images_per_class - start),
            {"label": label},
        )
        for label in range(classes)
        for part, start in enumerate(range(0, images_per_class, batch_size))
    ]
