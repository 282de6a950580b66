"""Epsilon of Gaussian steps: against the exact Gaussian mechanism, the rules of composition, and calibration."""

from __future__ import annotations

import math

import pytest
from scipy import optimize, stats

from privaudit.accounting import GaussianSteps, accountant_name, epsilon_spent, least_noise
from privaudit.errors import InputError


def exact_epsilon(sigma: float, delta: float) -> float:
    """Of one Gaussian mechanism of sensitivity 1 (Balle, Wang 2018, arXiv 1805.06530, theorem 5)."""

    def excess(epsilon: float) -> float:
        shift = 1 / (2 * sigma)
        below = math.exp(epsilon + stats.norm.logcdf(-shift - epsilon * sigma))
        return float(stats.norm.cdf(shift - epsilon * sigma)) - below - delta

    return float(optimize.brentq(excess, 0, 100))


@pytest.mark.parametrize(("sigma", "delta"), [(1.0, 1e-5), (4.0, 1e-5), (0.8, 1e-6), (20.0, 1e-5), (484.0, 1e-5)])
def test_a_single_gaussian_is_counted_almost_exactly(sigma: float, delta: float) -> None:
    found, exact = epsilon_spent([GaussianSteps(sigma, 1.0, 1)], delta), exact_epsilon(sigma, delta)
    assert exact <= found <= exact + 0.02


def test_two_gaussians_are_one_with_less_noise() -> None:
    """Noise of 2 twice is worth noise of 2 / sqrt(2) once."""
    twice = epsilon_spent([GaussianSteps(2.0, 1.0, 1), GaussianSteps(2.0, 1.0, 1)], 1e-5)
    assert twice == pytest.approx(exact_epsilon(2 / 2**0.5, 1e-5), abs=0.03)
    assert epsilon_spent([GaussianSteps(2.0, 1.0, 2)], 1e-5) == pytest.approx(twice, abs=0.02)


def test_sampling_and_noise_cost_less_and_steps_more() -> None:
    base = epsilon_spent([GaussianSteps(1.0, 0.1, 100)], 1e-5)
    assert epsilon_spent([GaussianSteps(1.0, 0.05, 100)], 1e-5) < base
    assert epsilon_spent([GaussianSteps(1.5, 0.1, 100)], 1e-5) < base
    assert epsilon_spent([GaussianSteps(1.0, 0.1, 200)], 1e-5) > base


@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_the_least_noise_keeps_the_budget_and_hardly_less_does(epsilon: float) -> None:
    def mechanisms(noise: float) -> list[GaussianSteps]:
        return [GaussianSteps(noise, 0.1, 50), GaussianSteps(5.0, 1.0, 1)]

    noise = least_noise(epsilon, 1e-5, mechanisms)
    assert epsilon_spent(mechanisms(noise), 1e-5) <= epsilon
    assert epsilon_spent(mechanisms(noise * 0.99), 1e-5) > epsilon


@pytest.mark.parametrize("epsilon", [0.01, 0.1])
def test_a_small_budget_can_be_kept(epsilon: float) -> None:
    """PrivImage's query has 0.01 in its paper, and noise of 484 by the classical bound."""
    noise = least_noise(epsilon, 1e-5, lambda noise: [GaussianSteps(noise, 1.0, 1)])
    assert epsilon_spent([GaussianSteps(noise, 1.0, 1)], 1e-5) <= epsilon
    assert exact_epsilon(noise, 1e-5) == pytest.approx(epsilon, rel=0.05)


def test_a_budget_that_is_spent_already_is_refused() -> None:
    with pytest.raises(InputError, match="No noise keeps epsilon 1 at delta 1e-05"):
        least_noise(1.0, 1e-5, lambda noise: [GaussianSteps(1.0, 1.0, 1), GaussianSteps(noise, 0.1, 10)])


def test_the_accountant_has_a_version() -> None:
    assert accountant_name().startswith("Opacus 1.")
