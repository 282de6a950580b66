"""Accuracies of students on both sides and their ratio, with 95 % intervals.

Two things vary: the test images, which all students share, and the students (initial weights, drawn members). With
c[s, i] = 1 where student s is right about test image i, the variance of a mean over S students and n images is

    var_s(mean over i) / S  +  var_i(mean over s) / n

The second part is not divided by S, for more students do not make more test images. What students and images do
together is counted in both parts, which errs on the wide side. The ratio is taken on a log scale, and its image part
from the difference of both sides on the same image. With persons, images are replaced by persons.

The parts have few degrees of freedom (2 with 3 students) and many: the half-width is that of Cochran and Cox,
sqrt(V) times the mean of the two t quantiles, weighted with the parts of V (Experimental Designs, 1957, section
4.14). The degrees of freedom of the students' part of the ratio are Satterthwaite's (doi 10.2307/3002019).
Simulated coverage of the ratio's interval: .93 to .99 (tests/utility/test_utility_coverage.py); Satterthwaite's
approximation for the sum of all parts falls to .92.

Four more images, one for each outcome on the two sides, are put into the intervals (not the estimates), so that none
shrinks to a point where all students agree (Agresti and Coull 1998, doi 10.1080/00031305.1998.10480550; Agresti and
Min 2005, doi 10.1002/sim.1781). With persons, each of the four weighs as many images as make one independent one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.utility.record import Measured

Correct = NDArray[np.bool_]
"""[students, test images]: where a student is right."""

_Floats = NDArray[np.float64]
_UPPER = 0.975
_OUTCOMES = np.array([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
"""The four images that are added: right or wrong on the first side, on the second."""


@dataclass(frozen=True)
class Accuracies:
    """Accuracies and their ratio first / second; None where the second is 0."""

    synthetic: Measured
    real: Measured
    ratio: Measured | None


@dataclass(frozen=True, eq=False)
class _Side:
    """The students of one side. accuracy: their mean. students: its variance by students.

    deviations: [units], what each unit adds to the accuracy beyond its share.
    """

    accuracy: float
    students: float
    count: int
    deviations: _Floats


def accuracies(synthetic: Correct, real: Correct, units: NDArray[np.generic] | None = None) -> Accuracies:
    """Mean accuracies of the students and the ratio, with intervals (see the module for the method).

    synthetic, real: bool [students, n], at least two students each, on the same n test images in the same order.
    units: [n], the person that each image shows; None: every image is its own unit.
    The intervals hold for this release and these members, over test images (or persons) and students alike.
    Raises InputError for other shapes, and for fewer than two units.
    """
    _check(synthetic, real, units)
    place = np.arange(synthetic.shape[1]) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(place).astype(np.float64)
    n, means = synthetic.shape[1], (float(synthetic.mean()), float(real.mean()))
    excess = [correct.mean(0) - mean for correct, mean in zip((synthetic, real), means, strict=True)]
    totals = [_by_unit(correct, place) for correct in (synthetic, real)]
    drawn = "test images" if units is None else f"{len(sizes):,} persons in the test images"
    found = [
        _accuracy(mean, _side(total, sizes, _added_size(values, place, sizes), outcome), n, drawn)
        for mean, total, values, outcome in zip(means, totals, excess, _OUTCOMES, strict=True)
    ]
    if not means[1]:
        return Accuracies(found[0], found[1], None)
    apart = excess[0] / means[0] - excess[1] / means[1] if means[0] else excess[1]
    added = _added_size(apart, place, sizes)
    first, second = (_side(total, sizes, added, outcome) for total, outcome in zip(totals, _OUTCOMES, strict=True))
    return Accuracies(found[0], found[1], _ratio(means[0] / means[1], first, second, n, drawn))


def _by_unit(correct: Correct, place: NDArray[np.integer]) -> _Floats:
    """[students, units]: how many images of a unit each student is right about."""
    return np.stack([np.bincount(place, weights=row) for row in correct]).astype(np.float64)


def _added_size(values: _Floats, place: NDArray[np.integer], sizes: _Floats) -> float:
    """How many images each of the added units has: as many as make one independent image (the design effect of
    `values`, one per image), from 1 to those of a unit; all of these where nothing varies.
    """
    alone, whole = float(np.square(values).sum()), max(1.0, float(sizes.mean()))
    if not alone:
        return whole
    return min(whole, max(1.0, float(np.square(np.bincount(place, weights=values)).sum()) / alone))


def _method(*sides: _Side) -> str:
    students = " and ".join(str(side.count) for side in sides)
    return f"Cochran-Cox t interval ({students} students, 4 added images)"


def _check(synthetic: Correct, real: Correct, units: NDArray[np.generic] | None) -> None:
    shapes = synthetic.shape, real.shape
    if any(len(shape) != 2 or shape[0] < 2 for shape in shapes) or shapes[0][1] != shapes[1][1]:
        raise InputError(
            f"Accuracies need at least two students on each side and the same test images; found {shapes[0]} and "
            f"{shapes[1]}."
        )
    if units is not None and units.shape != shapes[0][1:]:
        raise InputError(f"There must be one unit per test image ({shapes[0][1]}); found {units.shape}.")
    count = shapes[0][1] if units is None else len(np.unique(units))
    if count < 2:
        raise InputError(f"An accuracy needs at least two test images (or persons); found {count}.")


def _side(right: _Floats, sizes: _Floats, added: float, outcome: _Floats) -> _Side:
    """right: [students, units], images of each unit that a student is right about. added: size of the added units."""
    right = np.concatenate([right, np.broadcast_to(outcome * added, (len(right), len(outcome)))], axis=1)
    sizes = np.append(sizes, np.full(len(outcome), added))
    each = right.sum(1) / sizes.sum()
    accuracy = float(each.mean())
    deviations = (right.mean(0) - accuracy * sizes) / sizes.sum()
    return _Side(accuracy, float(each.var(ddof=1)) / len(each), len(each), deviations)


def _half_width(students: float, freedom: float, deviations: _Floats) -> float:
    """Half-width from the students' variance with its degrees of freedom and from the units' deviations."""
    from scipy import stats

    units = len(deviations) - _OUTCOMES.shape[1]
    images = float(np.square(deviations).sum()) * units / (units - 1)
    quantiles = stats.t.ppf(_UPPER, [freedom, units - 1])
    return float((students * quantiles[0] + images * quantiles[1]) / np.sqrt(students + images))


def _accuracy(mean: float, side: _Side, n: int, drawn: str) -> Measured:
    reach = _half_width(side.students, side.count - 1, side.deviations)
    return Measured(
        estimate=mean,
        low=max(0.0, min(mean, side.accuracy - reach)),
        high=min(1.0, max(mean, side.accuracy + reach)),
        n=n,
        method=f"mean accuracy of {side.count} students; {_method(side)} over {drawn} and students",
    )


def _ratio(value: float, first: _Side, second: _Side, n: int, drawn: str) -> Measured:
    parts = np.array([side.students / side.accuracy**2 for side in (first, second)])
    squares = sum(part**2 / (side.count - 1) for part, side in zip(parts, (first, second), strict=True))
    reach = _half_width(
        float(parts.sum()),
        float(parts.sum() ** 2 / squares) if squares else 1.0,
        first.deviations / first.accuracy - second.deviations / second.accuracy,
    )
    centre = np.log(first.accuracy / second.accuracy)
    return Measured(
        estimate=value,
        low=min(value, float(np.exp(centre - reach))),
        high=max(value, float(np.exp(centre + reach))),
        n=n,
        method=f"ratio of mean accuracies; {_method(first, second)} over {drawn} (paired) and students, log scale",
    )
