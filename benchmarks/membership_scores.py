"""Membership scores on stored confidences: a simulation with a known answer, and re-computations written apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from scipy import special, stats

from privaudit import seeds
from privaudit.attacks.membership import scores
from privaudit.attacks.membership.scores import Floats, Shadows
from privaudit.statistics.moderated import prior_of


def online(shadows: Shadows) -> Mapping[str, Callable[[Floats], Floats]]:
    """The scores that are compared, of the confidences of a target."""
    marginal = scores.marginal(shadows)
    return {
        "LiRA": partial(scores.lira, shadows=shadows),
        "LiRA, one variance": partial(scores.lira, shadows=shadows, pooled=True),
        "RMIA": lambda target: scores.rmia(target, marginal, target, marginal),
        "student-t": partial(scores.student_t, shadows=shadows),
        "LiRA offline": partial(scores.lira_offline, shadows=shadows),
        "student-t offline": partial(scores.student_t_offline, shadows=shadows),
        "loss": scores.loss,
    }


def simulated(shadows: int, images: int, seed: int) -> dict[str, float]:
    """TPR at 0.1 % FPR of every score; normal confidences, whose spread differs from image to image."""
    rng = seeds.generator(seed, "simulated", shadows)
    spread = np.exp(rng.normal(0, 0.5, images))
    difficulty, gain = rng.normal(0, 2, images), 0.8 * spread * rng.gamma(1, 1, images)
    member = rng.random(images) < 0.5
    inside = rng.random((images, shadows)).argsort(axis=1) < shadows // 2
    stored = difficulty[:, None] + gain[:, None] * inside + spread[:, None] * rng.normal(size=inside.shape)
    target = difficulty + gain * member + spread * rng.normal(size=images)
    found = {}
    for name, score in online(Shadows(stored, inside)).items():
        values = score(target)
        strangers = np.sort(values[~member])[::-1]
        found[name] = float((values[member] > strangers[int(0.001 * len(strangers))]).mean())
    return found


def recomputed(name: str, target: Floats, shadows: Shadows, rows: Sequence[int]) -> list[float]:
    """The score of these images, by a loop over them; written apart from `scores`."""
    everything = list(zip(shadows.scores, shadows.inside, strict=True))
    within = [
        ((row[mask] - row[mask].mean()) ** 2).sum() + ((row[~mask] - row[~mask].mean()) ** 2).sum()
        for row, mask in everything
    ]
    freedom = shadows.scores.shape[1] - 2
    prior = prior_of(np.array(within) / freedom, freedom)
    pooled = [
        math.sqrt(
            sum(row[mask == side].var() * (mask == side).sum() for row, mask in everything)
            / sum((mask == side).sum() - 1 for _, mask in everything)
        )
        for side in (True, False)
    ]
    ratios = [
        special.expit(target[image]) / (0.5 * special.expit(row[mask]).mean() + 0.5 * special.expit(row[~mask]).mean())
        for image, (row, mask) in enumerate(everything)
    ]
    found = []
    for image in rows:
        row, mask = everything[image]
        sides = [row[mask], row[~mask]]
        if name == "RMIA":
            found.append(float(np.mean([ratios[image] >= other for other in ratios])))
            continue
        if name == "student-t":
            common = (
                prior.variance
                if math.isinf(prior.freedom)
                else (prior.freedom * prior.variance + within[image]) / (prior.freedom + freedom)
            )
            laws = [
                stats.t(prior.freedom + freedom, side.mean(), math.sqrt(common * (1 + 1 / len(side)))) for side in sides
            ]
        else:
            spreads = pooled if name == "LiRA, one variance" else [side.std(ddof=1) for side in sides]
            laws = [stats.norm(side.mean(), spread) for side, spread in zip(sides, spreads, strict=True)]
        found.append(float(laws[0].logpdf(target[image]) - laws[1].logpdf(target[image])))
    return found
