"""Students: small networks trained from scratch on the release, and in the same way on as many members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.arms import class_counts, like
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Network, Recipe, Training, logits
from privaudit.release import Release
from privaudit.utility.recipes import as_many_steps
from privaudit.views import soft_label_shape

_BLOCK_BYTES = 2**26
_SOFT_SUM = 0.01


@dataclass(frozen=True, eq=False)
class Plan:
    """The trainings to ask for: students of the release, as many of the members, then one on all members.

    n_real: images that a student of the members learns.
    """

    synthetic: tuple[Training, ...]
    real: tuple[Training, ...]
    witness: Training
    n_real: int

    @property
    def trainings(self) -> list[Training]:
        """All of them, in this order."""
        return [*self.synthetic, *self.real, self.witness]


def plan(release: Release, members: Images, classes: int, recipe: Recipe, count: int, seed: int) -> Plan:
    """The same trainings for the same arguments; `count` students on each side.

    The seed of a student decides its initial weights and, on the members' side, which members are drawn: as many as
    the release has of each class, or as many as there are, in the same proportions. Every network sees as many steps.
    Raises InputError where the members lack all classes of the release.
    """
    images = release.images
    soft = None if release.soft_labels is None else np.asarray(release.soft_labels, dtype=np.float32)
    shape = class_counts(images)
    synthetic, real = [], []
    for number in range(count):
        own = int(seeds.generator(seed, "utility", "student", number).integers(2**31))
        rows = np.sort(like(members, shape, seeds.generator(seed, "utility", "members", number)))
        if len(rows) < 2:
            raise InputError(
                f"Students of the members need at least two members of the release's classes; found {len(rows)}."
            )
        synthetic.append(Training(recipe, images, classes, own, soft, release.views))
        real.append(Training(as_many_steps(recipe, len(images), len(rows)), members.take(rows), classes, own))
    witness = Training(as_many_steps(recipe, len(images), len(members)), members, classes, synthetic[0].seed)
    return Plan(tuple(synthetic), tuple(real), witness, len(real[0].images))


def check_soft_labels(release: Release, classes: int) -> None:
    """Raise InputError unless the soft labels, where there are any, are probabilities of `soft_label_shape`."""
    soft = release.soft_labels
    if soft is None:
        return
    wanted = soft_label_shape(len(release.images), release.views, classes)
    if soft.shape != wanted:
        raise InputError(f"Soft labels must be {list(wanted)}; found {list(soft.shape)}.")
    if not np.isfinite(soft).all() or soft.min() < 0 or np.abs(soft.sum(-1, dtype=np.float64) - 1).max() > _SOFT_SUM:
        raise InputError("Soft labels must be probabilities: from 0, with a sum of 1 in every row.")


def by_block(
    images: Images, rows: NDArray[np.int64], function: Callable[[Images], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """What a function says about these rows, a block in memory at a time, joined."""
    return np.concatenate([function(block) for block in _blocks(images, rows)])


def _blocks(images: Images, rows: NDArray[np.int64]) -> Iterator[Images]:
    size = max(1, _BLOCK_BYTES // int(np.prod(images.size)))
    for start in range(0, len(rows), size):
        yield images.take(rows[start : start + size])


def correct(network: Network, test: Images, device: str) -> NDArray[np.bool_]:
    """Where the network is right, [n]."""
    found = by_block(test, np.arange(len(test)), lambda block: logits(network, block, device))
    right: NDArray[np.bool_] = found.argmax(1) == test.labels
    return right
