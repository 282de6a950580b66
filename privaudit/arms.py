"""The arms: the same attack is run against the candidate, against the originals, and against strangers' images.

An attack on what one engine leaves behind finds nothing in originals: its arms are called `positive` (the engine run on
members, and the truth handed to the attacker) and `negative` (the engine run on images that nobody used).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.attack import Attack, EngineBound
from privaudit.images import Images

Arm = Literal["release", "raw", "fresh", "positive", "negative"]

ARMS: tuple[Arm, Arm, Arm] = ("release", "raw", "fresh")
ENGINE_ARMS: tuple[Arm, Arm, Arm] = ("release", "positive", "negative")
"""The same places for attacks that are bound to an engine: the question, what must be found, what must not."""


ALL_ARMS: tuple[Arm, ...] = (*ARMS, *ENGINE_ARMS[1:])
"""In the order in which they are shown."""


def arms_of(attack: Attack) -> tuple[Arm, Arm, Arm]:
    """The arms of this attack: the question, what must be found, what must not."""
    return ENGINE_ARMS if isinstance(attack, EngineBound) else ARMS


def in_order(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Names of arms in the order in which they are shown."""
    return tuple(sorted(arms, key=ALL_ARMS.index))


def class_counts(images: Images) -> dict[int, int]:
    """Images per label."""
    labels, counts = np.unique(images.labels, return_counts=True)
    return {int(label): int(count) for label, count in zip(labels, counts, strict=True)}


def like(pool: Images, shape: dict[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of a pool, as many as the candidate has and with its class counts, as far as the pool reaches.

    A pool smaller than the candidate gives the same proportions; a class that the pool lacks stays short.
    """
    wanted = sum(shape.values())
    scale = min(1.0, len(pool) / wanted) if wanted else 0.0
    chosen = []
    for label, count in shape.items():
        rows = rng.permutation(np.flatnonzero(pool.labels == label))
        chosen.append(rows[: max(1, int(scale * count))])
    rows = np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)
    return rng.permutation(rows).astype(np.int64)
