"""A small engine for tests, and how it is installed for this process and for those that it starts."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from installed_examples import install_engine
from pydantic import Field

from privaudit.attack import Context, Settings
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.release import PrivacyClaim, Release
from privaudit.store import Store
from privaudit.synthesis import synthesize
from privaudit.synthesizer import Shard, Synthesizer


class Toy(Settings):
    """Noise around the mean image of each class; one shard per class."""

    name: ClassVar[str] = "toy"
    version: ClassVar[int] = 1

    each: int = Field(4, ge=1, description="images per class")
    seconds: float = Field(0.0, ge=0, description="how long a shard takes")
    log: str = Field("", description="file to which the names of the shards are written as they are made")
    broken: str = Field("", description="file; while it exists, the last shard raises what is written in it")
    shape: str = Field("", description="what is wrong with the plan or the images: few, twins, none, teacher, large")
    rich: bool = Field(False, description="release soft labels and a claim too")

    def shards(self, members: Images) -> Sequence[Shard]:
        labels = [] if self.shape == "none" else np.unique(members.labels).tolist()
        return [
            Shard("class" if self.shape == "twins" else f"class {label}", self.each, {"label": label})
            for label in labels
        ]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        label = shard.arguments["label"]
        if self.broken and label == members.labels.max() and Path(self.broken).exists():
            kind, _, text = Path(self.broken).read_text().partition(" ")
            raise InputError(text) if kind == "input" else RuntimeError(text)
        time.sleep(self.seconds)
        mean = members.pixels[members.labels == label].mean(axis=0)
        count = self.each - (self.shape == "few")
        noisy = mean + context.generator.normal(0, 30, (count, *members.size))
        pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        if self.shape == "large":
            pixels = pixels.repeat(2, 1).repeat(2, 2)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{shard.name}\n")
        return Images(pixels, np.full(count, label, dtype=np.int64))

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        images = concatenate(list(parts))
        if self.shape == "teacher":
            return Release(images, statistics={"mean": np.zeros(3)})
        if not self.rich:
            return Release(images, provenance={"engine": self.name})
        claim = PrivacyClaim(
            epsilon=8.0,
            delta=1e-5,
            unit="image",
            adjacency="add/remove",
            mechanism={"sigma": 1.5},
            accountant="by hand",
            trust_model="none",
        )
        soft = np.eye(int(members.labels.max()) + 1, dtype=np.float32)[images.labels]
        return Release(images, soft_labels=soft, claim=claim, provenance={"engine": self.name, "steps": 3})


def install(folder: Path) -> str:
    """Make the engine an installed one; returns the PYTHONPATH that finds it."""
    return install_engine(folder, "toy", f"{__name__}:Toy")


def made(engine: Synthesizer, members: Images, folder: Path, seed: int = 5, **others: Any) -> Release:
    """A release by this engine, made in this process, in a store of this folder."""
    given: dict[str, Any] = {"seed": seed, "effort": "quick", "device": "cpu", "workers": 0}
    return synthesize(engine, members, Store(folder), announce=lambda *said: None, **{**given, **others})
