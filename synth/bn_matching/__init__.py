"""BatchNorm matching: noise is optimised until a network's BatchNorm statistics match the private data's.

A network with BatchNorm is trained on the members; the mean and variance of the input of each of its BatchNorm layers
are accumulated class by class; batches of noise, one class each, are optimised to have the same statistics and to be
classified as that class (Soufleri, Saha, Roy 2022, arXiv 2210.03205; the loss is that of Yin et al. 2020, arXiv
1912.08795; class-wise targets in single-class batches as by Xiao and He, NeurIPS 2024; the mix of class-wise and global
targets as in EDC, Shao et al., NeurIPS 2024). The start is always noise: real images as a start would be released in
part.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from privaudit.attack import Context, Effort, Settings
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Precision, Recipe, in_bfloat16, logits
from privaudit.learning.networks import Architecture
from privaudit.release import Release
from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.matching import Batch, Descent, Objective, Weights, descend
from privaudit.synth.bn_matching.memory import check_fits
from privaudit.synth.bn_matching.moments import EAGER, kernels
from privaudit.synth.bn_matching.statistics import LayerStatistics, collected
from privaudit.synthesizer import Shard

STEPS: dict[Effort, int] = {"quick": 250, "standard": 1000, "thorough": 4000}
_WORTH_COMPILING = 50_000
"""Image-steps of a shard from which compiling the kernels (some five seconds) pays."""


class BNMatching(Settings):
    """Noise is optimised until a network's BatchNorm statistics match the members', class by class.

    The defaults of the loss follow DeepInversion's for CIFAR-10.
    """

    name: ClassVar[str] = "bn-matching"
    version: ClassVar[int] = 1

    teacher: Recipe = Field(
        Recipe(network="resnet20", epochs=60, batch_size=64, crop=2),
        description="how the network is trained on the members",
    )
    statistics: Literal["class", "global", "mix"] = Field(
        "class", description="match each class's statistics, those of all members, or both (mix)"
    )
    mix_weight: float = Field(0.5, gt=0, lt=1, description="share of the global distance in the mix")
    images_per_class: int | None = Field(None, ge=1, description="images per class; default: as many as members")
    steps: int | None = Field(None, ge=1, description="Adam steps; default by effort: 250, 1,000, 4,000")
    batch_size: int = Field(100, ge=1, description="images optimised together; classes are cut into such batches")
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate, in standard deviations of the pixels")
    statistics_weight: float = Field(10.0, ge=0, description="weight of the statistics in the loss")
    first_layer: float = Field(1.0, gt=0, description="factor of the first BatchNorm layer's distance")
    label_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy under the teacher")
    smoothness: float = Field(2.5e-5, ge=0, description="weight of the total variation")
    roll: int | None = Field(None, ge=0, description="largest random shift of a step in pixels; default: side / 8")
    flip: bool = Field(False, description="mirror half of the steps: for data in which mirror images are usual")
    soft_labels: bool = Field(False, description="publish the teacher's probabilities with the images")
    temperature: float = Field(4.0, gt=0, description="divides the teacher's logits before soft labels are made")
    precision: Precision = Field("auto", description="auto: bfloat16 where a trial on this machine shows that it pays")

    def shards(self, members: Images) -> Sequence[Shard]:
        """Batches of one class each; of all classes in turn for global statistics and the mix."""
        wanted = {
            label: count if self.images_per_class is None else self.images_per_class
            for label, count in enumerate(np.bincount(members.labels).tolist())
            if count
        }
        if self.statistics == "class":
            return [
                _shard(f"class {label} part {part}", {str(label): size})
                for label, count in wanted.items()
                for part, size in enumerate(_parts(count, -(-count // self.batch_size)))
            ]
        if self.batch_size < len(wanted):
            raise InputError(
                f"With statistics '{self.statistics}' each batch holds every class: batch_size must be at least "
                f"{len(wanted)}, found {self.batch_size}."
            )
        if self.statistics == "global":
            batches = _mixed_runs(wanted, self.batch_size)
        else:
            batches = _equal_runs(wanted, self.batch_size)
        return [_shard(f"mixed part {number}", counts) for number, counts in enumerate(batches)]

    def work(self, shards: Iterable[Shard], members: Images, effort: Effort) -> tuple[str, float]:
        """Kind and units of the work, for forecasts: the pixels of all steps, the teacher's included."""
        pixels = float(np.prod(members.size))
        steps = self.steps or STEPS[effort]
        return self.teacher.network, pixels * (
            sum(shard.count for shard in shards) * steps + len(members) * self.teacher.epochs
        )

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Optimise one batch of noise."""
        height, width, channels = members.size
        classes = int(members.labels.max()) + 1
        architecture = Architecture(
            name=self.teacher.network, channels=channels, classes=classes, side=min(height, width)
        )
        dtype = (
            torch.bfloat16
            if in_bfloat16(self.precision, architecture, self.batch_size, context.device)
            else torch.float32
        )
        check_fits(architecture, height, width, dtype, shard.count, context.device)
        teacher = self._teacher(members, context)
        statistics = collected(teacher, members, classes, context.device)
        return self.match(teacher, statistics, shard, (height, width), dtype, context)

    def match(
        self,
        teacher: Network,
        statistics: LayerStatistics,
        shard: Shard,
        size: tuple[int, int],
        dtype: torch.dtype,
        context: Context,
    ) -> Images:
        """Optimise one batch of noise under a given teacher and statistics of the same teacher."""
        device, steps = context.device, self.steps or STEPS[context.effort]
        compiled = shard.count * steps >= _WORTH_COMPILING
        network = MatchedNetwork(teacher, device, dtype, kernels(device, dtype) if compiled else EAGER)
        batch = self._batch(shard, network, statistics, device)
        weights = Weights(self.statistics_weight, self.first_layer, self.label_weight, self.smoothness)
        roll = min(size) // 8 if self.roll is None else self.roll
        mean, std = (part.to(device)[:, None, None] for part in (teacher.mean, teacher.std))
        noise = context.generator.standard_normal((shard.count, len(mean), *size), dtype=np.float32)
        low, high = -mean / std, (1 - mean) / std
        start = torch.from_numpy(noise).to(device).clamp(low, high)
        found = descend(
            Objective(network, batch, weights),
            start,
            (low, high),
            Descent(steps, self.learning_rate, roll, self.flip),
            context.generator,
            context.progress,
        )
        pixels = ((found * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return Images(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), batch.labels.cpu().numpy())

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order; soft labels of the published pixels where they are wanted."""
        images = concatenate(list(parts))
        soft_labels = None
        if self.soft_labels:
            found = torch.from_numpy(logits(self._teacher(members, context), images, context.device))
            soft_labels = (found / self.temperature).softmax(1).numpy()
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json"),
            "steps": self.steps or STEPS[context.effort],
            "start": "noise",
            "teacher": "trained on the members alone",
        }
        return Release(images, soft_labels=soft_labels, provenance=provenance)

    def _teacher(self, members: Images, context: Context) -> Network:
        return context.train(self.teacher, members, context.seed)

    def _batch(self, shard: Shard, network: MatchedNetwork, statistics: LayerStatistics, device: str) -> Batch:
        counts = {int(label): int(count) for label, count in shard.arguments["labels"].items()}
        labels = torch.tensor([label for label, count in counts.items() for _ in range(count)], device=device)
        if self.statistics == "global":
            return Batch(labels, 1, None, statistics.pooled(network.layers).to(device), 1.0)
        of_groups = statistics.of_classes(network.layers, list(counts)).to(device)
        if self.statistics == "class":
            return Batch(labels, 1, of_groups, None, 0.0)
        return Batch(labels, len(counts), of_groups, of_groups.mixed(), self.mix_weight)


