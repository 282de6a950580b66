"""BN matching with differential privacy: a teacher by DP-SGD, and class-wise statistics with noise, drawn once.

BatchNorm itself cannot be had with differential privacy, for it mixes the images of a batch; so the teacher has
GroupNorm, and what is matched are per-class sums of clipped activations and their squares at its layers, released with
Gaussian noise of a stated sensitivity. Everything after that, all steps of the optimisation, looks at the noisy sums
alone: it costs no privacy, and no noise is drawn again (to draw fresh noise at every step, as published code of a
related method does, would give the statistics away).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from privaudit.accounting import GaussianSteps, training_beside_one_look
from privaudit.attack import Context, Effort
from privaudit.calls import Call, compute
from privaudit.images import Images, concatenate
from privaudit.learning import Network, probabilities
from privaudit.learning.private import PrivateTraining
from privaudit.private_engine import PrivateSettings, PrivateStage, class_batches
from privaudit.release import Release
from privaudit.store import Arrays
from privaudit.synth.bn_matching.embedding import Embedding, NoisySums
from privaudit.synth.bn_matching.matching import Descent, descend, total_variation
from privaudit.synth.bn_matching.moves import Moves
from privaudit.synthesizer import Shard

VERSION = 2
STEPS: dict[Effort, int] = {"quick": 250, "standard": 1000, "thorough": 4000}
TEACHER_STEPS: dict[Effort, int] = {"quick": 150, "standard": 500, "thorough": 2000}
_TASK = "privaudit.synth.bn_matching.private_fit:fit_task"


class DPBNMatching(PrivateSettings):
    """Noise is optimised until its statistics under a privately trained network match private ones that carry noise.

    What is fixed beforehand and public: the settings, the size of the images, and how many classes there are.
    """

    name: ClassVar[str] = "dp-bn-matching"
    version: ClassVar[int] = VERSION

    statistics_share: float = Field(
        0.3, gt=0, lt=1, description="epsilon of the statistics alone, as a share of epsilon; the rest is the teacher's"
    )
    sampling_rate: float = Field(0.1, gt=0, le=1, description="probability with which a member is in a teacher's step")
    divisor: float = Field(
        200.0, gt=0, description="noisy sums of gradients are divided by it: about sampling_rate x members, and public"
    )
    teacher_steps: int | None = Field(None, ge=1, description="DP-SGD steps; default by effort: 150, 500, 2,000")
    teacher_learning_rate: float = Field(2.0, gt=0, description="of the DP-SGD steps, with momentum 0.9")
    crop: int = Field(0, ge=0, description="the teacher sees images shifted by up to so many pixels")
    clip: float = Field(1.0, gt=0, description="longest gradient of one image")
    statistics_length: float = Field(1.0, gt=0, description="longest vector of activations of one image")
    images_per_class: int = Field(
        50, ge=1, description="images per class; never by default as many as members, for how many there are is private"
    )
    steps: int | None = Field(None, ge=1, description="Adam steps; default by effort: 250, 1,000, 4,000")
    batch_size: int = Field(100, ge=1, description="images of a class optimised together")
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate, in halves of the range of pixels")
    statistics_weight: float = Field(100.0, ge=0, description="weight of the statistics in the loss")
    label_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy under the teacher")
    smoothness: float = Field(2.5e-5, ge=0, description="weight of the total variation")
    roll: int | None = Field(None, ge=0, description="largest random shift of a step in pixels; default: side / 8")
    soft_labels: bool = Field(False, description="publish the teacher's probabilities, which cost no privacy")
    temperature: float = Field(4.0, gt=0, description="divides the teacher's logits before soft labels are made")

    def shards(self, members: Images) -> Sequence[Shard]:
        """Batches of one class each; every class has as many."""
        self.mechanisms("quick")  # an impossible budget is told before anything is done
        self.check_delta(len(members))
        return class_batches(self.class_count(members), self.images_per_class, self.batch_size)

    def mechanisms(self, effort: Effort) -> tuple[GaussianSteps, GaussianSteps]:
        """DP-SGD of the teacher, and the statistics: with the least noise that keeps the budget."""
        epsilon, delta = self.budget()
        steps = self.teacher_steps or TEACHER_STEPS[effort]
        return training_beside_one_look(epsilon, delta, self.statistics_share, self.sampling_rate, steps)

    def private_stages(self, members: Images, context: Context) -> Sequence[PrivateStage]:
        """The teacher's training, and the noisy statistics; their counts together are the claim.

        Raises InputError where no claim is made.
        """
        self.check_claims()
        from privaudit.synth.bn_matching.private_fit import statistics_scores, teacher_scores

        teacher, sums = self.mechanisms(context.effort)
        classes = self.class_count(members)
        asked = PrivateTraining(teacher, self.clip, self.divisor, self.teacher_learning_rate, self.crop)
        device, length = context.device, self.statistics_length
        return [
            PrivateStage(
                "teacher", teacher, partial(teacher_scores, asked, teacher, members, classes, device), one_run=True
            ),
            PrivateStage(
                "statistics",
                sums,
                partial(statistics_scores, sums.noise_multiplier, members, classes, length, device),
                one_run=False,
            ),
        ]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Optimise one batch of noise. It looks at the teacher and the noisy sums, and at no member."""
        height, width, channels = members.size
        device, label = context.device, int(shard.arguments["label"])
        teacher, sums = self._fitted(members, self.class_count(members), context)
        wanted = sums.means[label].float().to(device)
        labels = torch.full((shard.count,), label, dtype=torch.int64, device=device)

        with Embedding(teacher, self.statistics_length, device) as embedding:

            def objective(images: torch.Tensor) -> torch.Tensor:
                vectors, answers = embedding(images / 2 + 0.5)
                found = vectors.mean(0) / self.statistics_length
                return (
                    self.statistics_weight * (found - wanted).square().sum()
                    + self.label_weight * functional.cross_entropy(answers, labels)
                    + self.smoothness * total_variation(images)
                )

            noise = context.generator.standard_normal((shard.count, channels, height, width), dtype=np.float32)
            low, high = (torch.full((channels, 1, 1), edge, device=device) for edge in (-1.0, 1.0))
            roll = min(height, width) // 8 if self.roll is None else self.roll
            found = descend(
                objective,
                torch.from_numpy(noise).to(device).clamp(low, high),
                (low, high),
                Descent(self.steps or STEPS[context.effort], self.learning_rate, Moves(roll, flip=False)),
                context.generator,
                context.progress,
            )
        pixels = ((found / 2 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8)
        return Images(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy(), labels.cpu().numpy())

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order, with the claim; soft labels of the published pixels where they are wanted."""
        images, soft = concatenate(list(parts)), None
        if self.soft_labels:
            network, _ = self._fitted(members, self.class_count(members), context)
            soft = probabilities(network, images, None, self.temperature, context.device)
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json"),
            "steps": self.steps or STEPS[context.effort],
            "start": "noise",
            "teacher": "trained on the members alone, with differential privacy",
        }
        teacher, sums = self.mechanisms(context.effort)
        mechanism = {
            "teacher": "DP-SGD: clipped gradients of images, summed, with Gaussian noise",
            "teacher_noise_multiplier": teacher.noise_multiplier,
            "teacher_sampling_rate": teacher.sampling_rate,
            "teacher_steps": teacher.steps,
            "teacher_clip": self.clip,
            "teacher_divisor": self.divisor,
            "statistics": "per-class sums of clipped activations, squares and counts, with Gaussian noise, once",
            "statistics_noise_multiplier": sums.noise_multiplier,
            "statistics_sensitivity": 1.0,
            "public": "settings, size of the images, number of classes, that there are fewer than 1 / delta members",
        }
        claim = self.claim([teacher, sums], mechanism)
        return Release(images, soft_labels=soft, claim=claim, provenance=provenance)

    def _fitted(self, members: Images, classes: int, context: Context) -> tuple[Network, NoisySums]:
        """The teacher and the noisy sums: made once per store and never again."""
        self.check_kept()
        teacher, sums = self.mechanisms(context.effort)
        arguments = {
            "seed": context.seed,
            "classes": classes,
            "device": context.device,
            "secret": self.noise == "secret",
            "teacher": [teacher.noise_multiplier, teacher.sampling_rate, teacher.steps],
            "sums": sums.noise_multiplier,
            **self.model_dump(include={"clip", "divisor", "teacher_learning_rate", "crop", "statistics_length"}),
        }
        images: Arrays = members.arrays()
        label = f"training a teacher with differential privacy on {len(members):,} images"
        (found,) = compute(Call(label, _TASK, arguments, {"images": images}, {"version": VERSION}))
        network = Network.from_arrays({name: array for name, array in found.items() if name not in ("sums", "counts")})
        return network, NoisySums(*(torch.from_numpy(np.array(found[name])) for name in ("sums", "counts")))
