"""How the small model is made: of public images, of their edges, and of the references that it is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from privaudit import seeds
from privaudit.images import Images
from privaudit.learning import edm
from privaudit.learning.training import autocast, seeded
from privaudit.store import Arrays
from privaudit.synth.spinml.pixel_model import PixelModel, Shape, as_drawn, prompt
from privaudit.synth.spinml.recomposition import Recomposition
from privaudit.synth.spinml.references import References
from privaudit.synth.spinml.vision import edges

Loss = Callable[[int], Tensor]

_NO_CLASS = {"pretraining": 0.1, "edges": 0.5}
"""Share of the images that are shown without their class, in training on public images and on their edges."""

_DECAY = 0.999
_BLOB = 4
"""Side of the random values whose smooth enlargement decides which edges are shown in training."""


def pretrain_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'public': pixels and labels} to the arrays of a model of them, without edges."""
    public, shape, device = Images.from_arrays(inputs["public"]), Shape(**arguments["shape"]), arguments["device"]
    with seeded(_start(arguments)):
        model = PixelModel(shape).to(device).train()

    def loss(step: int) -> Tensor:
        rng, _, images, prompts = _drawn(public, arguments, "pretraining", step)
        with autocast(device, device != "mps"):
            return edm.losses(model, images, prompts, rng).mean()

    _train(model, _steps(arguments), arguments, loss, "pretraining on public images")
    _make_rare_token_nothing(model.unet.class_embedding.weight)
    return model.arrays()


def edges_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'public': pixels and labels, 'start': arrays of a model without edges} to those of one that edges steer.

    It learns from public images and some of their edges: those in a random region, for objects at L0 show none.
    """
    public, shape, device = Images.from_arrays(inputs["public"]), Shape(**arguments["shape"]), arguments["device"]
    with seeded(_start(arguments)):
        model = PixelModel.from_arrays(shape, inputs["start"]).to(device).train()
    model.unet.requires_grad_(False)
    drawn = edges(public.pixels)

    def loss(step: int) -> Tensor:
        rng, rows, images, prompts = _drawn(public, arguments, "edges", step)
        kept = _regions(rng, len(rows), public.size[:2])
        shown = as_drawn(drawn[rows] & kept, device)
        with autocast(device, device != "mps"):
            return edm.losses(
                lambda noisy, noise, asked: model(noisy, noise, asked, shown), images, prompts, rng
            ).mean()

    _train(model, _steps(arguments), arguments, loss, "learning to follow edges on public images")
    if model.control is not None:
        _make_rare_token_nothing(model.control.class_embedding.weight)
    return model.arrays()


def fine_tune_task(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    """Inputs {'references', 'public', 'start': arrays of a model} to those of one that was shown the references.

    arguments: foreground, whether that is what they show. Hidden objects are replaced by public ones (`Recomposition`).
    """
    references, public = References(**inputs["references"]), Images.from_arrays(inputs["public"])
    shape, device, batch = Shape(**arguments["shape"]), arguments["device"], arguments["batch_size"]
    with seeded(_start(arguments)):
        model = PixelModel.from_arrays(shape, inputs["start"]).to(device).train()
    whole = Recomposition(references, public, arguments["foreground"], arguments["segmenter"])

    def loss(step: int) -> Tensor:
        rng = seeds.generator(arguments["seed"], "spinml fine-tuning", step)
        rows = rng.integers(len(references.labels), size=batch)
        images = edm.as_images(whole.images(rows, rng), device)
        asked = torch.from_numpy(prompt(references.labels[rows], shape.classes, rare=True)).to(device)
        with autocast(device, device != "mps"):
            return edm.losses(model, images, asked, rng).mean()

    _train(model, arguments["steps"], arguments, loss, "showing it the references")
    return model.arrays()


@torch.no_grad()
def _make_rare_token_nothing(embedding: Tensor) -> None:
    """Before references are shown, a class with it is the class; [2 x classes + 1, D], classes first, no class last."""
    classes = len(embedding) // 2
    embedding[classes:-1] = embedding[:classes]


def _train(model: PixelModel, steps: int, arguments: Mapping[str, Any], loss: Loss, stage: str) -> None:
    edm.train(
        model,
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        loss,
        steps=steps,
        learning_rate=arguments["learning_rate"],
        decay=_DECAY,
        stage=stage,
    )


def _steps(arguments: Mapping[str, Any]) -> int:
    return -(-int(arguments["images"]) // int(arguments["batch_size"]))


def _start(arguments: Mapping[str, Any]) -> int:
    return int(seeds.generator(arguments["seed"], "spinml start").integers(2**62))


def _drawn(
    public: Images, arguments: Mapping[str, Any], stage: str, step: int
) -> tuple[np.random.Generator, NDArray[np.int64], Tensor, Tensor]:
    """Randomness, rows, images and prompts of a step on public images."""
    rng = seeds.generator(arguments["seed"], f"spinml {stage}", step)
    choice = seeds.generator(arguments["seed"], f"spinml rows of {stage}", step)
    rows = choice.integers(len(public), size=arguments["batch_size"])
    labels = np.where(rng.random(len(rows)) < _NO_CLASS[stage], -1, public.labels[rows])
    device, classes = arguments["device"], arguments["shape"]["classes"]
    return (
        rng,
        rows,
        edm.as_images(public.pixels[rows], device),
        torch.from_numpy(prompt(labels, classes)).to(device),
    )


def _regions(rng: np.random.Generator, count: int, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Random regions [N, H, W] with smooth borders; of any share of the image, and for one in three all of it."""
    coarse = torch.from_numpy(rng.random((count, 1, _BLOB, _BLOB)))
    smooth = functional.interpolate(coarse, size, mode="bicubic", align_corners=False)[:, 0].numpy()
    share = np.where(rng.random(count) < 1 / 3, 1.0, rng.random(count))
    bound = np.array([np.quantile(image, 1 - part) for image, part in zip(smooth, share, strict=True)])
    return np.asarray(smooth >= bound[:, None, None])
