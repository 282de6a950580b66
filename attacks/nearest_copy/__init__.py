"""Nearest copy: how close is a suspect to its nearest released image, as a whole and in blocks?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit import large_arrays
from privaudit.attack import Context, Evidence, ReleaseAttack, Seen
from privaudit.attacks.nearest_copy import blocks, sources, whole_image
from privaudit.attacks.nearest_copy.detail import detail
from privaudit.attacks.nearest_copy.filters import filtered
from privaudit.attacks.nearest_copy.histograms import histograms
from privaudit.attacks.nearest_copy.low_frequencies import low_frequencies
from privaudit.attacks.nearest_copy.signs import magnitude
from privaudit.attacks.nearest_copy.surprise import surprise
from privaudit.attacks.nearest_copy.views import turned_views, upright_views
from privaudit.images import Images

_Finder = Callable[[NDArray[np.uint8]], NDArray[np.int64]]
"""From suspects to the released images that their blocks come from."""

_WHOLE_SLOPES = (0.1, 0.1, 0.1, 0.02, 0.1, 0.02, 0.1, 0.1)
"""Smallest mean excesses of the measures of whole images, see `surprise`."""

_DOUBT = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)
"""Taken off the surprises of these measures: in light and shade and in pixel values strangers come close, too, and the
largest of more surprises is larger for everybody.
"""

_LOOKED_UP = 256
"""The surest suspects whose blocks are traced to a released image; for the others it would cost too much."""


class NearestCopy(ReleaseAttack):
    """Copies in the release, whole or in blocks, changed or not.

    The attacker holds the released images and a few images of his own from the same source (`reference`). For each
    suspect he takes several measures of closeness: the best correlation with any released image over crops, shifts,
    mirror images and turns, of pixels and of whitened thumbnails, blind to brightness and contrast; the distance to it
    after the blur, or in the coarse pixels, that all released images seem to have; the same correlation of how far
    pixels are from mid-grey, which flipped signs leave alone; the coarsest light and shade, and pixel values wherever
    they stand, which are believed less; and the share of the suspect found in blocks of each size, exactly and nearly.
    He turns each measure into a surprise by its law among his own images and believes the largest one. Without images
    of his own he takes the pile of suspects for that law, which costs power when many are leaked.
    """

    name: ClassVar[str] = "nearest-copy"
    version: ClassVar[int] = 5
    suspects_at_a_time: ClassVar[int] = 2**14
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images and a pile of candidate photographs. He looks for each photograph, "
        "whole or in pieces, mirrored, turned, cropped, shifted, recompressed, recoloured, blurred, made coarse or "
        "mixed with others, among the released images, and judges what is too close by photographs of his own that "
        "were never used."
    )

    block_sizes: tuple[int, ...] = Field((4, 8, 16), description="sides of the blocks looked for, in pixels")

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: the largest surprise over all measures."""
        release = seen.images.pixels
        reference = own.reference.pixels if own.reference is not None and len(own.reference) else None
        pile = suspects.pixels if reference is None else large_arrays.joined([suspects.pixels, reference])
        thorough = own.effort == "thorough"
        upright = whole_image.closeness(pile, release, reference, upright_views(thorough), thorough)
        turned = whole_image.closeness(pile, release, reference, turned_views(own.effort), thorough)
        in_detail = detail(pile, release, reference, (upright.aligned, turned.aligned))
        whole = [
            *(upright.thumbnails, upright.pixels, turned.thumbnails, in_detail),
            filtered(pile, release, reference),
            magnitude(pile, release, reference),
            low_frequencies(pile, release, reference),
            histograms(pile, release),
        ]
        measures = [(measure.values, slope) for measure, slope in zip(whole, _WHOLE_SLOPES, strict=True)]
        finders: list[_Finder] = []
        own.progress("whole images", 0.5)
        for block in self.block_sizes:
            measures.append((blocks.share_found(pile, release, block), 0.05))
            finders.append(partial(sources.exact_source, release=release, block=block))
            if thorough or (block > 4 and own.effort == "standard"):
                measures.append((blocks.likeness(pile, release, block, everywhere=thorough), 0.05))
                finders.append(partial(sources.likely_source, release=release, block=block, everywhere=thorough))
        own.progress("blocks", 1.0)
        count = len(suspects)
        surprises = np.array(
            [
                surprise(values[:count], values if reference is None else values[count:], slope)
                for values, slope in measures
            ],
            dtype=np.float64,
        )
        surprises[: len(whole)] -= np.array(_DOUBT)[:, None]
        scores, winner = surprises.max(axis=0), surprises.argmax(axis=0)
        rows_behind = np.stack([measure.rows[:count] for measure in whole])
        nearest = np.where(winner < len(whole), rows_behind[np.minimum(winner, len(whole) - 1), np.arange(count)], -1)
        surest = np.zeros(count, dtype=np.bool_)
        surest[np.argsort(-scores, kind="stable")[:_LOOKED_UP]] = True
        for place, find in enumerate(finders, len(whole)):
            sought = np.flatnonzero(surest & (winner == place))
            if len(sought):
                nearest[sought] = find(suspects.pixels[sought])
        return Evidence(scores=scores, nearest=nearest)
