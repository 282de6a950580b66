"""Pixel-block mixing: whose block stands where, pristine sources and mixed ones, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from test_from_members import SEED, piles, released, targets

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.synth.pixel_block_mixing import PixelBlockMixing


def tables(engine: PixelBlockMixing, members: Images) -> NDArray[np.int64]:
    parts = [
        engine.table(engine.targets(shard, members, SEED), members, engine.generator(shard, SEED))
        for shard in engine.shards(members)
    ]
    return np.concatenate(parts)


@pytest.mark.parametrize("block", [{}, {"block_height": 3, "block_width": 5}, {"block_height": 8, "block_width": 1}])
def test_every_block_is_that_of_the_member_in_the_table(block: dict[str, int]) -> None:
    """8 x 8 pixels: 4 x 1 blocks by default; blocks of 3 x 5 are cut at the lower and right edge."""
    engine, members = PixelBlockMixing(sources=4, **block), piles()
    release, found = released(engine, members).images, tables(engine, members)
    height, width = engine.block(members.size)
    assert (height, width) == (block.get("block_height", 4), block.get("block_width", 1))
    for place, sources in enumerate(found):
        for row in range(8):
            for column in range(8):
                source = sources[row // height, column // width]
                assert members.labels[source] == release.labels[place]
                np.testing.assert_array_equal(release.pixels[place, row, column], members.pixels[source, row, column])


def test_blocks_are_replaced_as_often_as_asked_by_few_members() -> None:
    """A replaced block is the target's own where it was drawn among its sources: of 4 of 10 members, every tenth."""
    engine, members = PixelBlockMixing(sources=4, block_height=1, block_width=1), piles()
    found, rows = tables(engine, members), targets(engine, members)
    others = [set(np.unique(sources).tolist()) - {row} for row, sources in zip(rows.tolist(), found, strict=True)]
    assert {len(some) for some in others} <= {3, 4}
    assert (found != rows[:, None, None]).mean() == pytest.approx(0.5 * 0.9, abs=0.04)
    never = tables(engine.model_copy(update={"replacement": 0.0}), members)
    assert (never == rows[:, None, None]).all()


def test_in_place_later_images_take_blocks_of_mixed_ones() -> None:
    """Three images of one class, flat at 0, 100 and 200, every block replaced: replayed by hand."""
    members = Images(
        np.array([0, 100, 200], np.uint8)[:, None, None, None] + np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int64)
    )
    engine = PixelBlockMixing(sources=3, replacement=1.0, block_height=2, block_width=2, in_place=True)
    (shard,) = engine.shards(members)
    table = engine.table(engine.targets(shard, members, SEED), members, engine.generator(shard, SEED))
    now = members.pixels.copy()
    expected = []
    for row, sources in zip(targets(engine, members), table, strict=True):
        new = now[row].copy()
        for (down, across), source in np.ndenumerate(sources):
            new[2 * down : 2 * down + 2, 2 * across : 2 * across + 2] = now[
                source, 2 * down : 2 * down + 2, 2 * across : 2 * across + 2
            ]
        now[row] = new
        expected.append(new)
    found = released(engine, members).images.pixels
    np.testing.assert_array_equal(found, np.stack(expected))
    pristine = released(engine.model_copy(update={"in_place": False}), members).images.pixels
    np.testing.assert_array_equal(pristine[0], found[0])
    assert not np.array_equal(pristine, found)


def test_the_published_blocks() -> None:
    """192 x 192 pixels: 16 blocks of 96 x 24."""
    members = Images(np.zeros((10, 192, 192, 3), np.uint8), np.zeros(10, np.int64))
    assert PixelBlockMixing().block(members.size) == (96, 24)
    assert tables(PixelBlockMixing(), members).shape == (10, 2, 8)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "Each image takes blocks of 10 members of its class .* class 0 has 5. Choose 5 sources or fewer"),
        ({"sources": 2, "block_height": 8, "block_width": 8}, "A block of 8 x 8 pixels is the whole image"),
        ({"sources": 2, "block_height": 99}, "A block of 99 x 1 pixels is larger than the images, which have 8 x 8"),
    ],
)
def test_what_cannot_be_mixed_is_told(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        PixelBlockMixing(**settings).shards(piles(15))


def test_a_single_image_of_a_class_is_not_released_as_it_is() -> None:
    members = piles()
    lonely = Images(members.pixels, np.where(np.arange(len(members)) == 3, 77, members.labels))
    with pytest.raises(InputError, match="Class 77 has a single image, which would be released as it is"):
        PixelBlockMixing(sources=2).shards(lonely)
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        PixelBlockMixing(sources=1)
