"""An attack on a release: how near does the nearest released image come, pixel by pixel?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from privaudit.attack import Context, Evidence, ReleaseAttack, Seen
from privaudit.images import Images


class PixelDistance(ReleaseAttack):
    """Minus the distance of each suspect to its nearest released image."""

    name: ClassVar[str] = "pixel-distance"
    version: ClassVar[int] = 1
    threat_model: ClassVar[str] = "An outsider who holds the released images and compares them pixel by pixel."

    power: float = Field(default=1.0, gt=0, description="differences of pixels are raised to this power")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Higher scores for suspects that are surer to have been used."""
        released = seen.images.pixels.astype(np.float64)
        gaps = (np.abs(released - suspect) ** self.power for suspect in suspects.pixels)
        return Evidence(scores=np.array([-gap.mean(axis=(1, 2, 3)).min() for gap in gaps]))
