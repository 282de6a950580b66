"""True matches beside phantom matches: of the records that a release matches, how many were really used to make it?

A match of a released image with a private one (by any rule) is a phantom where that image was never used: chance, or
what the population looks like. Matches that concentrate among the records that were used tell of learning. Source:
"Phantoms and Disclosures" (Amin et al. 2026, arXiv 2606.16952). Valid only where chance decided which records were
used.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from privaudit.errors import InputError
from privaudit.statistics.exposure import clopper_pearson_low


def zero_learning_p(matched: int, true: int, used: int, unused: int) -> float:
    """Probability that at least `true` of `matched` records are among the `used` ones if the release learned nothing.

    Exact: hypergeometric over `used` + `unused` records. Raises InputError for counts that cannot be.
    """
    most, least = min(matched, used), max(0, matched - unused)
    if used < 0 or unused < 0 or not 0 <= matched <= used + unused or not least <= true <= most:
        raise InputError(
            f"{true} true matches of {matched} cannot be with {used} records used and {unused} not; "
            f"allowed: {least} to {most}."
        )
    return 1.0 if true == least else float(stats.hypergeom.sf(true - 1, used + unused, used, matched))


def largest_true_rate(epsilon: float, prior: float) -> float:
    """Largest probability that a matched record was used, for a release that is (epsilon, 0)-DP.

    prior: probability that a record is used, strictly between 0 and 1, drawn for each on its own. At 1/2 it is the
    bound of one guess in a one-run audit.
    """
    _check(prior)
    return 1.0 / (1.0 + math.exp(-epsilon) * (1 - prior) / prior)


def claim_p(matched: int, true: int, prior: float, epsilon: float) -> float:
    """The largest probability, under an (epsilon, 0) claim, of at least `true` true matches of `matched`."""
    _check_counts(matched, true)
    return float(stats.binom.sf(true - 1, matched, largest_true_rate(epsilon, prior)))


def matched_epsilon(matched: int, true: int, prior: float, level: float = 0.95) -> float:
    """Largest epsilon of a pure claim that the matches refute at this level; 0 where they refute none.

    The Clopper-Pearson lower bound of the rate of true matches, seen from the prior.
    """
    _check(prior)
    _check_counts(matched, true)
    if true == 0:
        return 0.0
    low = float(clopper_pearson_low(np.array([true]), matched, level)[0])
    if low <= prior:
        return 0.0
    return math.log(low / (1 - low)) - math.log(prior / (1 - prior))


def _check(prior: float) -> None:
    if not 0 < prior < 1:
        raise InputError(f"The share of records that were used must lie between 0 and 1; found {prior:g}.")


def _check_counts(matched: int, true: int) -> None:
    if not 0 <= true <= matched:
        raise InputError(f"{true} true matches of {matched} cannot be; allowed: 0 to {matched}.")
