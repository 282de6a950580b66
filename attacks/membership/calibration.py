"""From confidences of the attacker's networks to one score per suspect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from privaudit.attacks.membership import scores
from privaudit.attacks.membership.scores import Floats, Shadows

Score = Literal["student-t", "lira", "lira-fixed", "rmia", "loss", "difference"]
"""Scores of confidences. All but `loss` compare with networks that were not trained on the suspect."""

_AGAINST_SHADOWS: Mapping[str, Callable[[Floats, Shadows], Floats]] = {
    "student-t": scores.student_t_offline,
    "lira": scores.lira_offline,
    "lira-fixed": lambda target, shadows: scores.lira_offline(target, shadows, pooled=True),
    "difference": lambda target, shadows: target - shadows.scores.mean(axis=1),
}


def outside(references: Floats) -> Shadows:
    """Networks that were trained on none of the suspects, as shadows."""
    return Shadows(references, np.zeros(references.shape, dtype=bool))


def on_the_scale_of(targets: Floats, references: Floats) -> Floats:
    """The references' confidences moved along the line on which the targets' mean lies best over them, [N, networks].

    Networks trained on fewer or other images are less sure of everything, and more so of some images than of others; a
    calibration that takes both for one scale would find the sure ones. The line is fitted to all suspects alike, so
    that it knows nothing of who is a member; each image's spread over the references stays as it is.
    """
    mean = references.mean(axis=1)
    around = mean - mean.mean()
    total = float(around @ around)
    slope = float(around @ targets.mean(axis=1)) / total if total > 0 else 0.0
    fitted = targets.mean() + slope * around
    return np.asarray(references + (fitted - mean)[:, None])


def combined(score: Score, targets: Floats, references: Floats) -> Floats:
    """The mean over the targets of the score of each suspect, [N].

    targets, references: logit confidences, [N, networks]; no reference was trained on a suspect.
    """
    if score == "loss":
        return np.asarray(scores.loss(targets).mean(axis=1))
    if score == "rmia":
        # The suspects are the population, too: with one target, any population ranks them alike.
        marginal = scores.marginal_offline(outside(references))
        found = [scores.rmia(target, marginal, target, marginal) for target in targets.T]
    else:
        shadows = outside(on_the_scale_of(targets, references))
        found = [_AGAINST_SHADOWS[score](target, shadows) for target in targets.T]
    return np.asarray(np.mean(found, axis=0))
