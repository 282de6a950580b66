"""Membership scores of stored confidences: one target network against shadow networks. Arrays in, arrays out.

The confidence of a network in the label y of an image is the logit of its probability, log p_y - log(1 - p_y): close to
normal over networks, where the probability itself is not (Carlini et al. 2022, arXiv 2112.03570). A higher score says
more surely that the target was trained on the image. Scores are float64 [N]; NaN where an image has too few shadows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from privaudit.errors import InputError
from privaudit.statistics.moderated import prior_of

Floats = NDArray[np.float64]

_SMALLEST_VARIANCE = 1e-6
"""Variances below this share of their median are raised to it: a shadow that does not move proves no certainty."""


def logit_confidence(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> Floats:
    """log p_y - log(1 - p_y) of each image's label, [N], from logits [N, classes]: z_y - log sum_{j != y} exp z_j.

    Finite where the probability itself is rounded to 0 or 1. Raises InputError for labels without a logit, and for a
    single class, of which every network is sure.
    """
    count, classes = logits.shape
    if classes < 2:
        raise InputError("A confidence needs at least two classes; found one. Give images of a second class.")
    if count and (labels.min() < 0 or labels.max() >= classes):
        raise InputError(f"Labels must be 0 to {classes - 1}; found {labels.min()} to {labels.max()}.")
    values = np.asarray(logits, dtype=np.float64)
    mine = np.zeros(values.shape, dtype=bool)
    mine[np.arange(count), labels] = True
    return np.asarray(values[mine] - special.logsumexp(np.where(mine, -np.inf, values), axis=1))


def log_probability(confidence: Floats) -> Floats:
    """log p of a logit confidence."""
    return -np.logaddexp(0.0, -confidence)


@dataclass(frozen=True, eq=False)
class Shadows:
    """Confidences of shadow networks. scores: float64 [N, K]. inside: bool [N, K], trained on this image or not.

    Raises InputError where the two differ in shape.
    """

    scores: Floats
    inside: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.scores.ndim != 2 or self.scores.shape != self.inside.shape:
            raise InputError(
                f"Shadows need one in/out flag per score, [N, K]; found {self.scores.shape} and {self.inside.shape}."
            )

    def side(self, inside: bool) -> Side:
        """Count, mean and sum of squared deviations of the scores of one side, each [N]."""
        mask = self.inside == inside
        count = mask.sum(axis=1)
        mean = np.where(mask, self.scores, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan)
        squares = np.where(mask, self.scores - mean[:, None], 0.0) ** 2
        return Side(count.astype(np.int64), mean, squares.sum(axis=1))


@dataclass(frozen=True, eq=False)
class Side:
    """What the shadows of one side say, each [N]; the mean of no shadows is NaN."""

    count: NDArray[np.int64]
    mean: Floats
    squares: Floats

    def deviation(self, pooled: bool) -> Floats:
        """Standard deviation of each image's scores, or one for all images (pooled); NaN below two shadows."""
        freedom = np.maximum(self.count - 1, 0)
        if pooled:
            variance = self.squares[freedom > 0].sum() / max(1, int(freedom.sum()))
            return np.where(self.count > 0, np.sqrt(variance) if freedom.any() else np.nan, np.nan)
        return np.sqrt(_floored(np.where(freedom > 0, self.squares / np.maximum(freedom, 1), np.nan)))


def _floored(variances: Floats) -> Floats:
    known = np.isfinite(variances)
    floor = max(_SMALLEST_VARIANCE * float(np.median(variances[known])), 1e-24) if known.any() else 0.0
    return np.where(known, np.maximum(variances, floor), np.nan)


def loss(target: Floats) -> Floats:
    """Minus the target's loss on each image (Yeom et al. 2018): no shadows, no calibration."""
    return log_probability(target)


def lira(target: Floats, shadows: Shadows, pooled: bool = False) -> Floats:
    """Log ratio of two normal densities, fitted to the shadows in and out (Carlini et al. 2022, arXiv 2112.03570).

    pooled: one variance for all images ("fixed variance"), for few shadows.
    """
    inner, outer = shadows.side(True), shadows.side(False)
    with np.errstate(invalid="ignore"):
        return np.asarray(
            stats.norm.logpdf(target, inner.mean, inner.deviation(pooled))
            - stats.norm.logpdf(target, outer.mean, outer.deviation(pooled))
        )


def lira_offline(target: Floats, shadows: Shadows, pooled: bool = False) -> Floats:
    """Minus the log probability that a network trained without the image is as sure of it as the target.

    With a variance per image it ranks as scores that are calibrated per image, which have one law for all images that
    are no members (Jälkö et al. 2026, arXiv 2605.25819); the target must not be one of the shadows.
    """
    outer = shadows.side(False)
    return np.asarray(-stats.norm.logsf(target, outer.mean, outer.deviation(pooled)))


