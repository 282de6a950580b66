"""Nearest members: exact, the first of equals, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from similarity_examples import source

from privaudit import pixel_distances
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.similarity.neighbours import nearest_members


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32), levels=st.sampled_from([2, 256]), blocks=st.booleans())
def test_neighbours_are_those_of_brute_force(seed: int, levels: int, blocks: bool) -> None:
    """Two levels make many ties: the first of the nearest members wins."""
    rng = np.random.default_rng(seed)
    shape = (*rng.integers(1, 4, 2), rng.choice([1, 3]))

    def some(count: int) -> Images:
        pixels = (rng.integers(0, levels, (count, *shape)) * (255 // (levels - 1))).astype(np.uint8)
        return Images(pixels, np.zeros(count, dtype=np.int64))

    images, members = some(int(rng.integers(1, 20))), some(int(rng.integers(1, 30)))
    rows = np.sort(rng.choice(len(images), int(rng.integers(1, len(images) + 1)), replace=False))
    with pytest.MonkeyPatch.context() as patch:
        if blocks:
            patch.setattr(pixel_distances, "_QUERY_ROWS", 3)
            patch.setattr(pixel_distances, "_OTHER_ROWS", 4)
        pairs = nearest_members(images, rows, members)
    difference = images.pixels[rows, None].astype(np.float64) - members.pixels[None].astype(np.float64)
    squared = (difference**2).sum((2, 3, 4))
    assert np.array_equal(pairs.rows, rows)
    assert np.array_equal(pairs.nearest, squared.argmin(1))
    np.testing.assert_allclose(pairs.distance, np.sqrt(squared.min(1) / np.prod(shape)) / 255, rtol=1e-12)


def test_neighbours_where_float32_would_guess() -> None:
    """Members one grey level apart in one pixel of 12,288: their distances differ by less than float32 can hold."""
    pixels = np.full((4, 64, 64, 3), 255, dtype=np.uint8)
    pixels[[0, 2, 3], 5, 5, 0] = [254, 253, 254]
    query = Images(np.zeros((1, 64, 64, 3), dtype=np.uint8), np.zeros(1, dtype=np.int64))
    for order in ([0, 1, 2, 3], [2, 1, 0, 3], [1, 3, 0, 2]):
        members = Images(pixels[order], np.zeros(4, dtype=np.int64))
        assert nearest_members(query, np.arange(1), members).nearest.tolist() == [order.index(2)]


def test_neighbours_of_other_sizes_or_without_members_are_refused() -> None:
    images = source(3, 0)
    for members in (source(3, 0, side=8), images.take(slice(0, 0))):
        with pytest.raises(InputError, match="members of the images' size"):
            nearest_members(images, np.arange(3), members)
