"""Differential privacy of Gaussian steps, counted by Opacus' PRV accountant (Gopi et al. 2021, arXiv 2106.02848)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from privaudit.errors import InputError
from privaudit.statistics.tradeoff import PrivacyCurve

_PRECISION = 1.002
_LEAST, _MOST = 0.2, 1e4


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

    return _epsilon(PRVAccountant(), mechanisms, delta)


@lru_cache(maxsize=64)
def privacy_curve(mechanisms: tuple[GaussianSteps, ...]) -> PrivacyCurve:
    """Upper bounds of the privacy curve of all of them together, at 25 deltas; negative epsilons are left out."""
    deltas = np.concatenate([np.logspace(-6, -1, 16), np.arange(0.2, 0.9, 0.1), [0.9, 0.95]])
    epsilons = np.array([epsilon_spent(mechanisms, float(delta)) for delta in deltas])
    kept = np.isfinite(epsilons) & (epsilons >= 0)
    return PrivacyCurve(epsilons[kept], deltas[kept])


def _epsilon(accountant: object, mechanisms: Sequence[GaussianSteps], delta: float) -> float:
    history = [(one.noise_multiplier, one.sampling_rate, one.steps) for one in mechanisms]
    accountant.history = history  # type: ignore[attr-defined]
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        # Other orders of Renyi's bound might give a lower one: it serves as a first guess only.
        warnings.filterwarnings("ignore", message="Optimal order is", category=UserWarning)
        return float(accountant.get_epsilon(delta))  # type: ignore[attr-defined]


def least_noise(epsilon: float, delta: float, mechanisms: Callable[[float], Sequence[GaussianSteps]]) -> float:
    """The least noise multiplier, to a fifth of a percent, at which the mechanisms keep the budget together.

    mechanisms: those for a noise multiplier; more noise never costs more. Raises InputError where none keeps it.
    """
    from opacus.accountants import RDPAccountant

    def enough(noise: float, rough: bool) -> bool:
        if rough:
            return _epsilon(RDPAccountant(), mechanisms(noise), delta) <= epsilon
        return epsilon_spent(mechanisms(noise), delta) <= epsilon

    if not enough(_MOST, rough=True):
        raise InputError(
            f"No noise keeps epsilon {epsilon:g} at delta {delta:g}. Choose a larger epsilon, or give the statistics a "
            "smaller share of it."
        )
    # Renyi's bound is quick and never below: its noise is enough, and about a fifth less may be.
    low, high = _LEAST, _MOST
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle, rough=True) else (middle, high)
    low = 0.7 * high
    while high / low > _PRECISION:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if enough(middle, rough=False) else (middle, high)
    return high
