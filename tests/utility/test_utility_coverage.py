"""How often the intervals hold the truth: simulated students whose accuracies are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulated_students import students

from privaudit.utility.intervals import accuracies

LEAST = 0.93
DRAWS = 600


def coverage(
    ratio: float, images: int, count: int, spread: float, draws: int, persons: int | None = None
) -> dict[str, float]:
    rng = np.random.default_rng([int(10 * ratio), images, count, int(1000 * spread)])
    real = 0.9 if spread > 0.01 else 0.95
    truth = {"synthetic": ratio * real, "real": real, "ratio": ratio}
    units = None if persons is None else np.arange(images) % persons
    covered = dict.fromkeys(truth, 0)
    for _ in range(draws):
        found = accuracies(*students(rng, count, images, (ratio * real, real), spread, persons=persons), units)
        for name, value in truth.items():
            one = getattr(found, name)
            covered[name] += one.low <= value <= one.high
    return {name: total / draws for name, total in covered.items()}


def enough(share: float, draws: int) -> bool:
    """Whether so small a share is no accident where the true one is LEAST, in one of some 60 settings."""
    return bool(stats.binom.cdf(round(share * draws), draws, LEAST) > 1e-3)


def test_the_intervals_cover_in_a_typical_setting() -> None:
    found = coverage(0.7, 500, 3, 0.01, 300)
    assert all(enough(share, 300) for share in found.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("images", [300, 2000, 10_000])
@pytest.mark.parametrize("ratio", [0.3, 0.7, 1.0])
def test_the_intervals_cover(ratio: float, images: int, count: int) -> None:
    found = {spread: coverage(ratio, images, count, spread, DRAWS) for spread in (0.002, 0.01, 0.03)}
    assert all(enough(share, DRAWS) for each in found.values() for share in each.values()), found


@pytest.mark.slow
@pytest.mark.parametrize("persons", [20, 60])
@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_the_intervals_cover_where_persons_have_many_images(ratio: float, persons: int) -> None:
    found = coverage(ratio, 1200, 3, 0.01, DRAWS, persons=persons)
    assert all(enough(share, DRAWS) for share in found.values()), found
