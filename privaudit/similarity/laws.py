"""What a statistic of nearest-neighbour pairs looks like, and where the release stands in the law of the controls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.record import Estimate

Law = dict[str, float]

_TAIL = 0.025


def law(values: NDArray[np.float64], lower_is_closer: bool) -> Law:
    """n, median, p95 and max of the values; where lower is more alike also p5 and min, the side to look at."""
    found = {"n": len(values), "median": np.median(values), "p95": np.quantile(values, 0.95), "max": values.max()}
    if lower_is_closer:
        found |= {"p5": np.quantile(values, 0.05), "min": values.min()}
    return {name: float(value) for name, value in found.items()}


def place(
    release: NDArray[np.float64], controls: NDArray[np.float64], lower_is_closer: bool, n_members: int
) -> Estimate:
    """Share of control pairs that are more alike than the release's median pair; equal ones count half.

    Around .5: the release is as near to the members as real images that were never used; near 0: nearer than these.
    A few copies in a large release do not move a median: this is a place, no evidence of safety.
    The interval holds the uncertainty of both: order statistics for the median (its place among n values is
    binomial), Clopper-Pearson for the share. Raises InputError where either side has no pair.
    """
    from scipy import stats

    from privaudit.statistics.exposure import clopper_pearson_high, clopper_pearson_low

    if not (len(release) and len(controls)):
        raise InputError(f"A place needs pairs on both sides; found {len(release)} and {len(controls)}.")
    alike, others = (-side if lower_is_closer else side for side in (release, controls))
    centre = np.median(alike)
    rank = int(stats.binom.ppf(_TAIL, len(alike), 0.5))
    ranked = np.sort(alike)
    lowest, highest = (ranked[rank - 1], ranked[-rank]) if rank else (-np.inf, np.inf)
    above, level = np.array([(others > highest).sum(), (others >= lowest).sum()]), 1 - _TAIL
    return Estimate(
        estimate=float((others > centre).mean() + (others == centre).mean() / 2),
        low=float(clopper_pearson_low(above[:1], len(others), level)[0]),
        high=float(clopper_pearson_high(above[1:], len(others), level)[0]),
        n_members=n_members,
        n_controls=len(others),
        unit="image",
        method=(
            "share of control pairs more alike than the release's median pair, ties half; box of the median's order "
            "statistics and Clopper-Pearson, each bound at .975, pairs taken as independent"
        ),
        direction="descriptive",
    )
