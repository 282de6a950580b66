"""From the scores of canaries to lower bounds on epsilon, by guesses whose number is fixed before scoring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.canaries import Canaries
from privaudit.record import Estimate
from privaudit.release import PrivacyClaim
from privaudit.statistics.epsilon import one_run_epsilon, one_run_gaussian_epsilon
from privaudit.statistics.exposure import auc_estimate
from privaudit.statistics.units import ranked_last

ALL_KINDS = "all kinds"
LEVEL = 0.95
GUESSED = 0.25
"""Share of the canaries of a kind that is guessed to be in (those ranked highest), and to be out (the lowest)."""

GAUSSIAN = (
    "'if Gaussian' is no bound unless the engine keeps the trade-off curve of a Gaussian mechanism (noisy sums; DP-SGD "
    "approximately)."
)

Answer = Literal["contradicted", "not contradicted", "not comparable"]


@dataclass(frozen=True)
class Epsilon:
    """What guesses show at one level. lower: the bound. largest: the bound had all of them been right.

    if_gaussian: the bound for an engine that is a Gaussian mechanism; None where delta is 0, which none can keep.
    """

    level: float
    lower: float
    if_gaussian: float | None
    largest: float


@dataclass(frozen=True)
class Bound:
    """One attack on the canaries of one kind, or of all kinds.

    auc: None where all of them were in, or all out, and for all kinds, which are not compared.
    alone: this row by itself, at 95 %. together: at the level at which the bounds of all rows hold together with 95 %.
    """

    attack: str
    kind: str
    canaries: int
    inside: int
    guesses: int
    correct: int
    auc: Estimate | None
    alone: Epsilon
    together: Epsilon


@dataclass(frozen=True)
class ClaimAnswer:
    """Whether the bounds contradict a claim, and the sentence that says so."""

    answer: Answer
    sentence: str


def groups(kinds: Sequence[str]) -> tuple[str, ...]:
    """The rows of one attack: all kinds together, and each by itself where there are several."""
    return (ALL_KINDS, *kinds) if len(kinds) > 1 else tuple(kinds)


def corrected_level(rows: int) -> float:
    """The level of each of so many rows at which all hold together with 95 % (Bonferroni)."""
    return 1 - (1 - LEVEL) / rows


def guesses_a_side(canaries: int) -> int:
    """How many of so many canaries of a kind are guessed to be in, and how many to be out: a quarter, rounded."""
    return int(GUESSED * canaries + 0.5)


def reach(counts: Mapping[str, int], attacks: int, delta: float) -> float:
    """The largest epsilon that could be shown for all rows together, if every guess were right.

    counts: canaries by kind. Known before anything is run.
    """
    guesses = {kind: 2 * guesses_a_side(count) for kind, count in counts.items()}
    level = corrected_level(attacks * len(groups(tuple(counts))))
    sizes = [(sum(counts.values()), sum(guesses.values())), *((counts[kind], guesses[kind]) for kind in counts)]
    return max(epsilon(count, made, made, delta, level).largest for count, made in sizes)


def guessed(scores: NDArray[np.float64], canaries: Canaries) -> NDArray[np.int8]:
    """Which canaries are guessed to be in (1), to be out (-1), or not guessed (0): int8 [m].

    How many is fixed by the number of canaries of each kind alone. Kinds are not compared with each other: each has
    its own highest and lowest scores. Equal scores rank in the order of `ties`, which knows nothing of the coins.
    """
    found = np.zeros(len(canaries), dtype=np.int8)
    straight = ranked_last(scores)
    for kind in np.unique(canaries.kinds):
        rows = np.flatnonzero(canaries.of_kind(str(kind)))
        rows = rows[np.lexsort((canaries.ties[rows], -straight[rows]))]
        count = guesses_a_side(len(rows))
        found[rows[:count]] = 1
        found[rows[len(rows) - count :]] = -1
    return found


@lru_cache(maxsize=1024)
def epsilon(records: int, guesses: int, correct: int, delta: float, level: float) -> Epsilon:
    """The bounds of `correct` out of `guesses` about so many canaries, by the two theorems of `statistics.epsilon`."""
    return Epsilon(
        level,
        one_run_epsilon(records, guesses, correct, delta, level),
        one_run_gaussian_epsilon(records, guesses, correct, delta, level) if delta > 0 else None,
        one_run_epsilon(records, guesses, guesses, delta, level),
    )


def bounds(
    scores: Mapping[str, NDArray[np.float64]], canaries: Canaries, kinds: Sequence[str], delta: float, rows: int
) -> list[Bound]:
    """One row for every attack and group of canaries. scores: float64 [m] by attack.

    rows: how many rows were declared before scoring; those of attacks that could not be run count too.
    """
    found = []
    for attack, values in scores.items():
        guess, straight = guessed(values, canaries), ranked_last(values)
        for kind in groups(kinds):
            mine = np.ones(len(canaries), dtype=bool) if kind == ALL_KINDS else canaries.of_kind(kind)
            inside, made = canaries.inside & mine, (guess != 0) & mine
            outside = ~canaries.inside & mine
            counts = int(mine.sum()), int(made.sum()), int(np.sum((guess[made] == 1) == canaries.inside[made]))
            found.append(
                Bound(
                    attack,
                    kind,
                    counts[0],
                    int(inside.sum()),
                    counts[1],
                    counts[2],
                    auc_estimate(straight[inside], straight[outside], "image")
                    if kind != ALL_KINDS and inside.any() and outside.any()
                    else None,
                    epsilon(*counts, delta, LEVEL),
                    epsilon(*counts, delta, corrected_level(rows)),
                )
            )
    return found


def headline(found: Iterable[Bound]) -> Bound:
    """The row with the largest bound of those that hold together; of equal ones the one that could have shown most."""
    return max(found, key=lambda bound: (bound.together.lower, bound.together.largest))


def against_claim(claim: PrivacyClaim, found: Sequence[Bound]) -> ClaimAnswer:
    """Whether a claim of differential privacy is contradicted, at 95 % for all rows together, with the claim's delta.

    A canary is one image, fed or not: claims on persons, or on images that are replaced, cannot be compared.
    """
    said = f"The release claims epsilon {claim.epsilon:g} with delta {claim.delta:g}"
    if not (0 <= claim.epsilon < math.inf and 0 <= claim.delta < 1):
        return ClaimAnswer("not comparable", f"{said}, which are no numbers that can be kept.")
    if claim.unit != "image" or claim.adjacency != "add/remove":
        return ClaimAnswer(
            "not comparable",
            f"{said}, per {claim.unit or 'unit that is not named'} and for units that are "
            f"'{claim.adjacency or 'not stated'}'. The bounds are on single images that are added or removed, so they "
            "cannot be compared with it.",
        )
    with_its_delta = [
        (one_run_epsilon(row.canaries, row.guesses, row.correct, claim.delta, row.together.level), row) for row in found
    ]
    largest = max(
        one_run_epsilon(row.canaries, row.guesses, row.guesses, claim.delta, row.together.level) for row in found
    )
    lower, row = max(with_its_delta, key=lambda one: one[0])
    if lower > claim.epsilon:
        return ClaimAnswer(
            "contradicted",
            f"{said}. This is contradicted: with that delta epsilon is at least {lower:.2f} ({row.attack}, "
            f"{row.kind}), at 95 % for all rows together.",
        )
    reach = (
        f"These guesses could have shown {largest:.2f} at most, so they could not have contradicted it."
        if largest <= claim.epsilon
        else f"Guesses that were all right would have: they show {largest:.2f}."
    )
    return ClaimAnswer("not contradicted", f"{said}. The bounds do not contradict it, which is no proof of it. {reach}")
