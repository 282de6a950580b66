"""SpinML: references that are sanitised object by object, and a diffusion model that makes images of what is left of
them (Zhang, Sequeira, Psounis, PoPETs 2025(2), pages 140-156).

Members are sanitised (`references`) with masks (`vision`, where nobody gave any). Edges steer the model as ControlNet
does, pixels are shown to it as DreamBooth does: a small one of public images (`pixel_model`), or Stable Diffusion from
a folder (`stable_diffusion`). `metrics` holds the paper's MI and SIM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from privaudit import seeds
from privaudit.attack import Context, Effort, Settings
from privaudit.data import loading
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning.edm import diffusers
from privaudit.release import Release
from privaudit.synth.spinml import stable_diffusion
from privaudit.synth.spinml.model import PUBLISHED, SMALL, VERSION, Training, large, sanitised_references, small
from privaudit.synth.spinml.references import Level, References, masks_of
from privaudit.synth.spinml.vision import Segmenter, opencv
from privaudit.synthesizer import Shard

_SOURCES = {"public", "masks", "masked", "stable_diffusion", "controlnet"}
"""Settings that name places: no business of who gets the release."""


class SpinML(Settings):
    """Images by a diffusion model that was shown members with their objects sanitised: of each, foreground and
    background apart, nothing but the class (L0), the edges (L1) or the pixels (L2).
    """

    name: ClassVar[str] = "spinml"
    version: ClassVar[int] = VERSION

    foreground: Level = Field("L1", description="what is shared of the foreground: L0 nothing, L1 edges, L2 pixels")
    background: Level = Field("L0", description="the same of the background")
    masks: str | None = Field(
        None, description="where the foregrounds are: a data source of masks, white on black; default: by segmenter"
    )
    masked: str | None = Field(None, description="the data source that masks belongs to, with the same names")
    segmenter: Segmenter = Field("grabcut", description="finds the foregrounds where there are no masks")
    references_per_class: int | None = Field(
        None, ge=1, description="members of a class that are shared, drawn at random; default: all"
    )
    images_per_class: int | None = Field(None, ge=1, description="images per class; default: as many as members")
    batch_size: int = Field(100, ge=1, description="images of a class sampled together")
    public: str | None = Field(
        None, description="public images that the small model is made of: the same classes in the same order"
    )
    pretraining_images: int = Field(200_000, ge=1, description="public images seen by the small model")
    edges_images: int = Field(100_000, ge=1, description="public images seen with their edges, where some are L1")
    stable_diffusion: str | None = Field(
        None, description="folder with a Stable Diffusion in the format of diffusers, in the place of the small model"
    )
    controlnet: str | None = Field(
        None, description="folder with a ControlNet for edges in the same format; needed with it where some are L1"
    )
    subjects: tuple[str, ...] = Field(
        (), description="what Stable Diffusion is asked for, class by class in their order, such as a sleeping husky"
    )
    guidance: float = Field(7.5, ge=1, description="of Stable Diffusion: how much it minds what it is asked for")
    fine_tuning_steps: int | None = Field(
        None, ge=1, description="steps on the references, where some are L2; default: 1,000, with Stable Diffusion 400"
    )
    fine_tuning_batch: int | None = Field(None, ge=1, description="references in a step; default: 32, or 1")
    learning_rate: float | None = Field(None, gt=0, description="of these steps, by Adam; default: 2e-4, or 5e-6")
    sampling_steps: int | None = Field(None, ge=1, description="steps from noise to an image; default: 25, or 50")

    @model_validator(mode="after")
    def _fits_together(self) -> SpinML:
        if (self.masks is None) != (self.masked is None):
            raise ValueError("masks and masked belong together: masks, and the images that they belong to")
        if self.controlnet is not None and self.stable_diffusion is None:
            raise ValueError("controlnet belongs to stable_diffusion; the small model learns to follow edges by itself")
        if self.stable_diffusion is not None and self.steered and self.controlnet is None:
            raise ValueError(
                "L1 with stable_diffusion needs controlnet: the folder of a ControlNet for edges that belongs to it"
            )
        if self.stable_diffusion is not None and not self.subjects:
            raise ValueError("stable_diffusion needs subjects: what each class is called, in their order")
        return self

    @property
    def steered(self) -> bool:
        """Whether edges steer the model."""
        return "L1" in (self.foreground, self.background)

    @property
    def shown(self) -> bool:
        """Whether the model is shown raw pixels."""
        return "L2" in (self.foreground, self.background)

    def public_images(self, size: tuple[int, int, int]) -> Images | None:
        """The public images, as large as the members and with as many channels; none for Stable Diffusion."""
        if self.stable_diffusion is not None:
            return None
        if self.public is None:
            raise InputError(
                "spinml needs public images with the members' classes, --set public=DATA, or a folder with Stable "
                "Diffusion, --set stable_diffusion=FOLDER."
            )
        return loading.load(self.public, size=size[:2], channels=size[2]).images

    def member_masks(self, members: Images) -> Images | None:
        """The masks that were given."""
        return None if self.masks is None or self.masked is None else masks_of(members, self.masks, self.masked)

    def shards(self, members: Images) -> Sequence[Shard]:
        """Batches of one class each. Raises InputError where a package, a folder or a subject is missing."""
        diffusers(self.name)
        opencv()
        labels, counts = np.unique(members.labels, return_counts=True)
        model = {}
        if self.stable_diffusion is not None:
            model = {"model": stable_diffusion.digest(self.stable_diffusion)}
            if self.controlnet is not None:
                model["controlnet"] = stable_diffusion.controlnet_digest(self.controlnet)
            if len(self.subjects) <= labels.max():
                raise InputError(
                    f"subjects names {len(self.subjects)} classes, and the members have {int(labels.max()) + 1}. Name "
                    "each, in their order."
                )
        return [
            Shard(
                f"class {label} part {start // self.batch_size}",
                min(self.batch_size, count - start),
                {"label": label, "start": start, **model},
            )
            for label, count in (
                (label, self.images_per_class or held)
                for label, held in zip(labels.tolist(), counts.tolist(), strict=True)
            )
            for start in range(0, count, self.batch_size)
        ]

    def work(self, shards: Iterable[Shard], members: Images, effort: Effort) -> tuple[str, float]:
        """Kind and units of the work, for forecasts: the pixels of all images that pass a model."""
        training, owned = self.training, self.stable_diffusion is not None
        passes = sum(shard.count for shard in shards) * training.sampling_steps / 3  # as measured on one core
        passes += training.fine_tuning_steps * training.batch_size * self.shown
        passes += 0 if owned else self.pretraining_images + self.edges_images * self.steered
        return "stable diffusion" if owned else "small", float(np.prod(members.size)) * passes

    @property
    def training(self) -> Training:
        """What was set, and what is usual where nothing was."""
        usual = SMALL if self.stable_diffusion is None else PUBLISHED
        return Training(
            self.fine_tuning_steps or usual.fine_tuning_steps,
            self.fine_tuning_batch or usual.batch_size,
            self.learning_rate or usual.learning_rate,
            self.sampling_steps or usual.sampling_steps,
        )

    def make(self, shard: Shard, members: Images, context: Context) -> Images:
        """Sample one batch."""
        draw = small if self.stable_diffusion is None else large
        made = draw(self, shard, members, context)
        return Images(made, np.full(shard.count, int(shard.arguments["label"]), dtype=np.int64))

    def steering(self, references: References, shard: Shard, seed: int) -> NDArray[np.bool_] | None:
        """Edges for each image of a shard, [count, H, W]; None where none steer. Each reference of the class has its
        turn before one has another, in random order.
        """
        if not self.steered:
            return None
        label = int(shard.arguments["label"])
        mine = np.flatnonzero(references.labels == label)
        order = seeds.generator(seed, "spinml steering", label).permutation(mine)
        return np.asarray(references.edges[order[(int(shard.arguments["start"]) + np.arange(shard.count)) % len(mine)]])

    def references(self, members: Images, context: Context) -> References:
        """What leaves the device."""
        chosen = self.chosen(members, context.seed)
        return sanitised_references(
            self, members.take(chosen), None if context.masks is None else context.masks.take(chosen)
        )

    def chosen(self, members: Images, seed: int) -> NDArray[np.int64]:
        """Rows of the members that are references, in their order."""
        if self.references_per_class is None:
            return np.arange(len(members))
        parts = [
            seeds.generator(seed, "spinml references", label).permutation(np.flatnonzero(members.labels == label))
            for label in np.unique(members.labels).tolist()
        ]
        return np.sort(np.concatenate([part[: self.references_per_class] for part in parts]))

    def finish(self, parts: Iterable[Images], members: Images, context: Context) -> Release:
        """The shards in order."""
        provenance = {
            "engine": self.name,
            "version": self.version,
            "settings": self.model_dump(mode="json", exclude=_SOURCES),
            "training": asdict(self.training),
            "model": "pixels" if self.stable_diffusion is None else "Stable Diffusion",
            "start": "noise",
        }
        return Release(concatenate(list(parts)), provenance=provenance)
