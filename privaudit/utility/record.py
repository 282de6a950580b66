"""The record of how useful a release is, in shareable form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from privaudit.attack import Settings


class Measured(Settings):
    """A number with its two-sided 95 % interval."""

    estimate: float
    low: float
    high: float
    n: int = Field(description="test images it was measured on")
    method: str


class Frechet(Settings):
    """Fréchet distances to real test images, in squared units of the features; lower is closer.

    release: of released images. members: of as many members, which a release can hardly beat.
    """

    release: float
    members: float
    feature_space: str
    features: int = Field(description="dimensions of the feature space")
    n: int = Field(description="images on each side")


class Beside(Settings):
    """The same share in [0, 1] for released images and for as many members, against the same test images."""

    release: float
    members: float


class UtilityRecord(Settings):
    """How useful a release is: students trained on it and on members, tested on the same real images."""

    synthetic: Measured = Field(description="accuracy of students trained on the release")
    real: Measured = Field(description="accuracy of students trained on as many members")
    ratio: Measured | None = Field(description="synthetic / real; None where the students of members are never right")
    chance: float = Field(description="share of the largest class of the test images: the accuracy of a constant")
    recipe: str = Field(description="how every student was trained, in words")
    seeds: int = Field(description="students on each side")
    n_release: int = Field(description="images that a student of the release learns")
    n_real: int = Field(description="images that a student of the members learns")
    labels: Literal["soft", "hard"] = Field(description="what students of the release learn")
    frechet: Frechet | None = Field(description="None: too few images")
    precision: Beside | None = Field(description="share of images that lie among the test images")
    recall: Beside | None = Field(description="share of test images that lie among the images")
    notes: tuple[str, ...]
