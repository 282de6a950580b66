"""Filters: each released image is one member, changed."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.filters import blurred, coarse, rounded
from privaudit.from_members import FromMembers
from privaudit.images import Images


class Blur(FromMembers):
    """Each member, blurred by a Gaussian."""

    name: ClassVar[str] = "blur"
    version: ClassVar[int] = 1

    radius: float = Field(2.0, gt=0, description="standard deviation of the Gaussian in pixels")

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Blurred members; the edge goes on outside."""
        return blurred(members.pixels[rows], self.radius)


class Pixelise(FromMembers):
    """Each member, in coarse pixels."""

    name: ClassVar[str] = "pixelise"
    version: ClassVar[int] = 1

    cell: int = Field(4, ge=1, description="side of a coarse pixel in pixels; at the right and lower edge less")

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Each pixel is the mean of its cell."""
        return coarse(members.pixels[rows], self.cell)


class AdditiveNoise(FromMembers):
    """Each member, with Gaussian noise on every pixel. No claim of differential privacy is made."""

    name: ClassVar[str] = "additive-noise"
    version: ClassVar[int] = 1

    level: float = Field(50.0, gt=0, description="standard deviation of the noise in grey values (of 255)")

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Noisy members, cut off at 0 and 255."""
        noise = rng.standard_normal((len(rows), *members.size), dtype=np.float32)
        return rounded(members.pixels[rows] + self.level * noise)
