"""Audits of claims of differential privacy: curves and tests against known ones, canaries in DP-SGD, broken engines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from privaudit.accounting import GaussianSteps, epsilon_spent, privacy_curve
from privaudit.attack import Context
from privaudit.dp_audit import PrivateStage, audit, coins, judged, observed
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.networks import GROUPNORM, Architecture
from privaudit.learning.private import GradientCanaries, PrivateTraining, train_privately
from privaudit.plugins import make_synthesizer
from privaudit.statistics.epsilon import gaussian_noise
from privaudit.statistics.tradeoff import CanaryTest, PrivacyCurve, canary_test, gaussian_epsilon
from privaudit.store import Store
from privaudit.synth.bn_matching.private import DPBNMatching
from privaudit.synth.bn_matching.private_fit import statistics_scores
from privaudit.synth.noise import Noise

SETTINGS = {"epsilon": 10.0, "delta": 1e-5, "divisor": 3.0, "teacher_steps": 10, "sampling_rate": 1.0}


def members(count: int = 12) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), np.arange(count, dtype=np.int64) % 2)


def stages(**changes: float | str) -> dict[str, PrivateStage]:
    engine = DPBNMatching(**(SETTINGS | changes))
    own = Context(np.random.default_rng(0), effort="quick")
    return {stage.name: stage for stage in engine.private_stages(members(), own)}


def one_audit(shift: float, count: int, seed: int, claimed: PrivacyCurve) -> CanaryTest:
    return canary_test(*gaussian_scores(shift, count, seed), claimed, 0.95, np.random.default_rng(seed))


def gaussian_scores(shift: float, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    inside = rng.random(count) < 0.5
    return rng.standard_normal(count) + shift * inside, inside


@pytest.mark.parametrize("noise", [0.7, 2.0])
def test_the_curve_of_one_gaussian_is_that_of_the_normal_law(noise: float) -> None:
    """One look at everything: TPR = Phi(Phi^-1(FPR) + 1/noise). Upper bounds on a grid lie above it, by little."""
    curve = privacy_curve((GaussianSteps(noise, 1.0, 1),))
    for false in (0.003, 0.02, 0.1, 0.4):
        true = float(stats.norm.cdf(stats.norm.ppf(false) + 1 / noise))
        assert true - 1e-9 <= curve.most_found(false) <= true + 0.03


def test_pure_privacy_by_hand() -> None:
    """(ln 3, 0): at most three times as many found as accused, and a third of what is not accused stays unfound."""
    curve = PrivacyCurve(np.array([np.log(3)]), np.array([0.0]))
    assert curve.most_found(0.1) == pytest.approx(0.3)
    assert curve.most_found(0.7) == pytest.approx(1 - 0.3 / 3)
    assert PrivacyCurve(np.array([0.0]), np.array([0.2])).most_found(0.1) == pytest.approx(0.3)


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 10.0])
def test_epsilon_of_a_shift_is_the_inverse_of_the_analytic_gaussian(epsilon: float) -> None:
    assert gaussian_epsilon(1 / gaussian_noise(epsilon, 1e-5), 1e-5) == pytest.approx(epsilon, rel=1e-6)
    assert gaussian_epsilon(0.0, 1e-5) == 0


def test_a_true_claim_is_refuted_as_seldom_as_stated() -> None:
    """At the limit: the scores have exactly the claimed curve. 200 tests at 95 %, 18 refutations have p = .01."""
    exact = np.linspace(0.0, 12, 200)
    deltas = stats.norm.cdf(0.5 - exact) - np.exp(exact) * stats.norm.cdf(-0.5 - exact)  # of shift 1
    claimed = PrivacyCurve(exact, np.maximum(deltas, 0))
    refuted = [one_audit(1.0, 400, seed, claimed).refuted for seed in range(200)]
    assert sum(refuted) <= 18


def test_a_false_claim_is_refuted_and_the_bound_is_below_the_truth() -> None:
    claimed = privacy_curve((GaussianSteps(1.0, 1.0, 1),))
    found = [one_audit(2.5, 1000, seed, claimed) for seed in range(20)]
    assert all(one.refuted and one.could_refute for one in found)
    assert sum(one.shift_low > 2.5 for one in found) <= 3
    assert np.median([one.shift_low for one in found]) > 2.0
    assert all(one.epsilon_of_any(1e-5) < gaussian_epsilon(2.5, 1e-5) for one in found)


def test_what_canaries_can_never_show_is_said() -> None:
    """Epsilon 10 for sure, and 100 canaries: perfect scores show at most ln(1 / .13), about 2."""
    scores, inside = gaussian_scores(100.0, 100, 0)
    claimed = PrivacyCurve(np.array([10.0]), np.array([1e-5]))
    found = canary_test(scores, inside, claimed, 0.95, np.random.default_rng(0))
    assert (found.found, found.accused) == (found.inside, 0)
    assert not found.could_refute
    assert not found.refuted
    assert 1.5 < found.epsilon_of_any(1e-5) < 2.5
    with pytest.raises(InputError, match="30 canaries are too few: 10 inside and outside"):
        canary_test(scores[:30], inside[:30], claimed, 0.95, np.random.default_rng(0))


def test_canaries_go_through_the_optimizer_like_images() -> None:
    """No noise: a canary inside leaves one for each step that it was drawn for; one outside leaves nothing."""
    inside = np.arange(50) < 30
    asked = PrivateTraining(GaussianSteps(0.0, 0.25, 80), clip=0.5, divisor=4.0, learning_rate=0.2)
    canaries = GradientCanaries(inside, asked, randomness=3)
    shape = Architecture(name=GROUPNORM, channels=1, classes=2, side=8)
    with_them = train_privately(shape, asked, members(), start=1, randomness=2, canaries=canaries)
    assert np.allclose(canaries.scores[~inside], 0)
    np.testing.assert_allclose(canaries.scores, np.rint(canaries.scores), atol=1e-3)
    assert canaries.scores[inside].mean() == pytest.approx(20, abs=4 * (80 * 0.25 * 0.75 / 30) ** 0.5)
    without = train_privately(shape, asked, members(), start=1, randomness=2)
    for mine, theirs in zip(with_them.parameters(), without.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), atol=1e-5)  # they move nothing else


def test_the_noise_on_a_canary_is_that_of_the_claim() -> None:
    """Ten steps: the sum along a canary that is not in has standard deviation noise x sqrt(10)."""
    stage = stages()["teacher"]
    scores, inside = observed(stage, 600, 1), coins(600, 1, "teacher")
    assert scores[~inside].std() == pytest.approx(stage.claimed.noise_multiplier * 10**0.5, rel=0.15)
    assert scores[inside].mean() - scores[~inside].mean() == pytest.approx(10, abs=1.5)


def test_the_engines_own_stages_are_not_refuted_and_make_up_the_claim() -> None:
    found = stages()
    for name, stage in found.items():
        one = judged(stage, observed(stage, 1000, 0), 0, 1e-5, 2)
        assert not one.test.refuted, name
        assert one.test.could_refute, name
        assert one.lower_if_gaussian < one.epsilon, name
    assert found["teacher"].one_run
    assert epsilon_spent([stage.claimed for stage in found.values()], 1e-5) <= 10.0


def test_a_tenth_of_the_noise_is_refuted() -> None:
    honest = stages()
    claimed = honest["teacher"].claimed
    asked = PrivateTraining(replace(claimed, noise_multiplier=claimed.noise_multiplier / 10), 1.0, 3.0, 2.0)
    from privaudit.synth.bn_matching.private_fit import teacher_scores

    def weak(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
        return teacher_scores(asked, members(), 2, "cpu", inside, rng)

    stage = replace(honest["teacher"], observe=weak)
    assert judged(stage, observed(stage, 1000, 0), 0, 1e-5, 2).test.refuted


def test_noise_drawn_at_every_step_is_refuted() -> None:
    """As in published code: 150 looks at sums that are counted once."""
    honest = stages(epsilon=1.0)["statistics"]

    def redrawn(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
        noise = honest.claimed.noise_multiplier
        return statistics_scores(noise, members(), 2, 1.0, "cpu", inside, rng, views=150)

    assert not judged(honest, observed(honest, 600, 0), 0, 1e-5, 2).test.refuted
    stage = replace(honest, observe=redrawn)
    assert judged(stage, observed(stage, 600, 0), 0, 1e-5, 2).test.refuted


def test_what_is_refused(tmp_path: Path) -> None:
    def start(engine: Noise | DPBNMatching, canaries: int = 200) -> None:
        audit(
            engine,
            members(),
            Store(tmp_path),
            canaries=canaries,
            seed=0,
            effort="quick",
            device="cpu",
            workers=0,
            announce=lambda what, done, total: None,
        )

    with pytest.raises(InputError, match="The claim of 'noise' cannot be audited from within"):
        start(Noise())
    with pytest.raises(InputError, match="set epsilon and delta"):
        start(DPBNMatching())
    with pytest.raises(InputError, match="99 canaries can show nothing: at least 100"):
        start(make_synthesizer("dp-bn-matching", SETTINGS), 99)  # type: ignore[arg-type]
