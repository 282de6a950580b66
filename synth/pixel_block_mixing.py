"""Pixel-block mixing: blocks of each member are replaced by the same blocks of others of its class.

Xiang et al. 2021; written from the description of their published program. That one saves every mixed image over its
original, so that later images take blocks of mixed ones: here the sources are pristine, unless `in_place` asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from privaudit.blocks import assembled, grid_of
from privaudit.errors import InputError
from privaudit.from_members import FromMembers
from privaudit.images import Images
from privaudit.synthesizer import Shard


class PixelBlockMixing(FromMembers):
    """Each member with about half of its blocks replaced by the blocks at the same places in others of its class.

    Every pixel of the release is a pixel of a member.
    """

    name: ClassVar[str] = "pixel-block-mixing"
    version: ClassVar[int] = 1

    block_height: int | None = Field(None, ge=1, description="pixels; default: half of the height")
    block_width: int | None = Field(None, ge=1, description="pixels; default: an eighth of the width")
    sources: int = Field(10, ge=2, description="members of its class that an image takes blocks of")
    replacement: float = Field(0.5, ge=0, le=1, description="probability that a block is replaced")
    in_place: bool = Field(
        False, description="blocks are taken of images that were mixed before, as in the published program"
    )

    def shards(self, members: Images) -> Sequence[Shard]:
        """Parts of one class each; whole classes for `in_place`. Raises InputError where a class is too small, and
        where a block is as large as the image.
        """
        labels, counts = np.unique(members.labels, return_counts=True)
        fewest, label = int(counts.min()), int(labels[counts.argmin()])
        if fewest == 1:
            raise InputError(f"Class {label} has a single image, which would be released as it is. Leave it out.")
        if fewest < self.sources:
            raise InputError(
                f"Each image takes blocks of {self.sources} members of its class (sources), and class {label} has "
                f"{fewest}. Choose {fewest} sources or fewer, or leave the class out."
            )
        height, width, _ = members.size
        if (self.block_height or 0) > height or (self.block_width or 0) > width:
            raise InputError(
                f"A block of {self.block_height or self.block(members.size)[0]} x "
                f"{self.block_width or self.block(members.size)[1]} pixels is larger than the images, which have "
                f"{height} x {width}. Choose a smaller block_height or block_width."
            )
        if self.block(members.size) == (height, width):
            raise InputError(
                f"A block of {height} x {width} pixels is the whole image. Choose a smaller block_height or "
                "block_width."
            )
        shards = list(super().shards(members))
        if not self.in_place:
            return shards
        whole: dict[int, int] = {}
        for shard in shards:
            label = int(shard.arguments["label"])
            whole[label] = whole.get(label, 0) + shard.count
        return [Shard(f"class {label} part 0", count, {"label": label, "start": 0}) for label, count in whole.items()]

    def block(self, size: tuple[int, int, int]) -> tuple[int, int]:
        """Height and width of a block in pixels; at the lower and right edge of an image it may be less."""
        height, width, _ = size
        return (
            min(height, self.block_height or max(1, height // 2)),
            min(width, self.block_width or max(1, width // 8)),
        )

    def pixels(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Mixed members."""
        table, block = self.table(rows, members, rng), self.block(members.size)
        if not self.in_place:
            return assembled(members.pixels, table, block)
        pile = members.pixels.copy()
        for row, sources in zip(rows, table, strict=True):
            pile[row] = assembled(pile, sources[None], block)[0]
        return np.asarray(pile[rows])

    def table(self, rows: NDArray[np.int64], members: Images, rng: np.random.Generator) -> NDArray[np.int64]:
        """Whose block stands at each place, rows of the members, [N, blocks down, blocks across]."""
        shape = grid_of(members.size, self.block(members.size))
        same = {label: np.flatnonzero(members.labels == label) for label in np.unique(members.labels[rows])}
        found = np.empty((len(rows), *shape), dtype=np.int64)
        for number, row in enumerate(rows):
            drawn = rng.choice(same[members.labels[row]], self.sources, replace=False)
            replaced = rng.random(shape) < self.replacement
            found[number] = np.where(replaced, drawn[rng.integers(0, self.sources, shape)], row)
        return found
