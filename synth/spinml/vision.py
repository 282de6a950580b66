"""What OpenCV does for the engine: edges, and a foreground where nobody gave a mask."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.data.optional import optional

Segmenter = Literal["grabcut", "otsu"]

_WEAK, _STRONG = 100, 200
"""Canny's thresholds in the published program."""

_RADIUS = 3
"""Pixels around a hole that it is filled from."""

_MARGIN = 0.1
"""Share of each side that GrabCut takes for background to begin with."""


def opencv() -> Any:
    """The library. Raises InputError where it is not installed."""
    found = optional("cv2", "diffusion", "spinml")
    found.setNumThreads(1)
    return found


def edges(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Canny's edges of the grey images, bool [N, H, W], of uint8 [N, H, W, C] (DOI 10.1109/TPAMI.1986.4767851)."""
    cv2 = opencv()
    return np.array([cv2.Canny(_grey(cv2, image), _WEAK, _STRONG) > 0 for image in pixels]).reshape(pixels.shape[:3])


def foreground(pixels: NDArray[np.uint8], segmenter: Segmenter) -> NDArray[np.bool_]:
    """What of each image is foreground, [N, H, W].

    otsu: one of the two sides of Otsu's threshold of the grey values (1979, DOI 10.1109/TSMC.1979.4310076), that which
    has the smaller share of the border. grabcut: what is unlike the border (Rother, Kolmogorov, Blake 2004,
    DOI 10.1145/1015706.1015720); the inner rectangle where it finds nothing.
    """
    cv2 = opencv()
    method = {"otsu": _otsu, "grabcut": _grabcut}[segmenter]
    return np.array([method(cv2, image) for image in pixels]).reshape(pixels.shape[:3])


def filled(pixels: NDArray[np.uint8], holes: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The images with holes [N, H, W] filled from around them (Bertalmio et al. 2001, DOI 10.1109/CVPR.2001.990497).
    What stood there has no part in it; an image that is all hole is black.
    """
    cv2 = opencv()
    both = zip(pixels * ~holes[..., None], holes.astype(np.uint8), strict=True)
    found = [cv2.inpaint(image, hole, _RADIUS, cv2.INPAINT_NS) for image, hole in both]
    return np.array(found, dtype=np.uint8).reshape(pixels.shape)


def near(where: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """What lies within so many pixels of it, and itself; [N, H, W]."""
    cv2 = opencv()
    around = np.ones((2 * distance + 1, 2 * distance + 1), np.uint8)
    return np.array([cv2.dilate(one.astype(np.uint8), around) > 0 for one in where]).reshape(where.shape)


def boxes(where: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The upright box around it, [N, H, W]; nothing around nothing."""
    found = np.zeros_like(where)
    for box, one in zip(found, where, strict=True):
        down, across = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        if len(down):
            box[down[0] : down[-1] + 1, across[0] : across[-1] + 1] = True
    return found


def _grey(cv2: Any, image: NDArray[np.uint8]) -> Any:
    return np.ascontiguousarray(image[..., 0]) if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _otsu(cv2: Any, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    _, found = cv2.threshold(_grey(cv2, image), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = np.asarray(found) > 0
    border = np.concatenate([bright[0], bright[-1], bright[1:-1, 0], bright[1:-1, -1]])
    return np.asarray(~bright if border.mean() > 0.5 else bright)


def _grabcut(cv2: Any, image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    height, width = image.shape[:2]
    down, across = max(1, round(_MARGIN * height)), max(1, round(_MARGIN * width))
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[down : height - down, across : width - across] = cv2.GC_PR_FGD
    inner = labels == cv2.GC_PR_FGD
    coloured = np.ascontiguousarray(image if image.shape[2] == 3 else image.repeat(3, 2))
    if not inner.any() or len(np.unique(coloured.reshape(-1, 3), axis=0)) < 2:
        return np.asarray(inner)
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(coloured, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return np.asarray(inner)
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return np.asarray(found if found.any() else inner)
