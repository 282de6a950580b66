"""The two privacy metrics of SpinML (Zhang, Sequeira, Psounis, PoPETs 2025(2)): what sanitised images tell of the raw
ones (MI), and how alike synthetic and raw images are (SIM). Both describe; neither proves that nothing was copied.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from privaudit.errors import InputError

CANVAS = 512
"""Side of the black canvas, in pixels, on which images are compared."""


def mutual_information(
    shared: NDArray[np.uint8], objects: NDArray[np.uint8], whole: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """MI of each sanitised image with an object of its raw one, as a share of the raw image's entropy, float64 [N].

    All uint8 [N, H, W, C]: `shared`, what was sent; `objects`, the raw object on black (foreground or background);
    `whole`, the raw image. Each is enlarged to a black canvas of 512 pixels, without changing its proportions; values
    of all channels are counted in a joint histogram of 256 x 256 bins. 0 to 1; NaN where a raw image is of one value.
    """
    return np.array(
        [
            _ratio(_information(_on_canvas(sent), _on_canvas(part)), _entropy(_on_canvas(raw)))
            for sent, part, raw in zip(shared, objects, whole, strict=True)
        ]
    )


def mutual_information_within(
    shared: NDArray[np.uint8], whole: NDArray[np.uint8], masks: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The same inside a mask [N, H, W] alone, at the images' own size: no black counts that both have around it. As a
    share of the entropy of the raw pixels there; NaN where there are none, or all are equal.

    A few hundred pixels in 256 x 256 bins share much by chance: compare with `shuffled` images.
    """
    found = []
    for sent, raw, mask in zip(shared, whole, masks, strict=True):
        inside, real = sent[mask].ravel(), raw[mask].ravel()
        found.append(_ratio(_information(inside, real), _entropy(real)) if len(real) else np.nan)
    return np.array(found)


def shuffled(shared: NDArray[np.uint8], masks: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The sanitised images with the pixels inside their masks in random order: they tell by chance what they tell."""
    found = shared.copy()
    for image, mask in zip(found, masks, strict=True):
        image[mask] = rng.permutation(image[mask])
    return found


def similarity(synthetic: NDArray[np.floating], real: NDArray[np.floating]) -> float:
    """SIM: the mean cosine over all pairs of a synthetic and a real image, of features [N, D] and [M, D]; -1 to 1.

    The encoder belongs to the figure. Two strangers' images are alike too, in most encoders more than half, so that
    only the distance to a floor tells: the SIM of images made of the classes alone, or of other real images.
    Raises InputError where features have different lengths, or some are zero.
    """
    if synthetic.shape[1] != real.shape[1]:
        raise InputError(f"Features of one encoder are needed; found {synthetic.shape[1]} and {real.shape[1]} numbers.")
    # the mean of all cosines is the cosine product of the two mean directions
    return float(_directions(synthetic).mean(axis=0) @ _directions(real).mean(axis=0))


def _directions(features: NDArray[np.floating]) -> NDArray[np.float64]:
    found = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.all(lengths > 0):
        raise InputError(f"{int((~(lengths > 0)).sum()):,} images have no features, or features of length zero.")
    return np.asarray(found / lengths)


def _on_canvas(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    coloured = Image.fromarray(image if image.shape[2] == 3 else image[..., 0]).convert("RGB")
    scale = CANVAS / max(coloured.size)
    width, height = (max(1, int(side * scale)) for side in coloured.size)
    canvas = Image.new("RGB", (CANVAS, CANVAS))
    canvas.paste(coloured.resize((width, height)), ((CANVAS - width) // 2, (CANVAS - height) // 2))
    return np.asarray(canvas).ravel()


def _information(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """In nats."""
    joint = np.bincount(first.astype(np.int64) * 256 + second, minlength=65_536).reshape(256, 256) / max(1, len(first))
    apart = np.outer(joint.sum(1), joint.sum(0))
    there = joint > 0
    return float((joint[there] * np.log(joint[there] / apart[there])).sum())


def _entropy(values: NDArray[np.uint8]) -> float:
    return _information(values, values)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
