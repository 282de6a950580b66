"""Weighted means of members, with the mixture of their labels as soft labels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Context
from privaudit.errors import InputError
from privaudit.filters import rounded
from privaudit.from_members import FromMembers
from privaudit.images import Images
from privaudit.release import Release
from privaudit.synthesizer import Shard

Floats = NDArray[np.float64]


class Mixture(FromMembers):
    """Each image is a weighted mean of its target and other members of any class; the target weighs most."""

    def shards(self, members: Images) -> Sequence[Shard]:
        """Parts of one class each. Raises InputError where there are too few members to mix."""
        if len(members) < self.parts:
            raise InputError(
                f"{self.name} mixes {self.parts} different members, and there are {len(members)}. Give more members."
            )
        return super().shards(members)

    @property
    @abstractmethod
    def parts(self) -> int:
        """Members in an image."""

    @abstractmethod
    def weights(self, count: int, rng: np.random.Generator) -> Floats:
        """Of the members in each of so many images, [count, parts], with sum 1, the largest first."""

    def mixed(
        self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], Floats]:
        """Members in each image, [N, parts], no member twice, the target first; and their weights."""
        others = np.stack([rng.choice(len(members) - 1, self.parts - 1, replace=False) for _ in rows])
        others += others >= rows[:, None]
        return np.concatenate([rows[:, None], others], axis=1), self.weights(len(rows), rng)

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The weighted means, as `encoded` leaves them."""
        sources, weights = self.mixed(rows, members, rng)
        found = np.zeros((len(rows), *members.size), dtype=np.float32)
        for place in range(self.parts):
            found += weights[:, place, None, None, None].astype(np.float32) * members.pixels[sources[:, place]]
        return rounded(self.encoded(found, rng))

    def encoded(self, values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """What is published of the means (grey values)."""
        return values

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order, and for each image the weights of the classes in it."""
        release = super().finish(parts, members, context)
        classes, soft = int(members.labels.max()) + 1, []
        for shard in self.shards(members):
            rows = self.targets(shard, members, context.seed)
            sources, weights = self.mixed(rows, members, self.generator(shard, context.seed))
            soft.append(np.einsum("np,npc->nc", weights, np.eye(classes)[members.labels[sources]]))
        return Release(
            release.images, soft_labels=np.concatenate(soft).astype(np.float32), provenance=release.provenance
        )


class Mixup(Mixture):
    """Weighted means of two members of any class (Zhang et al. 2018, arXiv 1710.09412)."""

    name: ClassVar[str] = "mixup"
    version: ClassVar[int] = 1

    alpha: float = Field(1.0, gt=0, description="weights are drawn from Beta(alpha, alpha); 1: evenly")

    @property
    def parts(self) -> int:
        """Two."""
        return 2

    def weights(self, count: int, rng: np.random.Generator) -> Floats:
        """Larger and smaller part of a beta variable."""
        first = rng.beta(self.alpha, self.alpha, count)
        largest = np.maximum(first, 1 - first)
        return np.stack([largest, 1 - largest], axis=1)


class InstaHide(Mixture):
    """Weighted means of members, the signs of whose pixels are flipped by coins (Huang et al. 2020, arXiv 2010.02772).

    The kind that mixes private images alone ("inside-dataset"). It was broken by Carlini et al. 2021, arXiv
    2011.05315: it is here as a comparison, and protects nobody.
    """

    name: ClassVar[str] = "instahide"
    version: ClassVar[int] = 1

    mixed_images: int = Field(4, ge=2, description="members in each image")
    largest_weight: float = Field(0.65, gt=0, le=1, description="no member weighs more")

    @property
    def parts(self) -> int:
        """So many members are mixed."""
        return self.mixed_images

    def shards(self, members: Images) -> Sequence[Shard]:
        """Parts of one class each. Raises InputError where no weights keep the limit."""
        if self.mixed_images * self.largest_weight < 1.001:
            raise InputError(
                f"With {self.mixed_images} members in an image one weighs at least {1 / self.mixed_images:.2f}; "
                f"largest_weight is {self.largest_weight:g}. Choose a larger one, or more mixed_images."
            )
        return super().shards(members)

    def weights(self, count: int, rng: np.random.Generator) -> Floats:
        """Weights drawn evenly from those with sum 1 of which none is above the limit, the largest first."""
        found = np.empty((0, self.parts))
        while len(found) < count:
            drawn = rng.dirichlet(np.ones(self.parts), 4 * count)
            found = np.concatenate([found, drawn[drawn.max(axis=1) <= self.largest_weight]])
        return np.asarray(np.sort(found[:count], axis=1)[:, ::-1])

    def encoded(self, values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Around mid-grey, with a random sign at each pixel and channel."""
        signs = rng.choice(np.array([-1, 1], dtype=np.float32), values.shape)
        return np.asarray(127.5 + signs * (values - 127.5))
