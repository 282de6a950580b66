"""The steps from public images and members to a model, each made once per store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from privaudit.accounting import GaussianSteps
from privaudit.attack import Context
from privaudit.calls import Call, compute
from privaudit.images import Images
from privaudit.learning import Training, trained
from privaudit.store import Arrays
from privaudit.synth.privimage.query import check_enough

if TYPE_CHECKING:
    from privaudit.synth.privimage import PrivImage

VERSION = 1
_HERE = "privaudit.synth.privimage"


def pretrained(
    engine: PrivImage, members: Images, public: Images, classes: int, query: GaussianSteps, context: Context
) -> Arrays:
    """A denoiser of the public images that the noisy query chose."""
    known = int(public.labels.max()) + 1
    check_enough(classes, engine.classes_each, known)
    (classifier,) = trained([Training(engine.classifier, public, known, context.seed)], context.device)
    (votes,) = compute(
        Call(
            f"asking {len(members):,} images with noise which public classes they look like",
            f"{_HERE}.query:query_task",
            {
                **_secret(engine, context),
                "classes": classes,
                "k": engine.classes_each,
                "noise_multiplier": query.noise_multiplier,
            },
            {"images": members.arrays(), "classifier": classifier.arrays()},
            {"version": VERSION},
        )
    )
    seen = engine.chosen("pretraining_images")
    (found,) = compute(
        Call(
            f"pretraining a diffusion model on {seen:,} public images",
            f"{_HERE}.pretraining:pretrain_task",
            {
                **_common(context),
                "shape": asdict(engine.shape(members, classes)),
                "images": seen,
                "batch_size": engine.chosen("pretraining_batch"),
                "learning_rate": engine.chosen("pretraining_learning_rate"),
            },
            {"public": public.arrays(), "query": {"selected": votes["selected"]}},
            {"version": VERSION},
        )
    )
    return found


def fine_tuned(
    engine: PrivImage, start: Arrays, members: Images, classes: int, steps: GaussianSteps, context: Context
) -> Arrays:
    """That denoiser after the steps of DP-SGD on the members."""
    (found,) = compute(
        Call(
            f"fine-tuning it with differential privacy on {len(members):,} images",
            f"{_HERE}.fine_tuning:fine_tune_task",
            {
                **_secret(engine, context),
                "shape": asdict(engine.shape(members, classes)),
                "steps": [steps.noise_multiplier, steps.sampling_rate, steps.steps],
                "training": engine.training(),
            },
            {"images": members.arrays(), "start": start},
            {"version": VERSION},
        )
    )
    return found


def _common(context: Context) -> Mapping[str, Any]:
    return {"seed": context.seed, "device": context.device}


def _secret(engine: PrivImage, context: Context) -> Mapping[str, Any]:
    return {**_common(context), "secret": engine.noise == "secret"}
