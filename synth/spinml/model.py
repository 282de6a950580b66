"""The steps from references to images, each made once per store: with the small model, or with Stable Diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from privaudit.attack import Context
from privaudit.calls import Call, compute
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.store import Arrays
from privaudit.synth.spinml import pixel_model, stable_diffusion
from privaudit.synth.spinml.pixel_model import Shape
from privaudit.synth.spinml.references import References
from privaudit.synthesizer import Shard

if TYPE_CHECKING:
    from privaudit.synth.spinml import SpinML

VERSION = 1
_HERE = "privaudit.synth.spinml"
_PUBLIC = {"batch_size": 64, "learning_rate": 1e-3}
"""How the small model is trained on public images."""


@dataclass(frozen=True)
class Training:
    """How a model is shown the references, and in how many steps an image is made."""

    fine_tuning_steps: int
    batch_size: int
    learning_rate: float
    sampling_steps: int


SMALL = Training(1_000, 32, 2e-4, 25)
PUBLISHED = Training(400, 1, 5e-6, 50)


def sanitised_references(engine: SpinML, chosen: Images, masks: Images | None) -> References:
    """What leaves the device of these members."""
    inputs = {"images": chosen.arrays()} | ({} if masks is None else {"masks": {"pixels": masks.pixels}})
    asked = {"foreground": engine.foreground, "background": engine.background, "segmenter": engine.segmenter}
    return References(**_computed(f"sanitising {len(chosen):,} references", "references:sanitise_task", asked, inputs))


def small(
    engine: SpinML,
    shard: Shard,
    members: Images,
    context: Context,
) -> NDArray[np.uint8]:
    """The images of a shard by the small model: of public images, of their edges, of the references."""
    public, label = _public(members, context), int(shard.arguments["label"])
    references = engine.references(members, context)
    shape = Shape(members.size[2], int(public.labels.max()) + 1)
    base = _computed(
        f"pretraining a diffusion model on {engine.pretraining_images:,} public images",
        "pixel_training:pretrain_task",
        {**_common(context), "shape": asdict(shape), **_PUBLIC, "images": engine.pretraining_images},
        {"public": public.arrays()},
    )
    weights = base
    if engine.shown:
        weights = _computed(
            f"showing it {len(references.labels):,} references",
            "pixel_training:fine_tune_task",
            {
                **_common(context),
                **_fine_tuning(engine),
                "shape": asdict(shape),
                "foreground": engine.foreground == "L2",
                "segmenter": engine.segmenter,
            },
            {"references": references.arrays(), "public": public.arrays(), "start": base},
        )
    if engine.steered:
        shape = Shape(shape.channels, shape.classes, edges=True)
        steering = _computed(
            f"teaching it to follow edges, on {engine.edges_images:,} public images",
            "pixel_training:edges_task",
            {**_common(context), "shape": asdict(shape), **_PUBLIC, "images": engine.edges_images},
            {"public": public.arrays(), "start": base},
        )
        weights = {**steering, **weights}
    prompts = pixel_model.prompt(np.full(shard.count, label), shape.classes, rare=engine.shown)
    model = pixel_model.PixelModel.from_arrays(shape, weights)
    steps, size = engine.training.sampling_steps, members.size[:2]
    drawn = engine.steering(references, shard, context.seed)
    return pixel_model.sampled(model, prompts, drawn, size, steps, context.generator, context.device)


def large(engine: SpinML, shard: Shard, members: Images, context: Context) -> NDArray[np.uint8]:
    """The images of a shard by Stable Diffusion."""
    folder, references = str(engine.stable_diffusion), engine.references(members, context)
    pipeline = stable_diffusion.pipeline_of(folder, engine.controlnet, context.device)  # or it would fail at the end
    if engine.shown:
        weights = _computed(
            f"showing {len(references.labels):,} references to Stable Diffusion",
            "stable_diffusion:fine_tune_task",
            {
                **_common(context),
                **_fine_tuning(engine),
                "folder": folder,
                "model": shard.arguments["model"],
                "subjects": list(engine.subjects),
            },
            {"references": references.arrays()},
        )
        stable_diffusion.give_weights(pipeline, weights)
    asked = stable_diffusion.prompt(engine.subjects[int(shard.arguments["label"])], rare=engine.shown)
    return stable_diffusion.sampled(
        pipeline,
        [asked] * shard.count,
        engine.steering(references, shard, context.seed),
        members.size,
        engine.training.sampling_steps,
        engine.guidance,
        context.generator,
    )


def _public(members: Images, context: Context) -> Images:
    if context.reference is None:
        raise InputError("spinml needs public images with the members' classes: --set public=DATA.")
    missing = set(members.labels.tolist()) - set(context.reference.labels.tolist())
    if missing:
        raise InputError(
            f"The public images have none of class {min(missing)}, counted from 0, which members have. They need the "
            "members' classes, in the same order."
        )
    return context.reference


def _common(context: Context) -> dict[str, Any]:
    return {"seed": context.seed, "device": context.device}


def _fine_tuning(engine: SpinML) -> dict[str, Any]:
    training = engine.training
    return {
        "steps": training.fine_tuning_steps,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
    }


def _computed(label: str, function: str, arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    (found,) = compute(Call(label, f"{_HERE}.{function}", arguments, inputs, {"version": VERSION}))
    return found
