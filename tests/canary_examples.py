"""An engine that leaks all or nothing, and how it is installed for this process and for those that it starts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from audit_examples import random_images
from installed_examples import install_engine
from pydantic import Field

from privaudit.attack import Context, Settings
from privaudit.canaries import KINDS, Canaries
from privaudit.images import Images, concatenate
from privaudit.release import PrivacyClaim, Release
from privaudit.synthesizer import Shard


class Publisher(Settings):
    """Publishes what it is fed, or noise that has nothing to do with it."""

    name: ClassVar[str] = "publisher"
    version: ClassVar[int] = 1

    made: Literal["members", "noise"] = Field("members", description="what is published")
    claims: float = Field(0.0, ge=0, description="epsilon that is claimed; 0: no claim")
    unit: str = Field("image", description="unit of the claim")
    soft_labels: bool = Field(False, description="publish soft labels too")

    def shards(self, members: Images) -> Sequence[Shard]:
        return [Shard("all", len(members) if self.made == "members" else 40, {})]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        if self.made == "members":
            return members
        pixels = context.generator.integers(0, 256, (shard.count, *members.size), dtype=np.uint8)
        return Images(pixels, np.arange(shard.count, dtype=np.int64) % 2)

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        images = concatenate(list(parts))
        claim = PrivacyClaim(self.claims, 1e-5, self.unit, "add/remove", {"sigma": 1.0}, "by hand", "none")
        soft = np.eye(int(images.labels.max()) + 1, dtype=np.float32)[images.labels]
        return Release(images, soft_labels=soft if self.soft_labels else None, claim=claim if self.claims else None)


CLASSES = 3
MEMBERS = random_images(300, seed=0, classes=CLASSES)
KIND_NAMES = tuple(KINDS)
DELTA = 1e-5
RARE, OFTEN = 1e-6, 0.999


def install(folder: Path) -> str:
    """Make the engine an installed one; returns the PYTHONPATH that finds it."""
    return install_engine(folder, "publisher", f"{__name__}:Publisher")


def by_hand(inside: list[bool], ties: list[int], kinds: list[str] | None = None) -> Canaries:
    """Canaries whose coins and ties are given."""
    count = len(inside)
    images = random_images(count, seed=0)
    names = np.array(kinds or ["plain"] * count)
    return Canaries(np.arange(count), names, images, np.array(inside), np.array(ties))
