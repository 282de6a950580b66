"""Differential privacy of Gaussian steps, counted by Opacus' PRV accountant (Gopi et al. 2021, arXiv 2106.02848)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from privaudit.errors import InputError
from privaudit.statistics.tradeoff import PrivacyCurve

_PRECISION = 1.002
_LEAST, _MOST = 0.2, 1e4
_SMALL = 0.5
_HIGH_ORDERS = (96, 128, 192, 256, 384, 512, 768, 1024)
"""Of Renyi's bound, for small epsilons: an order cannot show less than log(1 / delta) over itself."""


@dataclass(frozen=True)
class GaussianSteps:
    """Sums of vectors of norm 1 at most, with Gaussian noise; so many times, each over a random part of the records.

    noise_multiplier: standard deviation of the noise on each component. sampling_rate: probability with which each
    record takes part in a step, by a coin of its own; 1: all take part. Adding or removing a record is hidden.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int


def accountant_name() -> str:
    """Name and version of what counts."""
    from importlib.metadata import version

    return f"Opacus {version('opacus')}, PRV accountant"


def epsilon_spent(mechanisms: Sequence[GaussianSteps], delta: float) -> float:
    """An upper bound of the epsilon of all of them together, at this delta."""
    from opacus.accountants import PRVAccountant

    found = _epsilon(PRVAccountant(), mechanisms, delta)
    if found >= _SMALL:
        return found
    # The accountant adds its own error, 0.01, to what it finds: of a small epsilon that is a large part.
    error = max(1e-4, found / 50)
    return _epsilon(PRVAccountant(), mechanisms, delta, eps_error=error)


@lru_cache(maxsize=64)
def privacy_curve(mechanisms: tuple[GaussianSteps, ...]) -> PrivacyCurve:
    """Upper bounds of the privacy curve of all of them together, at 25 deltas; negative epsilons are left out."""
    deltas = np.concatenate([np.logspace(-6, -1, 16), np.arange(0.2, 0.9, 0.1), [0.9, 0.95]])
    epsilons = np.array([epsilon_spent(mechanisms, float(delta)) for delta in deltas])
    kept = np.isfinite(epsilons) & (epsilons >= 0)
    return PrivacyCurve(epsilons[kept], deltas[kept])


def _epsilon(accountant: object, mechanisms: Sequence[GaussianSteps], delta: float, **options: Any) -> float:
    history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in mechanisms]
    accountant.history = history  # type: ignore[attr-defined]
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        # Other orders of Renyi's bound might give a lower one: it serves as a first guess only.
        warnings.filterwarnings("ignore", message="Optimal order is", category=UserWarning)
        return float(accountant.get_epsilon(delta, **options))  # type: ignore[attr-defined]


def least_noise(epsilon: float, delta: float, mechanisms: Callable[[float], Sequence[GaussianSteps]]) -> float:
    """The least noise multiplier, to a fifth of a percent, at which the mechanisms keep the budget together.

    mechanisms: those for a noise multiplier; more noise never costs more. Raises InputError where none keeps it.
    """
    from opacus.accountants import RDPAccountant

    orders = [*RDPAccountant.DEFAULT_ALPHAS, *_HIGH_ORDERS]

    def enough(noise: float, rough: bool) -> bool:
        if rough:
            return _epsilon(RDPAccountant(), mechanisms(noise), delta, alphas=orders) <= epsilon
        return epsilon_spent(mechanisms(noise), delta) <= epsilon

    none = InputError(
        f"No noise keeps epsilon {epsilon:g} at delta {delta:g}. Choose a larger epsilon, or other shares of it."
    )
    if not enough(_MOST, rough=True):
        raise none
    # Renyi's bound is quick and hardly ever below: its noise is enough, and about a fifth less may be.
    low, high = _LEAST, _MOST
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle, rough=True) else (middle, high)
    while not enough(high, rough=False):
        high *= 1.1
        if high > _MOST:
            raise none
    low = 0.7 * high
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle, rough=False) else (middle, high)
    return high


@lru_cache(maxsize=64)
def training_beside_one_look(
    epsilon: float, delta: float, share: float, sampling_rate: float, steps: int
) -> tuple[GaussianSteps, GaussianSteps]:
    """The steps of a training, and one look at all records, each with the least noise that keeps the budget.

    share: epsilon of the look alone, as a share of the budget's; the rest is the training's.
    """
    look = GaussianSteps(least_noise(share * epsilon, delta, lambda noise: [GaussianSteps(noise, 1.0, 1)]), 1.0, 1)
    training = least_noise(epsilon, delta, lambda noise: [GaussianSteps(noise, sampling_rate, steps), look])
    return GaussianSteps(training, sampling_rate, steps), look
