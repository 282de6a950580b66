"""Whole images for the small model to be shown: what references hide is taken of public images, so that it sees no
hole.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images
from privaudit.synth.spinml.references import References
from privaudit.synth.spinml.vision import Segmenter, filled, foreground


class Recomposition:
    """References of which one object is shown, each with the other object of some public image of its class.

    A shown foreground stands on a public background, whose own foreground is filled from around it. On a shown
    background, filled in the same way, stands a public foreground.
    """

    def __init__(self, references: References, public: Images, front: bool, segmenter: Segmenter) -> None:
        self.references, self.public, self.front, self.segmenter = references, public, front, segmenter
        self._same = {label: np.flatnonzero(public.labels == label) for label in np.unique(references.labels).tolist()}

    @cached_property
    def _fronts(self) -> NDArray[np.bool_]:
        return foreground(self.public.pixels, self.segmenter)

    def images(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Whole images of these references, uint8 [N, H, W, C]."""
        shown, pixels = self.references.shown[rows], self.references.pixels[rows]
        if shown.all():
            return pixels
        others = np.array([rng.choice(self._same[label]) for label in self.references.labels[rows].tolist()])
        fronts = self._fronts[others]
        if self.front:
            grounds = filled(self.public.pixels[others], fronts)
            return np.where(shown[..., None], pixels, grounds)
        return np.where(fronts[..., None], self.public.pixels[others], filled(pixels, ~shown))
