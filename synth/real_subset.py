"""The end of the scale where everything is released: members, as they are."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from privaudit.from_members import FromMembers
from privaudit.images import Images


class RealSubset(FromMembers):
    """Members, unchanged: as useful as so many images can be, and without any privacy."""

    name: ClassVar[str] = "real-subset"
    version: ClassVar[int] = 1

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The members themselves."""
        return members.pixels[rows]
