"""Engines whose images are made of members' pixels: the plan, class by class, and what they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit import seeds
from privaudit.attack import Context, Settings
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.release import Release
from privaudit.synthesizer import Shard

_IMAGES_PER_SHARD = 500


class FromMembers(Settings, ABC):
    """Base of engines that make each image of a member, its target, and of others; the label is the target's."""

    name: ClassVar[str]
    version: ClassVar[int]

    images_per_class: int | None = Field(
        None, ge=1, description="images per class, of members drawn at random; default: one of every member"
    )

    def shards(self, members: Images) -> Sequence[Shard]:
        """Parts of one class each. Raises InputError where a class has fewer members than images are wanted."""
        counts = {label: int((members.labels == label).sum()) for label in np.unique(members.labels).tolist()}
        few = {label: count for label, count in counts.items() if count < (self.images_per_class or 0)}
        if few:
            label, count = min(few.items(), key=lambda pair: pair[1])
            raise InputError(
                f"images_per_class is {self.images_per_class}, but class {label} has {count} members, and {self.name} "
                f"makes one image of a member at most. Choose {count} or fewer, or an engine that starts from noise."
            )
        return [
            Shard(
                f"class {label} part {start // _IMAGES_PER_SHARD}",
                min(_IMAGES_PER_SHARD, count - start),
                {"label": label, "start": start},
            )
            for label, count in ((label, self.images_per_class or count) for label, count in counts.items())
            for start in range(0, count, _IMAGES_PER_SHARD)
        ]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """The images of these targets."""
        rows = self.targets(shard, members, context.seed)
        return Images(self.pixels(rows, members, self.generator(shard, context.seed)), members.labels[rows])

    def targets(self, shard: Shard, members: Images, seed: int) -> NDArray[np.int64]:
        """Rows of the members that the images of a shard are made of, in random order, no member twice."""
        label, start = int(shard.arguments["label"]), int(shard.arguments["start"])
        rows = np.flatnonzero(members.labels == label)
        order = seeds.generator(seed, self.name, "targets", label).permutation(rows)
        return np.asarray(order[start : start + shard.count])

    def generator(self, shard: Shard, seed: int) -> np.random.Generator:
        """Of everything else that is drawn for a shard."""
        return seeds.generator(seed, self.name, "shard", shard.name)

    @abstractmethod
    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """uint8 [len(rows), H, W, C], made of these members."""

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order."""
        return Release(concatenate(list(parts)), provenance=self.provenance())

    def provenance(self) -> Mapping[str, Any]:
        """What made the release."""
        return {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json"),
            "start": "members",
        }
