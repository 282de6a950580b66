"""What an engine with a claim of differential privacy opens, so that the claim can be audited."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from privaudit.accounting import GaussianSteps
from privaudit.attack import Context
from privaudit.images import Images


@dataclass(frozen=True)
class PrivateStage:
    """A noisy computation of an engine. claimed: what its claim counts it as.

    observe: runs it with these canaries in (bool [m]) and returns float64 [m], higher = surer that it was in: all that
        the engine's later steps and its release depend on may be looked at. Scores of different canaries must be
        independent. one_run: whether all canaries were in one run, or each had a run of its own.
    """

    name: str
    claimed: GaussianSteps
    observe: Callable[[NDArray[np.bool_], np.random.Generator], NDArray[np.float64]]
    one_run: bool


@runtime_checkable
class PrivateEngine(Protocol):
    """What an engine with a claim has besides, so that the claim can be audited."""

    def private_stages(self, members: Images, context: Context) -> Sequence[PrivateStage]:
        """Its noisy computations. Their claimed counts, together, are the claim of what it releases."""

    def budget(self) -> tuple[float, float]:
        """Epsilon and delta. Raises InputError where they are not set."""
