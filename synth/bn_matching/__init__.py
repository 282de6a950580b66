"""BatchNorm matching: noise is optimised until a network's BatchNorm statistics match the private data's.

A network with BatchNorm is trained on the members; the mean and variance of the input of each of its BatchNorm layers
are accumulated class by class; batches of noise, one class each, are optimised to have the same statistics and to be
classified as that class (Soufleri, Saha, Roy 2022, arXiv 2210.03205; the loss is that of Yin et al. 2020, arXiv
1912.08795; class-wise targets in single-class batches as by Xiao and He, NeurIPS 2024; the mix of class-wise and global
targets and moving averages of the statistics as in EDC, Shao et al., NeurIPS 2024). Several teachers take turns (as in
G-VBSM, Shao et al., CVPR 2024, arXiv 2311.17950). The start is always noise: real images as a start would be released
in part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from privaudit import seeds
from privaudit.attack import Context, Effort, Settings
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Network, Precision, Recipe, Training, in_bfloat16, trained
from privaudit.learning.networks import Architecture, check_name
from privaudit.release import Release
from privaudit.synth.bn_matching.barycentres import barycentres
from privaudit.synth.bn_matching.batches import all_classes, single_class
from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.matching import Batch, Descent, Objective, Weights, descend
from privaudit.synth.bn_matching.memory import check_fits, check_soft_labels_fit
from privaudit.synth.bn_matching.moments import EAGER, kernels
from privaudit.synth.bn_matching.moves import Moves
from privaudit.synth.bn_matching.rival import RIVAL
from privaudit.synth.bn_matching.rival import rival as student_of
from privaudit.synth.bn_matching.several import mean_answers, of_standardised, restandardised
from privaudit.synth.bn_matching.statistics import LayerStatistics, collected
from privaudit.synthesizer import Shard
from privaudit.views import MOST_VIEWS, drawn

STEPS: dict[Effort, int] = {"quick": 250, "standard": 1000, "thorough": 4000}
_WORTH_COMPILING = 50_000
"""Image-steps of a shard from which compiling the kernels (some five seconds) pays."""


class BNMatching(Settings):
    """Noise is optimised until a network's BatchNorm statistics match the members', class by class.

    The defaults of the loss follow DeepInversion's for CIFAR-10.
    """

    name: ClassVar[str] = "bn-matching"
    version: ClassVar[int] = 2

    teacher: Recipe = Field(
        Recipe(network="resnet20", epochs=60, batch_size=64, crop=2),
        description="how the network is trained on the members",
    )
    more_teachers: tuple[str, ...] = Field(
        (), description="further networks, trained in the same way; they take turns with the first, a step each"
    )
    statistics: Literal["class", "global", "mix"] = Field(
        "class", description="match each class's statistics, those of all members, or both (mix)"
    )
    mix_weight: float = Field(0.5, gt=0, lt=1, description="share of the global distance in the mix")
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="weight of the steps before in the statistics of a batch; 0: those of the step alone",
    )
    images_per_class: int | None = Field(None, ge=1, description="images per class; default: as many as members")
    steps: int | None = Field(None, ge=1, description="Adam steps; default by effort: 250, 1,000, 4,000")
    batch_size: int = Field(100, ge=1, description="images optimised together; classes are cut into such batches")
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate, in standard deviations of the pixels")
    statistics_weight: float = Field(10.0, ge=0, description="weight of the statistics in the loss")
    first_layer: float = Field(1.0, gt=0, description="factor of the first BatchNorm layer's distance")
    label_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy under the teacher")
    smoothness: float = Field(2.5e-5, ge=0, description="weight of the total variation")
    features_weight: float = Field(
        0.0,
        ge=0,
        description="weight of the distance of each image's features, in the first teacher, to a point of its class's "
        "Wasserstein barycentre, a mean of five private images or more each: it gives more away",
    )
    competition: float = Field(
        0.0,
        ge=0,
        description="weight of how much a student of a draft agrees with the teacher; the draft takes a quarter of the "
        "steps",
    )
    crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="smallest share of the area that a step sees of an image, enlarged; for larger images 0.08",
    )
    crop_curriculum: bool = Field(True, description="that share falls from 1 to crop over the steps")
    roll: int | None = Field(None, ge=0, description="largest random shift of a step in pixels; default: side / 8")
    flip: bool = Field(False, description="mirror half of the steps: for data in which mirror images are usual")
    soft_labels: bool = Field(False, description="publish the teacher's probabilities with the images")
    views: int = Field(
        1,
        ge=1,
        le=MOST_VIEWS,
        description="soft labels of so many views of each image: the image as it is, then with a box of another image "
        "in it, moved, and with flip mirrored",
    )
    temperature: float = Field(4.0, gt=0, description="divides the teachers' logits before soft labels are made")
    precision: Precision = Field("auto", description="auto: bfloat16 where processor and network make it pay")

    def shards(self, members: Images) -> Sequence[Shard]:
        """Batches of one class each; of all classes in turn for global statistics and the mix."""
        for recipe in self._recipes():
            check_name(recipe.network)
        wanted = self._wanted(members)
        if self.soft_labels:
            check_soft_labels_fit(sum(wanted.values()), self.views, int(members.labels.max()) + 1)
        if self.competition and sum(wanted.values()) < 2:
            raise InputError("competition trains a student on a draft, which needs two images: set images_per_class.")
        if self.statistics == "class":
            return single_class(wanted, self.batch_size)
        if self.batch_size < len(wanted):
            raise InputError(
                f"With statistics '{self.statistics}' each batch holds every class: batch_size must be at least "
                f"{len(wanted)}, found {self.batch_size}."
            )
        return all_classes(wanted, self.batch_size, equally=self.statistics == "mix")

    def work(self, shards: Iterable[Shard], members: Images, effort: Effort) -> tuple[str, float]:
        """Kind and units of the work, for forecasts: the pixels of all steps, the teacher's included."""
        pixels, teachers = float(np.prod(members.size)), 1 + len(self.more_teachers)
        steps = self.steps or STEPS[effort]
        if self.competition:
            steps += _draft_steps(steps)
        looks = self.views * teachers / 3 if self.soft_labels else 0.0  # a look costs a third of a step
        return self.teacher.network, pixels * (
            sum(shard.count for shard in shards) * (steps + looks) + len(members) * self.teacher.epochs * teachers
        )

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Optimise one batch of noise."""
        height, width, channels = members.size
        classes, device = int(members.labels.max()) + 1, context.device
        kind = partial(Architecture, channels=channels, classes=classes, side=min(height, width))
        architectures = [kind(name=recipe.network) for recipe in self._recipes()]
        pays = [in_bfloat16(self.precision, one, self.batch_size, device) for one in architectures]
        dtype = torch.bfloat16 if all(pays) else torch.float32
        beside = kind(name=RIVAL) if self.competition else None
        for architecture in architectures:
            check_fits(architecture, height, width, dtype, shard.count, device, beside)
        teachers = self._teachers(members, context)
        measured = [collected(teacher, members, classes, device) for teacher in teachers]
        points = other = None
        if self.features_weight:
            points = barycentres(teachers[0], members, self._wanted(members), context.seed, device)
        if self.competition:
            steps = _draft_steps(self.steps or STEPS[context.effort])
            draft = self.model_copy(update={"competition": 0.0, "steps": steps})
            other = student_of(draft, self.precision, members, context)
        return self.match(teachers, measured, shard, (height, width), dtype, context, points=points, rival=other)

    def match(
        self,
        teachers: Sequence[Network],
        statistics: Sequence[LayerStatistics],
        shard: Shard,
        size: tuple[int, int],
        dtype: torch.dtype,
        context: Context,
        *,
        points: Mapping[int, NDArray[np.float32]] | None = None,
        rival: Network | None = None,
    ) -> Images:
        """Optimise one batch of noise under given teachers and statistics of each.

        points: by class, what the first teacher's last layer is to receive for its images. rival: see `competition`.
        """
        device, steps = context.device, self.steps or STEPS[context.effort]
        compiled = shard.count * steps >= _WORTH_COMPILING
        weights = Weights(
            *(self.statistics_weight, self.first_layer, self.label_weight, self.smoothness),
            *(self.features_weight, self.competition),
        )
        teachers = [teacher.to(device) for teacher in teachers]
        mean, std = (part[:, None, None] for part in (teachers[0].mean, teachers[0].std))
        if rival is not None:
            rival = rival.to(device).eval().requires_grad_(False)
        objectives = []
        for number, (teacher, measured) in enumerate(zip(teachers, statistics, strict=True)):
            network = MatchedNetwork(teacher, device, dtype, kernels(device, dtype) if compiled else EAGER)
            batch = self._batch(shard, network, measured, device, None if number else points)
            other = None if rival is None else of_standardised(rival, teacher)
            objectives.append(Objective(network, batch, weights, self.average, other))
        roll = min(size) // 8 if self.roll is None else self.roll
        noise = context.generator.standard_normal((shard.count, len(mean), *size), dtype=np.float32)
        low, high = -mean / std, (1 - mean) / std
        turns = cycle([restandardised(one, teachers[0], own) for one, own in zip(objectives, teachers, strict=True)])
        found = descend(
            lambda images: next(turns)(images),
            torch.from_numpy(noise).to(device).clamp(low, high),
            (low, high),
            Descent(steps, self.learning_rate, Moves(roll, self.flip, self.crop, self.crop_curriculum)),
            context.generator,
            context.progress,
        )
        pixels = ((found * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return Images(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), batch.labels.cpu().numpy())

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order; soft labels of the published pixels where they are wanted."""
        images = concatenate(list(parts))
        soft_labels = views = None
        if self.soft_labels:
            if self.views > 1:
                views = drawn(self.views, members.size[:2], self.flip, context.generator)
            teachers = self._teachers(members, context)
            soft_labels = mean_answers(teachers, images, views, self.temperature, context.device)
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json"),
            "steps": self.steps or STEPS[context.effort],
            "start": "noise",
            "teacher": "trained on the members alone",
        }
        return Release(images, soft_labels=soft_labels, views=views, provenance=provenance)

    @field_validator("more_teachers", mode="before")
    @classmethod
    def _one_is_a_list(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> BNMatching:
        if self.views > 1 and not self.soft_labels:
            raise ValueError("views are views of soft labels: set soft_labels too, or leave views out")
        return self

    def _recipes(self) -> list[Recipe]:
        return [self.teacher, *(self.teacher.model_copy(update={"network": name}) for name in self.more_teachers)]

    def _teachers(self, members: Images, context: Context) -> list[Network]:
        classes = int(members.labels.max()) + 1
        own = [
            int(seeds.generator(context.seed, "teacher", number).integers(2**31))
            for number in range(1, len(self._recipes()))
        ]
        trainings = zip(self._recipes(), [context.seed, *own], strict=True)
        return trained([Training(recipe, members, classes, seed) for recipe, seed in trainings], context.device)

    def _wanted(self, members: Images) -> dict[int, int]:
        return {
            label: count if self.images_per_class is None else self.images_per_class
            for label, count in enumerate(np.bincount(members.labels).tolist())
            if count
        }

    def _batch(
        self,
        shard: Shard,
        network: MatchedNetwork,
        statistics: LayerStatistics,
        device: str,
        points: Mapping[int, NDArray[np.float32]] | None,
    ) -> Batch:
        before, features = shard.arguments["before"], None
        counts = {int(label): int(count) for label, count in shard.arguments["labels"].items()}
        labels = torch.tensor([label for label, count in counts.items() for _ in range(count)], device=device)
        if points is not None:
            mine = [points[label][before[str(label)] :][:count] for label, count in counts.items()]
            features = torch.from_numpy(np.concatenate(mine)).to(device)
        if self.statistics == "global":
            return Batch(labels, 1, None, statistics.pooled(network.layers).to(device), 1.0, features)
        of_groups = statistics.of_classes(network.layers, list(counts)).to(device)
        if self.statistics == "class":
            return Batch(labels, 1, of_groups, None, 0.0, features)
        return Batch(labels, len(counts), of_groups, of_groups.mixed(), self.mix_weight, features)


def _draft_steps(steps: int) -> int:
    return max(1, steps // 4)