def _shard(name: str, counts: dict[str, int]) -> Shard:
    return Shard(name, sum(counts.values()), {"labels": {label: count for label, count in counts.items() if count}})


def _parts(count: int, number: int) -> list[int]:
    """A count cut into so many nearly equal parts."""
    edges = [round(place * count / number) for place in range(number + 1)]
    return [end - start for start, end in pairwise(edges)]


def _mixed_runs(wanted: dict[int, int], batch_size: int) -> list[dict[str, int]]:
    """Nearly equal batches, the classes in each as near to their shares of the whole as whole numbers allow."""
    labels = np.concatenate([np.full(count, label) for label, count in wanted.items()])
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in wanted.values()])
    dealt = labels[np.lexsort((labels, places))]
    ends = np.cumsum(_parts(len(dealt), -(-len(dealt) // batch_size)))
    return [
        {str(label): int((batch == label).sum()) for label in np.unique(batch)} for batch in np.split(dealt, ends[:-1])
    ]


def _equal_runs(wanted: dict[int, int], batch_size: int) -> list[dict[str, int]]:
    """Batches with as many images of every class that is not complete yet."""
    batches, left = [], dict(wanted)
    while left:
        run = min(*left.values(), max(1, batch_size // len(left)))
        batches.append({str(label): run for label in left})
        left = {label: count - run for label, count in left.items() if count > run}
    return batches
