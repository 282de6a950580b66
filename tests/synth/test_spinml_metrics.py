"""MI and SIM on cases that can be worked out, and against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mutual_info_score
from sklearn.metrics.pairwise import cosine_similarity

from privaudit.errors import InputError
from privaudit.synth.spinml.metrics import mutual_information, mutual_information_within, shuffled, similarity


def pictures(count: int = 3, side: int = 8, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


def test_an_image_tells_all_of_itself_and_nothing_tells_nothing() -> None:
    raw = pictures()
    assert mutual_information(raw, raw, raw) == pytest.approx(1)
    assert mutual_information(np.zeros_like(raw), raw, raw) == pytest.approx(0)
    assert mutual_information(np.full_like(raw, 255), raw, raw) == pytest.approx(0)


def test_it_is_that_of_scikit_learn_on_the_canvas() -> None:
    """At 512 pixels nothing is enlarged, so that the canvas is the image."""
    raw, other = pictures(1, 512, 1, seed=1), pictures(1, 512, 1, seed=2) // 64
    mixed = np.where(np.arange(512)[None, :, None, None] < 200, raw, other)
    found = mutual_information(mixed, raw, raw)
    expected = mutual_info_score(mixed.ravel(), raw.ravel()) / mutual_info_score(raw.ravel(), raw.ravel())
    assert found == pytest.approx(expected)


def test_half_of_the_values_are_half_of_the_information() -> None:
    """Two equally likely values for two bits: which half a pixel is in is one bit of the two."""
    raw = np.repeat(np.array([0, 80, 160, 240], np.uint8), 512 * 128).reshape(1, 512, 512, 1)
    halves = (raw // 160).astype(np.uint8)
    assert mutual_information(halves, raw, raw) == pytest.approx(0.5)


def test_images_are_centred_and_keep_their_proportions() -> None:
    """A bright wide image: a half of the canvas is black, and black or not is all there is to know."""
    raw = np.full((1, 4, 8, 1), 200, np.uint8)
    assert mutual_information(raw, raw, raw) == pytest.approx(1)
    square = np.full((1, 4, 4, 1), 200, np.uint8)
    assert np.isnan(mutual_information(square, square, square))[
        0
    ]  # one value fills the canvas: there is nothing to know


def test_within_a_mask_the_black_around_does_not_count() -> None:
    raw = pictures(2)
    mask = np.zeros((2, 8, 8), bool)
    mask[0, 2:5, 2:5] = True
    shared = raw * mask[..., None]
    found = mutual_information_within(shared, raw, mask)
    assert found[0] == pytest.approx(1)
    assert np.isnan(found[1])
    hidden = mutual_information_within(np.zeros_like(raw), raw, mask)
    assert hidden[0] == pytest.approx(0)
    assert mutual_information(np.zeros_like(raw), raw * mask[..., None], raw)[0] == pytest.approx(0)


def test_what_shuffled_pixels_tell_is_chance() -> None:
    """Independent noise tells much of a small mask, and no more than its own pixels in another order."""
    raw, noise, mask = pictures(20, 16, 1, 1), pictures(20, 16, 1, 2), np.ones((20, 16, 16), bool)
    told = mutual_information_within(noise, raw, mask).mean()
    mixed = shuffled(noise, mask, np.random.default_rng(0))
    assert told > 0.5
    assert mutual_information_within(mixed, raw, mask).mean() == pytest.approx(told, abs=0.02)
    np.testing.assert_array_equal(np.sort(mixed, axis=None), np.sort(noise, axis=None))
    some = mask.copy()
    some[:, :8] = False
    np.testing.assert_array_equal(shuffled(noise, some, np.random.default_rng(0))[:, :8], noise[:, :8])


def test_similarity_is_the_mean_of_all_cosines() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.normal(size=(5, 7)), rng.normal(size=(4, 7))
    assert similarity(first, second) == pytest.approx(cosine_similarity(first, second).mean())
    assert similarity(first, 3 * first[:1]) == pytest.approx(cosine_similarity(first, first[:1]).mean())
    assert similarity(np.eye(2), np.eye(2)) == pytest.approx(0.5)


def test_features_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(InputError, match="found 3 and 4 numbers"):
        similarity(np.ones((1, 3)), np.ones((1, 4)))
    with pytest.raises(InputError, match="1 images have no features"):
        similarity(np.array([[0.0, 0.0], [1.0, 0.0]]), np.ones((1, 2)))
