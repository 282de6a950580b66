"""Exact distances of pixels, however they are computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from privaudit import pixel_distances
from privaudit.errors import InputError
from privaudit.pixel_distances import nearest, squared_distances


def plainly(queries: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.int64]:
    differences = queries[:, None].astype(np.int64) - others[None].astype(np.int64)
    return np.asarray((differences**2).reshape(len(queries), len(others), -1).sum(2))


@st.composite
def two_piles(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from((1, 3))))
    values = st.sampled_from((0, 1, 127, 128, 254, 255)) | st.integers(0, 255)
    return tuple(  # type: ignore[return-value]
        draw(arrays.arrays(np.uint8, (draw(st.integers(1, 9)), *shape), elements=values)) for _ in range(2)
    )


@pytest.mark.parametrize("fast", [True, False])
@settings(deadline=None)
@given(two_piles())
def test_as_by_hand(fast: bool, piles: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_distances, "_has_fast_integers", lambda: fast)
        patch.setattr(pixel_distances, "_QUERY_ROWS", 2)
        patch.setattr(pixel_distances, "_OTHER_ROWS", 3)
        found, all_of_them = nearest(*piles), squared_distances(*piles)
    right = plainly(*piles)
    np.testing.assert_array_equal(all_of_them, right)
    np.testing.assert_array_equal(found.squared, right.min(1))
    np.testing.assert_array_equal(found.rows, right.argmin(1))  # the first of equals


@pytest.mark.parametrize("fast", [True, False])
def test_large_images_do_not_overflow(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Black beside white at 240 x 240 in colour: 172,800 values, and a distance beyond 32 bits."""
    monkeypatch.setattr(pixel_distances, "_has_fast_integers", lambda: fast)
    piles = [np.full((1, 240, 240, 3), value, dtype=np.uint8) for value in (0, 255, 254)]
    others = np.concatenate(piles[1:])
    assert squared_distances(piles[0], others).tolist() == [[172_800 * 255**2, 172_800 * 254**2]]
    assert nearest(piles[0], others).rows.tolist() == [1]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_equal_images_are_at_distance_0(seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
    found = nearest(pixels[::-1], pixels)
    assert found.rows.tolist() == list(range(19, -1, -1))
    assert not found.squared.any()


def test_memory_maps_are_read_in_blocks(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    np.testing.assert_array_equal(nearest(mapped[:7], mapped).rows, np.arange(7))


def test_sizes_must_agree() -> None:
    pile = np.zeros((2, 4, 4, 1), dtype=np.uint8)
    for others in (np.zeros((2, 4, 5, 1), dtype=np.uint8), pile[:0]):
        with pytest.raises(InputError, match="of one size"):
            nearest(pile, others)
