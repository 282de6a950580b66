"""PrivImage: a diffusion model, pretrained on the public images that the private ones look like, and fine-tuned on the
private ones with differential privacy (Li, Gong, Li, Zhao, Hou, Wang, USENIX Security 2024, arXiv 2311.12850).

Four steps: a noisy vote of the private images for public classes (`query`); pretraining on the classes that won, under
the labels of the private classes that took them (`pretraining`); DP-SGD on the private images (`fine_tuning`); and
sampling (`diffusion`). The vote and DP-SGD look at members; they are counted together, by one accountant.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from privaudit.accounting import GaussianSteps, training_beside_one_look
from privaudit.attack import Context, Effort
from privaudit.data import loading
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Recipe
from privaudit.learning.edm import diffusers
from privaudit.private_engine import PrivateSettings, PrivateStage, class_batches
from privaudit.release import Release
from privaudit.store import Arrays
from privaudit.synth.privimage.diffusion import ENGINE, Denoiser, Shape, sampled
from privaudit.synth.privimage.fine_tuning import FineTuning, fine_tuning_scores
from privaudit.synth.privimage.model import VERSION, fine_tuned, pretrained
from privaudit.synth.privimage.query import check_enough, query_scores
from privaudit.synthesizer import Shard


@dataclass(frozen=True)
class Scale:
    """What is chosen by the setting `scale`: for two cores, or as in the paper."""

    widths: tuple[int, ...]
    blocks: int
    pretraining_images: int
    pretraining_batch: int
    pretraining_learning_rate: float
    steps: int
    learning_rate: float
    multiplicity: int
    average: float
    sampling_steps: int
    sampling_rate: float
    divisor: float


SCALES = {
    "small": Scale((16, 16, 32), 1, 200_000, 64, 1e-3, 300, 1e-3, 1, 0.99, 25, 0.1, 200.0),
    "paper": Scale((32, 64, 64), 2, 260_000_000, 512, 1e-4, 150, 3e-4, 8, 0.999, 50, 1 / 3, 19_384.0),
}


_NEEDED = "privimage needs public images with classes, of any source: --set public=DATA."


class PrivImage(PrivateSettings):
    """A diffusion model of public images that look like the private ones, fine-tuned on these with noise.

    What is fixed beforehand and public: the settings, the public images, the size of the images, and how many classes
    there are.
    """

    name: ClassVar[str] = "privimage"
    version: ClassVar[int] = VERSION

    public: str | None = Field(None, description="public images with classes: a data source like the members")
    scale: Literal["small", "paper"] = Field(
        "small", description="network, steps and batches: small for two cores, paper as published, for a GPU"
    )
    classes_each: int = Field(1, ge=1, description="public classes taken for each private class")
    classifier: Recipe = Field(
        Recipe(network="resnet20", epochs=10, batch_size=64, crop=2, flip=True),
        description="how the classifier of the public images is trained",
    )
    query_share: float = Field(
        0.1, gt=0, lt=1, description="epsilon of the query alone, as a share of epsilon; the rest is the fine-tuning's"
    )
    pretraining_images: int | None = Field(None, ge=1, description="images seen in pretraining; default by scale")
    sampling_rate: float | None = Field(
        None, gt=0, le=1, description="probability with which a member is in a step; default by scale: 0.1, 1/3"
    )
    divisor: float | None = Field(
        None,
        gt=0,
        description="noisy sums of gradients are divided by it: about sampling_rate x members, and public; default by "
        "scale: 200, 19,384",
    )
    steps: int | None = Field(None, ge=1, description="DP-SGD steps; default by scale: 300, 150")
    learning_rate: float | None = Field(None, gt=0, description="of DP-SGD, by Adam; default by scale: 1e-3, 3e-4")
    multiplicity: int | None = Field(
        None,
        ge=1,
        description="levels of noise at which an image's gradient is taken in a step; by scale: 1, 8",
    )
    clip: float = Field(0.001, gt=0, description="longest gradient of one image")
    images_per_class: int = Field(
        50, ge=1, description="images per class; never by default as many as members, for how many there are is private"
    )
    sampling_steps: int | None = Field(None, ge=1, description="steps from noise to an image; default by scale: 25, 50")
    batch_size: int = Field(100, ge=1, description="images of a class sampled together")

    def public_images(self, size: tuple[int, int, int]) -> Images:
        """The public images, as large as the members and with as many channels; classes without images left out."""
        if self.public is None:
            raise InputError(_NEEDED)
        found = loading.load(self.public, size=size[:2], channels=size[2]).images
        return Images(found.pixels, np.unique(found.labels, return_inverse=True)[1].astype(np.int64))

    def shards(self, members: Images) -> Sequence[Shard]:
        """Batches of one class each; every class has as many."""
        diffusers(ENGINE)
        self.mechanisms()  # an impossible budget is told before anything is done
        self.check_delta(len(members))
        return class_batches(self.class_count(members), self.images_per_class, self.batch_size)

    def work(self, shards: Iterable[Shard], members: Images, effort: Effort) -> tuple[str, float]:
        """Kind and units of the work, for forecasts: the pixels of all images that pass the model."""
        gradients = self.chosen("sampling_rate") * len(members) * self.chosen("steps") * self.chosen("multiplicity")
        samples = sum(shard.count for shard in shards) * self.chosen("sampling_steps")
        passes = self.chosen("pretraining_images") + 2 * gradients + samples / 3  # as measured on one core
        return self.scale, float(np.prod(members.size)) * passes

    def mechanisms(self) -> tuple[GaussianSteps, GaussianSteps]:
        """DP-SGD, and the query: with the least noise that keeps the budget."""
        epsilon, delta = self.budget()
        rate, steps = self.chosen("sampling_rate"), self.chosen("steps")
        return training_beside_one_look(epsilon, delta, self.query_share, rate, steps)

    def private_stages(self, members: Images, context: Context) -> Sequence[PrivateStage]:
        """The query and the fine-tuning; their counts together are the claim. Raises InputError where none is made."""
        self.check_claims()
        training, query = self.mechanisms()
        classes, public = self.class_count(members), int(_public(context).labels.max()) + 1
        check_enough(classes, self.classes_each, public)
        asked, shape = FineTuning(training, **self.training()), self.shape(members, classes)
        return [
            PrivateStage(
                "query",
                query,
                partial(query_scores, query.noise_multiplier, members, classes, public, self.classes_each),
                one_run=False,
            ),
            PrivateStage(
                "fine-tuning",
                training,
                partial(fine_tuning_scores, asked, training, shape, members, context.device),
                one_run=True,
            ),
        ]

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Sample one batch. It looks at the fine-tuned model, and at no member."""
        classes = self.class_count(members)
        arrays = self._model(members, classes, context)
        model = Denoiser.from_arrays(self.shape(members, classes), arrays)
        labels = np.full(shard.count, int(shard.arguments["label"]))
        steps = self.chosen("sampling_steps")
        return Images(sampled(model, labels, members.size[:2], steps, context.generator, context.device), labels)

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order, with the claim."""
        public = _public(context)
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json", exclude={"public"}),
            "chosen": {field.name: self.chosen(field.name) for field in fields(Scale)},
            "start": "noise",
            "public": {"images": len(public), "digest": public.digest},
        }
        training, query = self.mechanisms()
        mechanism = {
            "query": "votes of images for public classes, with Gaussian noise, once",
            "query_noise_multiplier": query.noise_multiplier,
            "query_sensitivity": self.classes_each**0.5,
            "fine_tuning": "DP-SGD: clipped gradients of images, summed, with Gaussian noise",
            "fine_tuning_noise_multiplier": training.noise_multiplier,
            "fine_tuning_sampling_rate": training.sampling_rate,
            "fine_tuning_steps": training.steps,
            "fine_tuning_clip": self.clip,
            "fine_tuning_divisor": self.chosen("divisor"),
            "public": "settings, public images, size of the images, number of classes, that no member is among the "
            "public images, that there are fewer than 1 / delta members",
        }
        claim = self.claim([training, query], mechanism)
        return Release(concatenate(list(parts)), claim=claim, provenance=provenance)

    def chosen(self, name: str) -> Any:
        """A setting that is given, or that of the scale."""
        given = getattr(self, name, None)
        return getattr(SCALES[self.scale], name) if given is None else given

    def shape(self, members: Images, classes: int) -> Shape:
        """Of the model."""
        scale = SCALES[self.scale]
        return Shape(members.size[2], classes, scale.widths, scale.blocks)

    def training(self) -> dict[str, Any]:
        """How it is fine-tuned, as JSON."""
        return {
            "clip": self.clip,
            "divisor": self.chosen("divisor"),
            "learning_rate": self.chosen("learning_rate"),
            "multiplicity": self.chosen("multiplicity"),
            "average": SCALES[self.scale].average,
        }

    def _model(self, members: Images, classes: int, context: Context) -> Arrays:
        """The fine-tuned model."""
        self.check_kept()
        training, query = self.mechanisms()
        start = pretrained(self, members, _public(context), classes, query, context)
        return fine_tuned(self, start, members, classes, training, context)


def _public(context: Context) -> Images:
    if context.reference is None:
        raise InputError(_NEEDED)
    return context.reference
