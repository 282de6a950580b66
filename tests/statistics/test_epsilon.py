"""One-run bounds against golden vectors, against plain formulas, and their error rate."""

from __future__ import annotations

from math import comb, exp

import numpy as np
import pytest
from scipy import stats

from benchmarks import null_and_coverage as simulation
from privaudit.statistics.epsilon import (
    black_box_limit,
    gaussian_noise,
    one_run_epsilon,
    one_run_gaussian_epsilon,
    one_run_p_value,
)

# references/newest.md 1.5: records, guesses, correct, Steinke et al., f-DP with the Gaussian curve.
GOLDEN = [
    (100, 100, 100, 3.490, 8.216),
    (1000, 100, 100, 3.465, 5.549),
    (1000, 100, 95, 2.165, 3.323),
    (1000, 500, 450, 1.946, 3.388),
    (1000, 1000, 750, 0.976, 1.819),
    (5000, 500, 500, 4.978, 7.981),
    (6000, 20, 20, 1.625, 2.004),
    (6000, 64, 60, 1.782, 2.198),
]


@pytest.mark.parametrize(("records", "guesses", "correct", "steinke", "gaussian"), GOLDEN)
def test_golden_vectors(records: int, guesses: int, correct: int, steinke: float, gaussian: float) -> None:
    assert one_run_epsilon(records, guesses, correct) == pytest.approx(steinke, abs=6e-4)
    assert one_run_gaussian_epsilon(records, guesses, correct) == pytest.approx(gaussian, abs=6e-4)


@pytest.mark.parametrize(("guesses", "claim"), [(62, 3.0), (10, 1.0), (65_987, 10.0)])
def test_all_right_refutes_a_claim_from_this_many_guesses(guesses: int, claim: float) -> None:
    """Rule 5: with every guess right, epsilon 3 needs 62 canaries, 1 needs 10, 10 needs 65,987 (delta 0)."""
    assert one_run_epsilon(guesses, guesses, guesses, delta=0.0) > claim
    assert one_run_epsilon(guesses - 1, guesses - 1, guesses - 1, delta=0.0) < claim


def test_p_value_without_delta_is_a_binomial_tail() -> None:
    win = exp(0.7) / (1 + exp(0.7))
    tail = sum(comb(12, k) * win**k * (1 - win) ** (12 - k) for k in range(9, 13))
    assert one_run_p_value(100, 12, 9, 0.7, 0.0) == pytest.approx(tail)


@pytest.mark.parametrize("delta", [1e-6, 1e-4])
def test_p_value_with_delta_equals_the_published_loop(delta: float) -> None:
    records, guesses, correct, claim = 500, 80, 70, 1.3
    win = 1 / (1 + exp(-claim))
    largest = total = 0.0
    for i in range(1, correct + 1):
        total += stats.binom.pmf(correct - i, guesses, win)
        largest = max(largest, total / i)
    expected = stats.binom.sf(correct - 1, guesses, win) + 2 * records * delta * largest
    assert one_run_p_value(records, guesses, correct, claim, delta) == pytest.approx(expected)


@pytest.mark.parametrize("bound", [one_run_epsilon, one_run_gaussian_epsilon])
def test_chance_and_silence_show_nothing(bound: type) -> None:
    assert bound(1000, 100, 50) == 0.0
    assert bound(1000, 100, 0) == 0.0
    assert bound(1000, 0, 0) == 0.0


@pytest.mark.parametrize("bound", [one_run_epsilon, one_run_gaussian_epsilon])
def test_bound_rises_with_correct_guesses_and_falls_with_level(bound: type) -> None:
    bounds = [bound(1000, 100, correct) for correct in (60, 70, 80, 90, 100)]
    assert bounds == sorted(bounds)
    assert bound(1000, 100, 90, level=0.99) < bound(1000, 100, 90)
    assert bound(1000, 100, 90, delta=1e-4) < bound(1000, 100, 90, delta=1e-7)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_gaussian_noise_meets_its_privacy_curve(epsilon: float, delta: float) -> None:
    sigma = gaussian_noise(epsilon, delta)
    left, right = stats.norm.cdf(np.array([0.5, -0.5]) / sigma - epsilon * sigma)
    assert left - exp(epsilon) * right == pytest.approx(delta, rel=1e-4, abs=1e-14)


@pytest.mark.parametrize(("images", "limit"), [(6000, 6.6980), (540, 4.2901), (7, 0.0), (0, 0.0)])
def test_black_box_limit(images: int, limit: float) -> None:
    assert black_box_limit(images) == pytest.approx(limit, abs=1e-4)


@pytest.mark.parametrize(("records", "guesses", "claim"), [(1000, 100, 1.0), (1000, 500, 3.0), (100, 100, 0.5)])
def test_honest_randomised_response_is_refuted_in_at_most_5_percent(records: int, guesses: int, claim: float) -> None:
    assert 0.01 < simulation.one_run_level(records, guesses, claim) <= 0.05


def test_honest_gaussian_is_refuted_in_at_most_5_percent() -> None:
    runs = 400
    for claim in (1.0, 3.0):
        assert simulation.gaussian_refutations(1000, 100, claim, runs, seed=1) <= simulation.allowed(runs, 0.05)


def test_gaussian_bound_refutes_a_tenth_of_the_noise() -> None:
    """Rule 5 at epsilon 3: a mechanism with sigma/10 cannot be told honest."""
    rng = np.random.default_rng(0)
    shift = 10 / gaussian_noise(3.0, 1e-5)
    inside = rng.random(1000) < 0.5
    best = np.argsort(rng.standard_normal(1000) + shift * inside)[-200:]
    assert one_run_gaussian_epsilon(1000, 200, int(inside[best].sum())) > 3.0