def student_t(target: Floats, shadows: Shadows) -> Floats:
    """Log ratio of two Student-t predictive densities with a moderated variance per image (BaVarIA, arXiv 2603.11799).

    The variance of an image, pooled within its two sides with nu degrees of freedom, is drawn towards what the
    variances of all images have in common, worth d0 degrees of freedom: no switch between one variance per image and
    one for all.
    """
    inner, outer = shadows.side(True), shadows.side(False)
    variance, freedom = _moderated(inner.squares + outer.squares, inner.count + outer.count - 2)
    variance[(inner.count == 0) | (outer.count == 0)] = np.nan
    densities = [
        stats.t.logpdf(target, freedom, side.mean, np.sqrt(variance * (1 + 1 / np.maximum(side.count, 1))))
        for side in (inner, outer)
    ]
    return np.asarray(densities[0] - densities[1])


def student_t_offline(target: Floats, shadows: Shadows) -> Floats:
    """Minus the log probability, under the Student-t predictive law of the shadows out, of being as sure as the target.

    It never rounds to one value for the surest, and ranks as the probability does.
    """
    outer = shadows.side(False)
    variance, freedom = _moderated(outer.squares, outer.count - 1)
    error = np.sqrt(variance * (1 + 1 / np.maximum(outer.count, 1)))
    return -_log_survival((target - outer.mean) / error, freedom)


def _moderated(squares: Floats, freedom: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Moderated variances and their degrees of freedom, each [N]; NaN without a degree of freedom of their own."""
    own = freedom > 0
    variances = _floored(np.where(own, squares / np.maximum(freedom, 1), np.nan))
    if not own.any():
        return variances, np.full(len(squares), np.nan)
    prior = prior_of(variances[own], freedom[own])
    if np.isinf(prior.freedom):
        return np.where(own, prior.variance, np.nan), np.where(own, np.inf, np.nan)
    total = prior.freedom + freedom
    return (prior.freedom * prior.variance + freedom * variances) / total, np.where(own, total, np.nan)


def _log_survival(values: Floats, freedom: Floats) -> Floats:
    """log P(T > t) of Student's t, also where the probability itself is rounded to 0."""
    values = np.clip(values, -1e100, 1e100)
    with np.errstate(divide="ignore"):
        tail = np.where(np.isinf(freedom), stats.norm.logsf(values), stats.t.logsf(values, freedom))
    # Far out, P(T > t) is the density times 1 / t + t / nu, up to a factor 1 + O(1 / t^2).
    far = np.where(values > 1, values, 1.0)
    return np.asarray(np.where(np.isneginf(tail), stats.t.logpdf(far, freedom) + np.log(1 / far + far / freedom), tail))


def marginal(shadows: Shadows) -> Floats:
    """log p(x) of RMIA online: the mean probability over the shadows in and those out, each side counted as half."""
    inner, outer = (_mean_probability(shadows, inside) for inside in (True, False))
    return np.log((inner + outer) / 2)


def marginal_offline(shadows: Shadows, slope: float = 0.3) -> Floats:
    """log p(x) of RMIA offline: shadows out alone, with the line ((1 + a) p_out + 1 - a) / 2 for those in.

    slope: a in [0, 1], between 'shadows in are sure' (0) and 'shadows in are as sure as those out' (1).
    """
    return np.log(((1 + slope) * _mean_probability(shadows, False) + 1 - slope) / 2)


def _mean_probability(shadows: Shadows, inside: bool) -> Floats:
    mask = shadows.inside == inside
    count = mask.sum(axis=1)
    total = np.where(mask, special.expit(shadows.scores), 0.0).sum(axis=1)
    return np.asarray(total / np.where(count > 0, count, np.nan))


def rmia(
    target: Floats, log_marginal: Floats, population: Floats, population_marginal: Floats, gamma: float = 1.0
) -> Floats:
    """Share of population images z that x beats: p(x | target) / p(x) at least gamma times p(z | target) / p(z).

    target, population: confidences of the target in x, [N], and in z, [M]. The marginals are those of `marginal` or
    `marginal_offline`, of x and of z alike: of z, too, only shadows that were not trained on it may be counted out.
    Source: Zarifzadeh, Liu, Shokri 2024, "Low-Cost High-Power Membership Inference Attacks". With one target it ranks
    as the ratio of x itself does, in steps of 1 / M.
    """
    ratio = log_probability(target) - log_marginal
    others = np.sort(log_probability(population) - population_marginal)
    if not len(others):
        raise InputError("RMIA compares with images of a population; found none.")
    beaten = np.searchsorted(others, ratio - np.log(gamma), side="right") / len(others)
    return np.where(np.isnan(ratio), np.nan, beaten)
