"""How alike released images are to their nearest members, beside the same for real images that were never used.

neighbours  the nearest member of each image
measures    SSIM and PSNR
perceptual  LPIPS on a backbone from the local weight store
laws        the law of a statistic, and the place of the release in that of the controls

These statistics are evidence of copying, never proof of anonymity: people's judgement of privacy and these numbers
agree weakly (Sun et al. 2023, arXiv 2309.13038). A number alone says nothing, since plain images are alike anyway: it
is always read beside that of held-out controls, paired with the same members in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.record import Estimate
from privaudit.similarity import measures, perceptual
from privaudit.similarity.laws import Law, law, place
from privaudit.similarity.neighbours import Pairs, nearest_members

if TYPE_CHECKING:
    import torch

Statistic = Literal["ssim", "psnr", "lpips"]
Measure = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]

NO_WEIGHTS = (
    "not assessed: run `privaudit weights add FILE` "
    "(FILE: squeezenet1_1-features.safetensors, or torchvision's own weights of squeezenet1_1, alexnet or vgg16)"
)

_PIXELS_PER_BATCH, _PAIRS_PER_BATCH = 2**19, 256


@dataclass(frozen=True, eq=False)
class Compared:
    """One statistic of the release's pairs beside that of the controls' pairs.

    name: the statistic with its parameters. lower_is_closer: whether low values mean alike (LPIPS) or high ones.
    release, controls: float64, one value per pair, in the order of `Similarities.release` and `.controls`.
    place: of the release's median in the law of the controls (see `laws.place`).
    """

    name: str
    lower_is_closer: bool
    release: NDArray[np.float64]
    controls: NDArray[np.float64]
    place: Estimate

    @property
    def release_law(self) -> Law:
        """Law of the release's pairs."""
        return law(self.release, self.lower_is_closer)

    @property
    def controls_law(self) -> Law:
        """Law of the controls' pairs. Extremes of the two are comparable where their n are equal."""
        return law(self.controls, self.lower_is_closer)


@dataclass(frozen=True, eq=False)
class Similarities:
    """What `similarity` found.

    release, controls: the pairs looked at; None where nothing could be compared.
    compared: by statistic; None: not assessed, for the reason in `not_assessed`.
    looked_at: in a sentence, which images were paired. weights_sha256: of the backbone's file, None without LPIPS.
    """

    release: Pairs | None
    controls: Pairs | None
    compared: Mapping[Statistic, Compared | None]
    not_assessed: Mapping[Statistic, str]
    looked_at: str
    weights_sha256: str | None


def similarity(
    release: Images,
    members: Images,
    controls: Images,
    weights: Path | None,
    rng: np.random.Generator,
    limit: int = 2000,
) -> Similarities:
    """SSIM, PSNR and LPIPS of released images and of controls, each with its L2-nearest member.

    At most `limit` released images, and no more controls than these, are drawn by `rng`. weights: folder of the
    weight store (`privaudit.weights`); None or without a backbone: LPIPS is not assessed.
    Not assessed at all without controls, or where the three do not have one image size.
    Raises InputError without released images or members, and for damaged weights.
    """
    if not (len(release) and len(members)) or limit < 1:
        raise InputError(
            f"Similarity needs released images, members and a limit of at least 1; found {len(release)}, "
            f"{len(members)} and {limit}."
        )
    sizes = [images.size for images in (release, members, controls)]
    if not len(controls):
        return _nothing("not assessed: there are no controls to compare with")
    if len(set(sizes)) != 1:
        text = ", ".join(" x ".join(map(str, size)) for size in sizes)
        return _nothing(f"not assessed: released images, members and controls differ in size ({text})")
    released_rows = _sample(len(release), limit, rng)
    control_rows = _sample(len(controls), len(released_rows), rng)
    released_pairs = nearest_members(release, released_rows, members)
    control_pairs = nearest_members(controls, control_rows, members)

    def compare(name: str, measure: Measure, lower_is_closer: bool = False) -> Compared:
        mine = _values(measure, release, released_pairs, members)
        others = _values(measure, controls, control_pairs, members)
        return Compared(name, lower_is_closer, mine, others, place(mine, others, lower_is_closer, len(members)))

    height, width, _ = release.size
    compared: dict[Statistic, Compared | None] = {"ssim": None, "psnr": None, "lpips": None}
    reasons: dict[Statistic, str] = {}
    if min(height, width) >= measures.SMALLEST_SIDE:
        compared["ssim"] = compare(measures.ssim_name(height, width), measures.ssim)
    else:
        reasons["ssim"] = f"not assessed: images have sides below {measures.SMALLEST_SIDE} pixels"
    compared["psnr"] = compare(measures.psnr_name(), measures.psnr)
    backbone = None if weights is None else perceptual.load_backbone(weights)
    if backbone is None:
        reasons["lpips"] = NO_WEIGHTS
    else:
        eyes = backbone
        compared["lpips"] = compare(
            perceptual.lpips_name(eyes, height, width), lambda a, b: perceptual.lpips_distance(a, b, eyes), True
        )
    return Similarities(
        released_pairs,
        control_pairs,
        compared,
        reasons,
        f"{_drawn(len(released_rows), len(release), 'released images')} and "
        f"{_drawn(len(control_rows), len(controls), 'controls')}, each with its nearest of {len(members):,} members",
        None if backbone is None else backbone.stored.sha256,
    )


def _nothing(reason: str) -> Similarities:
    statistics: tuple[Statistic, ...] = ("ssim", "psnr", "lpips")
    return Similarities(
        None, None, dict.fromkeys(statistics), dict.fromkeys(statistics, reason), "no images were paired", None
    )


def _sample(count: int, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """All rows, or as many as the limit, drawn without replacement; rising."""
    if count <= limit:
        return np.arange(count)
    return np.sort(rng.choice(count, limit, replace=False))


def _drawn(used: int, count: int, what: str) -> str:
    return f"all {count:,} {what}" if used == count else f"{used:,} of {count:,} {what} (drawn by seed)"


def _values(measure: Measure, images: Images, pairs: Pairs, members: Images) -> NDArray[np.float64]:
    """The measure of every pair, float64 [n]; a batch at a time, of a size that depends on the image size alone."""
    height, width, _ = images.size
    size = max(1, min(_PAIRS_PER_BATCH, _PIXELS_PER_BATCH // (height * width)))
    parts = []
    for start in range(0, len(pairs), size):
        here = slice(start, start + size)
        (first,), (second,) = (
            images.take(pairs.rows[here]).batches(size),
            members.take(pairs.nearest[here]).batches(size),
        )
        parts.append(measure(first, second).double().numpy())
    return np.concatenate(parts)
