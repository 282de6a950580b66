"""Whole images for the small model to be shown: what references hide is taken of public images, so that it sees no
hole, and the outline of a hidden object is in none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images
from privaudit.synth.spinml.references import References
from privaudit.synth.spinml.vision import Segmenter, foreground, opencv

_RADIUS = 3
"""Pixels around a hole that it is filled from."""


class Recomposition:
    """References of which one object is shown, each with the other object of some public image of its class.

    A shown foreground stands on a public background, whose own foreground is filled from around it (Bertalmio et al.,
    2001, DOI 10.1109/CVPR.2001.990497). On a shown background, filled in the same way, stands a public foreground.
    """

    def __init__(self, references: References, public: Images, front: bool, segmenter: Segmenter) -> None:
        self.references, self.public, self.front = references, public, front
        self._fronts = foreground(public.pixels, segmenter)
        self._same = {label: np.flatnonzero(public.labels == label) for label in np.unique(references.labels).tolist()}

    def images(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Whole images of these references, uint8 [N, H, W, C]."""
        shown, pixels = self.references.shown[rows], self.references.pixels[rows]
        if shown.all():
            return pixels
        others = np.array([rng.choice(self._same[label]) for label in self.references.labels[rows].tolist()])
        fronts = self._fronts[others]
        if self.front:
            grounds = _filled(self.public.pixels[others], fronts)
            return np.where(shown[..., None], pixels, grounds)
        return np.where(fronts[..., None], self.public.pixels[others], _filled(pixels, ~shown))


def _filled(pixels: NDArray[np.uint8], holes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    cv2 = opencv()
    emptied = pixels * ~holes[..., None]  # OpenCV reads some of what stands in a hole
    both = zip(emptied, holes.astype(np.uint8), strict=True)
    found = [cv2.inpaint(image, hole, _RADIUS, cv2.INPAINT_NS) for image, hole in both]
    return np.array(found, dtype=np.uint8).reshape(pixels.shape)
