"""Audits of claims of differential privacy: curves and tests against known ones, canaries in DP-SGD, broken engines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from opacus.optimizers import DPOptimizer
from scipy import stats

from privaudit.accounting import GaussianSteps, epsilon_spent, privacy_curve
from privaudit.attack import Context, Effort
from privaudit.dp_audit import DPAudit, StageFound, audit, judged, observed
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning.gradient_canaries import GradientCanaries
from privaudit.learning.networks import GROUPNORM, Architecture
from privaudit.learning.private import PrivateTraining, train_privately
from privaudit.private_engine import PrivateStage
from privaudit.statistics.epsilon import gaussian_noise
from privaudit.statistics.tradeoff import CanaryTest, PrivacyCurve, canary_test, gaussian_epsilon
from privaudit.store import Store
from privaudit.synth.bn_matching.private import DPBNMatching
from privaudit.synth.bn_matching.private_fit import statistics_scores, teacher_scores
from privaudit.synth.noise import Noise


class LessNoise(DPBNMatching):
    """Claims what it is asked for, and adds a tenth of the noise."""

    def mechanisms(self, effort: Effort) -> tuple[GaussianSteps, GaussianSteps]:
        first, second = super().mechanisms(effort)
        less = (replace(one, noise_multiplier=one.noise_multiplier / 10) for one in (first, second))
        return next(less), next(less)


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
    """No noise: a canary inside, a hundred times too long, leaves one for each step that it was drawn for; one outside
    leaves nothing.
    """
    inside, shape = np.arange(50) < 30, Architecture(name=GROUPNORM, channels=1, classes=2, side=8)
    sometimes = GaussianSteps(0.0, 0.25, 80)
    asked = PrivateTraining(sometimes, clip=0.5, divisor=4.0, learning_rate=0.2)
    canaries = GradientCanaries(inside, sometimes, asked.clip, asked.divisor, "cpu")
    train_privately(shape, asked, members(), start=1, randomness=2, canaries=canaries)
    assert np.allclose(canaries.sums[~inside], 0)
    np.testing.assert_allclose(canaries.sums, np.rint(canaries.sums), atol=1e-3)
    assert canaries.sums[inside].mean() == pytest.approx(20, abs=4 * (80 * 0.25 * 0.75 / 30) ** 0.5)


def test_canaries_move_nothing_else() -> None:
    inside, shape = np.arange(50) < 30, Architecture(name=GROUPNORM, channels=1, classes=2, side=8)
    always = GaussianSteps(0.0, 1.0, 5)
    asked = PrivateTraining(always, clip=0.5, divisor=4.0, learning_rate=0.2)
    canaries = GradientCanaries(inside, always, asked.clip, asked.divisor, "cpu")
    with_them = train_privately(shape, asked, members(), start=1, randomness=2, canaries=canaries)
    without = train_privately(shape, asked, members(), start=1, randomness=2)
    for mine, theirs in zip(with_them.parameters(), without.parameters(), strict=True):
        np.testing.assert_allclose(mine.detach(), theirs.detach(), atol=1e-5)


def observed_teacher(claimed: GaussianSteps, asked: PrivateTraining, count: int = 1000) -> StageFound:
    """What an engine shows that trains its teacher so."""
    stage = PrivateStage("teacher", claimed, partial(teacher_scores, asked, claimed, members(), 2, "cpu"), one_run=True)
    return judged(stage, observed(stage, count, 0), 0, 1e-5, 2)


def test_noise_without_clipping_is_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    def unclipped(self: DPOptimizer) -> None:
        for parameter, samples in zip(self.params, self.grad_samples, strict=True):
            parameter.summed_grad = samples.sum(0)

    claimed = stages()["teacher"].claimed
    asked = PrivateTraining(claimed, 1.0, 3.0, 2.0)
    assert not observed_teacher(claimed, asked).test.refuted
    monkeypatch.setattr(DPOptimizer, "clip_and_accumulate", unclipped)
    assert observed_teacher(claimed, asked).test.refuted


def test_more_sampling_than_claimed_is_refuted() -> None:
    """Each image in every step, where every tenth step is counted."""
    claimed = GaussianSteps(1.0, 0.1, 40)
    assert not observed_teacher(claimed, PrivateTraining(claimed, 1.0, 3.0, 0.1), 400).test.refuted
    asked = PrivateTraining(replace(claimed, sampling_rate=1.0), 1.0, 3.0, 0.1)
    assert observed_teacher(claimed, asked, 400).test.refuted


def test_vectors_that_are_not_cut_are_refuted(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stages()["statistics"]
    assert not judged(stage, observed(stage, 1000, 0), 0, 1e-5, 2).test.refuted
    monkeypatch.setattr("privaudit.synth.bn_matching.private_fit.cut", lambda vectors, length: vectors)
    assert judged(stage, observed(stage, 1000, 0), 0, 1e-5, 2).test.refuted


def test_parts_that_cost_more_than_the_claim_refute_it(tmp_path: Path) -> None:
    """The engine adds a tenth of the noise and says so in its parts, but claims what was asked for."""
    found = start(LessNoise(**SETTINGS), tmp_path)
    assert found.miscounted
    assert found.refuted
    assert found.counted > 100
    assert not any(stage.test.refuted for stage in found.stages)  # each keeps what is counted for it
    honest = start(DPBNMatching(**SETTINGS), tmp_path)
    assert not honest.refuted
    assert not honest.without_power
    assert honest.counted <= 10 * 1.001


def test_the_noise_on_a_canary_is_that_of_the_claim() -> None:
    """Ten steps: the sum along a canary that is not in has standard deviation noise x sqrt(10); one inside adds ten."""
    claimed = stages()["teacher"].claimed
    inside, shape = np.arange(600) < 300, Architecture(name=GROUPNORM, channels=1, classes=2, side=8)
    asked = PrivateTraining(claimed, 1.0, 3.0, 2.0)
    canaries = GradientCanaries(inside, claimed, asked.clip, asked.divisor, "cpu")
    train_privately(shape, asked, members(), start=1, randomness=2, canaries=canaries)
    assert canaries.sums[~inside].std() == pytest.approx(claimed.noise_multiplier * 10**0.5, rel=0.15)
    assert canaries.sums[inside].mean() - canaries.sums[~inside].mean() == pytest.approx(10, abs=1.5)


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
    claimed = stages()["teacher"].claimed
    weak = replace(claimed, noise_multiplier=claimed.noise_multiplier / 10)
    assert observed_teacher(claimed, PrivateTraining(weak, 1.0, 3.0, 2.0)).test.refuted


def test_noise_drawn_at_every_step_is_refuted() -> None:
    """As in published code: 150 looks at sums that are counted once."""
    honest = stages(epsilon=1.0)["statistics"]

    def redrawn(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
        noise = honest.claimed.noise_multiplier
        return statistics_scores(noise, members(), 2, 1.0, "cpu", inside, rng, views=150)

    assert not judged(honest, observed(honest, 600, 0), 0, 1e-5, 2).test.refuted
    stage = replace(honest, observe=redrawn)
    assert judged(stage, observed(stage, 600, 0), 0, 1e-5, 2).test.refuted


def start(engine: Noise | DPBNMatching, root: Path, canaries: int = 400) -> DPAudit:
    return audit(
        engine,
        members(),
        Store(root),
        canaries=canaries,
        seed=0,
        effort="quick",
        device="cpu",
        workers=0,
        announce=lambda what, done, total: None,
    )


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="The claim of 'noise' cannot be audited from within"):
        start(Noise(), tmp_path)
    with pytest.raises(InputError, match="set epsilon and delta"):
        start(DPBNMatching(), tmp_path)
    with pytest.raises(InputError, match="no claim is made, so that there is nothing to audit"):
        start(DPBNMatching(**SETTINGS, noise="seeded"), tmp_path)
    for count in (99, 100_001):
        with pytest.raises(InputError, match="Between 100 and 100,000 canaries are allowed"):
            start(DPBNMatching(**SETTINGS), tmp_path, count)


def test_canaries_that_can_show_nothing_are_inconclusive(tmp_path: Path) -> None:
    found = start(DPBNMatching(**(SETTINGS | {"epsilon": 60.0})), tmp_path, 100)
    assert found.without_power
    assert not found.refuted
