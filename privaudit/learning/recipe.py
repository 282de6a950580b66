"""How a network is trained: one frozen recipe for teachers, victims and students; and a training asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Settings
from privaudit.images import Images
from privaudit.views import Views

Precision = Literal["auto", "float32", "bfloat16"]


class Recipe(Settings):
    """Everything that decides a training, beside the images and the seed.

    The learning rate rises linearly over the first twentieth of the steps and falls along a cosine, to zero where
    `decay` is 1.
    """

    network: str = Field(
        "convnet",
        description="convnet, convnet-groupnorm, resnet18, resnet34, resnet20, resnet56, lenet, mlp, or "
        "torchvision:NAME",
    )
    epochs: int = Field(30, ge=1, description="passes over the images")
    batch_size: int = Field(128, ge=2, description="images per step; a rest of one image joins the batch before it")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd (Nesterov momentum 0.9) or adamw")
    learning_rate: float = Field(0.1, gt=0, description="largest learning rate")
    weight_decay: float = Field(5e-4, ge=0, description="weight decay; not applied to biases and BatchNorm")
    crop: int = Field(0, ge=0, description="images are shifted by up to so many pixels, zeros come in")
    flip: bool = Field(False, description="mirror half of the images in every epoch")
    cutmix: bool = Field(False, description="a box of each image shows another one, and its label that one's by area")
    decay: float = Field(
        1.0, ge=1, description="the cosine is that of a training so many times as long: 2 ends at half the rate"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    ema: float | None = Field(None, gt=0, lt=1, description="decay per step of the moving average that is kept")
    precision: Precision = Field("auto", description="auto: bfloat16 where processor and network make it pay")


@dataclass(frozen=True, eq=False)
class Training:
    """A training that is asked for.

    soft_labels: [N, classes] probabilities to learn instead of the labels; or [N, views, classes], of each image
    through these views: one of them, drawn in each epoch, takes the place of the recipe's own changes of the image.
    """

    recipe: Recipe
    images: Images
    classes: int
    seed: int
    soft_labels: NDArray[np.float32] | None = None
    views: Views | None = None

    @property
    def targets(self) -> NDArray[np.int64] | NDArray[np.float32]:
        """What is learned: labels [N], or soft labels [N, classes] or [N, views, classes]."""
        return self.images.labels if self.soft_labels is None else self.soft_labels
