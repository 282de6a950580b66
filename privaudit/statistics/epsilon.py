"""Lower bounds on epsilon from guesses in one run. Valid only where membership was drawn by fair coins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import optimize, special, stats

_LARGEST_EPSILON = 50.0


def black_box_limit(n_images: int) -> float:
    """The largest epsilon that a black-box audit of n images can show at all: ln(n / 2 / 3.7)."""
    return float(np.log(max(1.0, n_images / 2 / 3.7)))


def _largest_refuted(p_below: Callable[[float], bool]) -> float:
    if not p_below(0.0):
        return 0.0
    if p_below(_LARGEST_EPSILON):
        return _LARGEST_EPSILON
    return float(optimize.bisect(lambda epsilon: 1.0 if p_below(epsilon) else -1.0, 0.0, _LARGEST_EPSILON, xtol=1e-6))


def one_run_p_value(records: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """Probability of at least `correct` of `guesses` under (epsilon, delta)-DP, one run (Steinke, Nasr, Jagielski 2023,
    arXiv 2305.08846, theorem 5.2): a binomial tail plus the most that delta can add.
    """
    success = 1.0 / (1.0 + np.exp(-epsilon))
    tail = float(stats.binom.sf(correct - 1, guesses, success))
    if delta == 0 or correct == 0:
        return tail
    shifts = np.arange(1, correct + 1)
    gained = np.cumsum(stats.binom.pmf(correct - shifts, guesses, success))
    return float(min(1.0, tail + 2 * records * delta * np.max(gained / shifts)))


def one_run_epsilon(records: int, guesses: int, correct: int, delta: float = 1e-5, level: float = 0.95) -> float:
    """Largest epsilon that the guesses refute at this level; one guess threshold, fixed beforehand."""
    return _largest_refuted(lambda epsilon: one_run_p_value(records, guesses, correct, epsilon, delta) < 1 - level)


def gaussian_noise(epsilon: float, delta: float) -> float:
    """Noise multiplier of the Gaussian mechanism that is exactly (epsilon, delta)-DP (Balle, Wang 2018)."""

    def excess(log_sigma: float) -> float:
        sigma = float(np.exp(log_sigma))
        first = stats.norm.cdf(0.5 / sigma - epsilon * sigma)
        second = np.exp(epsilon + stats.norm.logcdf(-0.5 / sigma - epsilon * sigma))
        return float(first - second - delta)

    return float(np.exp(optimize.brentq(excess, -12.0, 40.0)))


def _gaussian_curve_refuted(
    records: int, guesses: int, correct: int, epsilon: float, delta: float, alpha: float
) -> bool:
    """Whether the Gaussian curve through (epsilon, delta) is refuted (Mahloujifar et al. 2025, arXiv 2410.22235)."""
    shift = 1.0 / gaussian_noise(epsilon, delta)
    caught = alpha * correct / records
    missed = alpha * (guesses - correct) / records
    for remaining in range(correct - 1, -1, -1):
        larger = max(missed, float(special.ndtr(special.ndtri(caught) - shift)))
        if larger == missed:
            break
        caught = min(1.0, caught + remaining / (guesses - remaining) * (larger - missed))
        missed = larger
    return caught + missed > guesses / records


def one_run_gaussian_epsilon(
    records: int, guesses: int, correct: int, delta: float = 1e-5, level: float = 0.95
) -> float:
    """Largest epsilon refuted if the mechanism is Gaussian (DP-SGD, noisy statistics); not a bound for others."""
    return _largest_refuted(
        lambda epsilon: _gaussian_curve_refuted(records, guesses, correct, epsilon, delta, 1 - level)
    )
