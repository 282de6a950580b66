"""The end of the scale where nothing but labels is released."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from privaudit.attack import Context, Settings
from privaudit.images import Images, concatenate
from privaudit.release import Release
from privaudit.synthesizer import Shard


class Noise(Settings):
    """Pixels drawn evenly from 0 to 255. Of the members only the classes and their sizes show, and with
    `images_per_class` only the classes.
    """

    name: ClassVar[str] = "noise"
    version: ClassVar[int] = 1

    images_per_class: int | None = Field(None, ge=1, description="images per class; default: as many as members")

    def shards(self, members: Images) -> Sequence[Shard]:
        """One class each."""
        labels, counts = np.unique(members.labels, return_counts=True)
        return [
            Shard(f"class {label}", self.images_per_class or count, {"label": label})
            for label, count in zip(labels.tolist(), counts.tolist(), strict=True)
        ]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Noise of one class."""
        pixels = context.generator.integers(0, 256, (shard.count, *members.size), dtype=np.uint8)
        return Images(pixels, np.full(shard.count, int(shard.arguments["label"]), dtype=np.int64))

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order."""
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json"),
            "start": "noise",
        }
        return Release(concatenate(list(parts)), provenance=provenance)
