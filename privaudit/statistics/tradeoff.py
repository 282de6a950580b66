"""Scores of canaries that were in or out by coins, against a claimed trade-off curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from privaudit.errors import InputError
from privaudit.statistics.epsilon import gaussian_noise

_FEWEST = 10
_LARGEST_SHIFT = 40.0


@dataclass(frozen=True, eq=False)
class PrivacyCurve:
    """A mechanism that is (epsilons[i], deltas[i])-DP for every i; epsilons of 0 or more, float64."""

    epsilons: NDArray[np.float64]
    deltas: NDArray[np.float64]

    def most_found(self, false: float) -> float:
        """The largest share of those inside that any test finds which accuses this share of those outside."""
        first = np.exp(self.epsilons) * false + self.deltas
        second = 1 - np.exp(-self.epsilons) * (1 - false - self.deltas)
        return float(min(1.0, first.min(), second.min()))


@dataclass(frozen=True)
class CanaryTest:
    """A threshold chosen on one half of the canaries and tested on the other.

    found, inside; accused, outside: counts of the tested half. found_low, accused_high: Clopper-Pearson bounds that
    hold together at the level. most_found: what the claimed curve allows at accused_high. refuted: found_low is above.
    shift_low: lower bound of the shift mu if the mechanism has the trade-off curve of a Gaussian one.
    could_refute: whether scores that tell all canaries right would have refuted the claim.
    """

    found: int
    inside: int
    accused: int
    outside: int
    found_low: float
    accused_high: float
    most_found: float
    refuted: bool
    shift_low: float
    could_refute: bool

    def epsilon_if_gaussian(self, delta: float) -> float:
        """Lower bound on epsilon at this delta for a mechanism with the trade-off curve of a Gaussian one."""
        return gaussian_epsilon(self.shift_low, delta)

    def epsilon_of_any(self, delta: float) -> float:
        """Lower bound on epsilon at this delta, whatever the mechanism is."""
        return float(np.log(max(1.0, (self.found_low - delta) / self.accused_high)))


def gaussian_epsilon(shift: float, delta: float) -> float:
    """Epsilon at delta of the Gaussian mechanism with sensitivity / noise = shift (Balle, Wang 2018); 0 for none."""
    if shift <= 0 or 1 / gaussian_noise(0.0, delta) >= shift:
        return 0.0
    found = optimize.brentq(lambda epsilon: 1 / gaussian_noise(float(epsilon), delta) - shift, 0.0, 2000.0)
    return float(found)


def canary_test(
    scores: NDArray[np.float64],
    inside: NDArray[np.bool_],
    claimed: PrivacyCurve,
    level: float,
    rng: np.random.Generator,
) -> CanaryTest:
    """Test whether the claimed curve can have made these scores. level: of the test, such as 0.95.

    rng: deals the canaries into two halves, without a look at scores or coins. Raises InputError for fewer than 10
    canaries on either side of either half.
    """
    order = rng.permutation(len(scores))
    chosen, tested = order[: len(order) // 2], order[len(order) // 2 :]
    for part in (chosen, tested):
        if min(int(inside[part].sum()), int((~inside[part]).sum())) < _FEWEST:
            raise InputError(
                f"{len(scores)} canaries are too few: {_FEWEST} inside and outside of each half are needed."
            )
    threshold = _best_threshold(scores[chosen], inside[chosen], level)
    here, ins = scores[tested] >= threshold, inside[tested]
    found, accused = int((here & ins).sum()), int((here & ~ins).sum())
    n_in, n_out = int(ins.sum()), int((~ins).sum())
    found_low, accused_high = (
        float(part[0]) for part in _bounds(np.array([found]), n_in, np.array([accused]), n_out, level)
    )
    best_low, best_high = (float(part[0]) for part in _bounds(np.array([n_in]), n_in, np.array([0]), n_out, level))
    most = claimed.most_found(accused_high)
    return CanaryTest(
        found=found,
        inside=n_in,
        accused=accused,
        outside=n_out,
        found_low=found_low,
        accused_high=accused_high,
        most_found=most,
        refuted=found_low > most,
        shift_low=_shift(found_low, accused_high),
        could_refute=best_low > claimed.most_found(best_high),
    )


def _bounds(
    found: NDArray[np.int64], inside: int, accused: NDArray[np.int64], outside: int, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower bound of the share found and upper bound of the share accused; both hold at the level (Bonferroni)."""
    tail = (1 - level) / 2
    low = np.where(found > 0, stats.beta.ppf(tail, np.maximum(found, 1), inside - found + 1), 0.0)
    high = np.where(accused < outside, stats.beta.isf(tail, accused + 1, np.maximum(outside - accused, 1)), 1.0)
    return low, high


def _shift(found_low: float, accused_high: float) -> float:
    shift = stats.norm.ppf(found_low) - stats.norm.ppf(accused_high)
    return float(np.clip(shift, 0.0, _LARGEST_SHIFT))


def _best_threshold(scores: NDArray[np.float64], inside: NDArray[np.bool_], level: float) -> float:
    """That with the largest lower bound of the Gaussian shift."""
    order = np.argsort(-scores, kind="stable")
    found, accused = np.cumsum(inside[order]), np.cumsum(~inside[order])
    last = np.append(np.diff(scores[order]) < 0, True)  # equal scores are on one side
    low, high = _bounds(found[last], int(inside.sum()), accused[last], int((~inside).sum()), level)
    shifts = stats.norm.ppf(low) - stats.norm.ppf(high)
    ranked = np.append(scores[order][last], -np.inf)
    place = int(np.argmax(shifts))
    between = ranked[place : place + 2]
    return float(between.mean() if np.isfinite(between).all() else between[0])
