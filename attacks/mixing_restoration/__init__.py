"""Restoring a release of mixed blocks: which blocks belong together, and whose images come out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.attack import Assembly, Context, Evidence, ReleaseAttack, Seen
from privaudit.attacks.mixing_restoration.grid import block_size
from privaudit.attacks.mixing_restoration.matching import share_matched
from privaudit.attacks.mixing_restoration.restoration import restored
from privaudit.attribution import own_blocks
from privaudit.blocks import Block, assembled
from privaudit.closeness import closeness
from privaudit.images import Images
from privaudit.release import Release

_SOURCES = 10
_TRUTH = "own blocks"


class MixingRestoration(ReleaseAttack):
    """Undoing pixel-block mixing.

    The attacker holds the release, knows the scheme, and has images of his own from the same source (`reference`). He
    reads the grid off the release: where regions that two images have in common end. On his own images he learns how
    blocks of one image fit along a seam. Then he asks, class by class, whose every block is: each image has one block
    at each place, the block that stands there or one of those at the same place in other images, and a block that is
    not plain belongs to one image only. Beliefs about neighbouring places are passed on until they agree.
    Each image is put together of the blocks most likely its own, and a suspect is scored by the share of its blocks
    that stand in one of these images. Scheme: Xiang et al. 2021 (arXiv 2105.08876), who call restoration
    computationally challenging.
    """

    name: ClassVar[str] = "mixing-restoration"
    version: ClassVar[int] = 1
    threat_model: ClassVar[str] = (
        "An outsider who holds the released images, which were mixed of blocks of the originals, and images of his own "
        "from the same source. He sorts out which blocks belong together, as with jigsaw puzzles that fell into one "
        "box, and compares what comes out with candidate photographs."
    )

    engine: str = Field("pixel-block-mixing", description="name of the installed engine that mixes blocks")
    block_height: int | None = Field(None, ge=1, description="pixels; default: read off the release")
    block_width: int | None = Field(None, ge=1, description="pixels; default: read off the release")
    replacement: float = Field(0.5, gt=0, lt=1, description="share of the blocks that the engine replaces")

    def bound_to(self, release: Release) -> MixingRestoration | None:
        """With the size of the blocks, unless it is given; None where the release shows none."""
        block = self._block(release.images)
        if block is None or block == release.images.size[:2]:
            return None
        return self.model_copy(update={"block_height": block[0], "block_width": block[1]})

    def engine_run(self, images: Images) -> tuple[Mapping[str, Any], Images]:
        """The same blocks, ten sources, or as many as the largest class allows; classes with fewer images left out."""
        labels, counts = np.unique(images.labels, return_counts=True)
        sources = min(_SOURCES, int(counts.max(initial=1)))
        settings = {
            "block_height": self.block_height,
            "block_width": self.block_width,
            "replacement": self.replacement,
            "sources": sources,
        }
        return settings, images.take(np.flatnonzero(np.isin(images.labels, labels[counts >= sources])))

    def told(self, seen: Seen, sources: Images) -> Seen:
        """With the released image that has the right block, for every image at every place."""
        block = self._block(seen.images)
        return seen if block is None else Seen({**seen.arrays, _TRUTH: own_blocks(seen.images, sources, block)})

    def _block(self, images: Images) -> Block | None:
        """The size of the blocks; None where none is given and the images show no grid."""
        given = self.block_height, self.block_width
        found = block_size(images) if None in given else None
        if None in given and found is None:
            return None
        height, width = (one or other for one, other in zip(given, found or (1, 1), strict=True))
        return min(images.size[0], height), min(images.size[1], width)

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        """Score: share of a suspect's blocks in one image that was put together; no opinion without a grid of blocks.

        Raises InputError without images of the attacker's own.
        """
        released, reference = seen.images, own.own_images(self.name)
        block = self._block(released)
        if block is None:
            return Evidence(scores=np.full(len(suspects), np.nan))
        start, pixels = self._assembled(seen, reference, block, own)
        images = Images(pixels, released.labels[start])
        share, nearest = share_matched(suspects, images, reference, block)
        # Of suspects of whom no block stands anywhere, the closeness of all pixels decides, which is then below 0.
        score = np.where(share > 0, share, np.tanh(closeness(suspects, images, reference)) - 1)
        found = np.where(nearest >= 0, start[nearest], -1)
        return Evidence(scores=score, nearest=found, assembly=Assembly(images, start, block))

    def _assembled(
        self, seen: Seen, reference: Images, block: Block, own: Context
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Rows of the released images, and what each of them is restored to."""
        released, truth = seen.images, seen.arrays.get(_TRUTH)
        start, pixels, done = [], [], 0
        for rows, source in restored(released, reference, block, self.replacement, own.generator):
            if truth is not None:
                source = np.where(truth[rows] >= 0, truth[rows], source)
            start.append(rows)
            pixels.append(assembled(released.pixels, source, block))
            done += len(rows)
            own.progress("restoring", done / len(released))
        return np.concatenate(start), np.concatenate(pixels)
