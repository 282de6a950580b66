"""nearest-copy: finds changed copies and pieces of members, and nothing among strangers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from privaudit.attack import Context, Effort, Seen
from privaudit.attacks.nearest_copy import NearestCopy
from privaudit.attacks.nearest_copy.blocks import likeness, share_found, stride_of
from privaudit.attacks.nearest_copy.detail import detail
from privaudit.attacks.nearest_copy.sources import exact_source, likely_source
from privaudit.attacks.nearest_copy.spectrum import cosines, fitted, planes, projection
from privaudit.attacks.nearest_copy.surprise import surprise
from privaudit.attacks.nearest_copy.views import View, as_floats, through, turned_views, upright_views
from privaudit.attacks.nearest_copy.whole_image import Measure, closeness
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.plants import KINDS

Change = Callable[[np.ndarray, Images, np.random.Generator], np.ndarray]


def random_images(count: int, seed: int, height: int = 16, width: int = 16, channels: int = 1) -> Images:
    """Smooth random pictures: coarse noise, enlarged."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 2 + 1, width // 2 + 1, channels), dtype=np.uint8)
    pixels = coarse.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
    return Images(np.ascontiguousarray(pixels), np.zeros(count, np.int64))


def scores(
    release: Images, suspects: Images, reference: Images | None, effort: Effort = "standard", seed: int = 0
) -> np.ndarray:
    own = Context(np.random.default_rng(seed), effort=effort, reference=reference)
    found = NearestCopy().attack(Seen({"pixels": release.pixels, "labels": release.labels}), suspects, own).scores
    assert found is not None
    assert found.dtype == np.float64
    assert found.shape == (len(suspects),)
    assert np.isfinite(found).all()
    return found


def apply(kind: str, images: Images, strangers: Images) -> Images:
    rng = np.random.default_rng(1)
    return Images(np.stack([KINDS[kind](image, strangers, rng) for image in images.pixels]), images.labels)


@pytest.mark.parametrize(
    "kind", ["mirrored", "jpeg", "cropped", "blurred", "brightened", "recoloured", "noise", "rotated", "turned"]
)
@pytest.mark.parametrize("effort", ["quick", "standard", pytest.param("thorough", marks=pytest.mark.slow)])
def test_changed_copies_stand_out(kind: str, effort: Effort) -> None:
    suspects, unseen, reference = random_images(60, 1), random_images(40, 2), random_images(60, 3)
    copies = apply(kind, suspects.take(slice(0, 12)), reference)
    found = scores(concatenate([unseen, copies]), suspects, reference, effort)
    assert (found[:12] > found[12:].max()).mean() >= 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_exact_copies_stand_above_everybody(channels: int) -> None:
    suspects, unseen = (random_images(60, seed, channels=channels) for seed in (1, 2))
    reference = random_images(40, 3, channels=channels)
    found = scores(concatenate([unseen, suspects.take(slice(10, 15))]), suspects, reference)
    assert set(np.argsort(-found)[:5].tolist()) == {10, 11, 12, 13, 14}


def test_pieces_are_found_where_the_whole_is_not() -> None:
    """Same-place mixing of 8-px blocks of many members: every pixel is private, no image is a copy."""
    members, controls, reference = (random_images(100, seed, 32, 32) for seed in (1, 2, 3))
    rng = np.random.default_rng(4)
    mixed = np.empty_like(members.pixels[:60])
    for top in range(0, 32, 8):
        for left in range(0, 32, 8):
            source = rng.integers(0, 100, 60)
            mixed[:, top : top + 8, left : left + 8] = members.pixels[source, top : top + 8, left : left + 8]
    found = scores(Images(mixed, np.zeros(60, np.int64)), concatenate([members, controls]), reference)
    auc = (found[:100, None] > found[None, 100:]).mean()
    assert auc > 0.95


def test_strangers_look_alike() -> None:
    digits = load("digits").images
    order = np.random.default_rng(0).permutation(len(digits))
    suspects, release, reference = (
        digits.take(order[rows]) for rows in (slice(0, 800), slice(800, 1100), slice(1100, 1300))
    )
    found = scores(release, suspects, reference)
    auc = (found[:400, None] > found[None, 400:]).mean()
    assert 0.42 < auc < 0.58  # four standard errors


def test_place_in_the_pile_does_not_matter() -> None:
    suspects, release, reference = random_images(90, 1), random_images(50, 2), random_images(40, 3)
    release = concatenate([release, suspects.take(slice(0, 5))])
    order = np.random.default_rng(5).permutation(90)
    np.testing.assert_allclose(
        scores(release, suspects.take(order), reference), scores(release, suspects, reference)[order], atol=1e-4
    )


def test_same_input_same_bytes() -> None:
    suspects, release = random_images(50, 1), random_images(50, 2)
    np.testing.assert_array_equal(scores(release, suspects, None), scores(release, suspects, None, seed=9))


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(8, 8, 1), (4, 4, 1), (3, 5, 3), (6, 14, 3), (40, 24, 1), (128, 128, 1)]
)
def test_any_size_works_and_finds_copies(height: int, width: int, channels: int) -> None:
    count = 12 if height > 64 else 40
    suspects, unseen, reference = (random_images(count, seed, height, width, channels) for seed in (1, 2, 3))
    found = scores(concatenate([unseen, suspects.take(slice(0, 4))]), suspects, reference)
    assert found[:4].min() >= np.sort(found[4:])[-2]


@pytest.mark.parametrize("flat", ["suspects", "release", "reference"])
def test_flat_images_are_nobodys_copy(flat: str) -> None:
    parts = {name: random_images(30, seed) for seed, name in enumerate(("suspects", "release", "reference"))}
    parts[flat] = Images(np.full((30, 16, 16, 1), 77, np.uint8), np.zeros(30, np.int64))
    found = scores(parts["release"], parts["suspects"], parts["reference"])
    if flat == "suspects":
        assert np.ptp(found) < 1e-6


def test_one_image_each() -> None:
    one, other = random_images(1, 1), random_images(1, 2)
    assert scores(one, one, other)[0] >= scores(other, one, other)[0]


# Parts.


@given(
    arrays.arrays(float, st.integers(1, 60), elements=st.floats(-5, 5)),
    arrays.arrays(float, st.integers(1, 60), elements=st.floats(-5, 5)),
)
def test_surprise_rises_with_the_value(values: np.ndarray, reference: np.ndarray) -> None:
    found = surprise(values, reference, 0.1)
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order]) >= -1e-9).all()
    assert np.isfinite(found).all()


def test_surprise_by_hand() -> None:
    reference = np.arange(100.0)
    found = surprise(np.array([-1.0, 50.0, 90.0, 190.0]), reference, 0.05)
    assert found[0] == 0
    assert found[1] == pytest.approx(-np.log(51 / 101))
    assert found[2] == pytest.approx(-np.log(11 / 101))
    assert found[3] == pytest.approx(-np.log(11 / 101) + 100 / 4.5)


def test_share_found_by_hand() -> None:
    suspects, release = random_images(4, 1), random_images(4, 2)
    pixels = release.pixels.copy()
    pixels[1, 3:11, 5:13] = suspects.pixels[2, 4:12, 4:12]  # an 8-px block, at another alignment
    found = share_found(suspects.pixels, pixels, 8)
    assert found[2] == pytest.approx(64 / 256)
    assert found[[0, 1, 3]].tolist() == [0, 0, 0]
    mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
    assert share_found(suspects.pixels, mirrored, 8)[2] == pytest.approx(64 / 256)
    assert share_found(suspects.pixels, suspects.pixels, 8).min() == 1
    assert share_found(suspects.pixels[:, :6], pixels, 8).tolist() == [0, 0, 0, 0]


def test_flat_blocks_never_count() -> None:
    flat = np.full((3, 16, 16, 1), 200, np.uint8)
    assert share_found(flat, flat, 4).tolist() == [0, 0, 0]
    assert likeness(flat, flat, 8, everywhere=False).tolist() == [0, 0, 0]


@given(st.integers(4, 300), st.sampled_from([4, 8, 16]))
def test_stride_bounds_the_windows(side: int, block: int) -> None:
    if side >= block:
        assert (side - block) // stride_of(side, block) + 1 <= 30


def rows_behind(release: Images, suspects: Images, effort: Effort) -> np.ndarray:
    own = Context(np.random.default_rng(0), effort=effort, reference=random_images(60, 3))
    found = NearestCopy().attack(Seen({"pixels": release.pixels, "labels": release.labels}), suspects, own).nearest
    assert found is not None
    assert found.shape == (len(suspects),)
    assert ((found >= -1) & (found < len(release))).all()
    return found


@pytest.mark.parametrize("kind", ["mirrored", "jpeg", "cropped", "brightened"])
@pytest.mark.parametrize("effort", ["quick", "standard"])
def test_it_tells_which_released_image_a_changed_copy_is(kind: str, effort: Effort) -> None:
    suspects, unseen, reference = random_images(60, 1), random_images(40, 2), random_images(60, 3)
    copies = apply(kind, suspects.take(slice(0, 12)), reference)
    found = rows_behind(concatenate([unseen, copies]), suspects, effort)
    assert (found[:12] == np.arange(40, 52)).mean() >= 0.9


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_tells_into_which_released_image_a_block_went(mirrored: bool) -> None:
    suspects, release = random_images(60, 1), random_images(40, 2)
    pixels = release.pixels.copy()
    pixels[23, 3:11, 5:13] = suspects.pixels[7, 4:12, 4:12]  # an 8-px block, at another alignment
    if mirrored:
        pixels = np.ascontiguousarray(pixels[:, :, ::-1])
    assert rows_behind(Images(pixels, release.labels), suspects, "quick")[7] == 23


def test_sources_of_blocks_by_hand() -> None:
    suspects, release = random_images(4, 1).pixels, random_images(6, 2).pixels.copy()
    release[4, :8, :8] = suspects[1, :8, :8]
    assert exact_source(suspects, release, 8).tolist() == [-1, 4, -1, -1]
    assert exact_source(suspects, release, 32).tolist() == [-1] * 4
    noisy = np.clip(suspects[[2, 0, 3]].astype(int) + 9, 0, 255).astype(np.uint8)
    for everywhere in (False, True):
        assert likely_source(suspects[[0, 2, 3]], noisy, 8, everywhere).tolist() == [1, 0, 2]
    assert likely_source(suspects, release, 32, False).tolist() == [-1] * 4


def nearness(suspects: np.ndarray, release: np.ndarray, effort: Effort | None = None) -> tuple[Measure, Measure]:
    """Both measures of whole images; upright ones where no effort is given."""
    views = upright_views(False) if effort is None else turned_views(effort)
    found = closeness(suspects, release, None, views, False)
    return found.thumbnails, found.pixels


def test_closeness_is_blind_to_brightness_and_mirroring() -> None:
    suspects = random_images(10, 1)
    dark = (suspects.pixels.astype(int) // 2 + 20).astype(np.uint8)
    for changed in (dark, suspects.pixels[:, :, ::-1].copy()):
        thumbnails, pixels = nearness(suspects.pixels, changed)
        assert pixels.values.min() > 6
        assert thumbnails.values.min() > 3.5
        assert pixels.rows.tolist() == thumbnails.rows.tolist() == list(range(10))
    strangers = nearness(suspects.pixels, random_images(10, 2).pixels)
    assert strangers[1].values.max() < 3
    assert strangers[0].values.max() < 2


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_a_view_turns_as_numpy_does(quarters: int, height: int, width: int) -> None:
    """An image that is not square is turned and stretched: only the half turn keeps its pixels."""
    images = random_images(3, 1, height, width)
    found = through(View(quarters=quarters), as_floats(images.pixels)).mul(255).round().byte().numpy()[:, 0]
    assert found.shape == (3, height, width)
    if height == width or quarters == 2:
        np.testing.assert_array_equal(found, np.rot90(images.pixels[..., 0], quarters, (1, 2)))


def test_turns_are_found_by_turned_views_only() -> None:
    suspects = random_images(40, 1, 32, 32)
    turns = {
        "quarter": np.rot90(suspects.pixels, 1, (1, 2)).copy(),
        "small": apply("rotated", suspects, suspects).pixels,
    }
    for changed in turns.values():
        turned, upright = nearness(suspects.pixels, changed, "quick")[0], nearness(suspects.pixels, changed)[0]
        assert (turned.rows == np.arange(40)).mean() > 0.9
        assert np.median(turned.values) > np.median(upright.values) + 0.5


def test_detail_is_how_much_the_nearest_stands_out() -> None:
    suspects, unseen, own = (random_images(count, seed, 32, 32) for count, seed in ((40, 1), (40, 2), (60, 3)))
    blended = apply("blend", suspects.take(slice(0, 10)), own)
    release = concatenate([unseen, blended]).pixels
    pile = np.concatenate([suspects.pixels, own.pixels])
    for mine, whole in ((own.pixels, pile), (None, suspects.pixels)):
        found = detail(whole, release, mine, ())
        assert found.values.shape == found.rows.shape == (len(whole),)
        assert found.values[:10].min() > np.delete(found.values, range(10)).max()
        assert found.rows[:10].tolist() == list(range(40, 50))
    assert detail(own.pixels, unseen.pixels, own.pixels, ()).values.max() < 0.5, "images of his own match themselves"


def test_detail_looks_at_aligned_pairs_too() -> None:
    """Crops lie elsewhere than their originals: only after they were brought over them does the detail agree."""
    suspects, unseen, own = (random_images(count, seed, 32, 32) for count, seed in ((40, 1), (40, 2), (60, 3)))
    release = concatenate([unseen, apply("cropped", suspects.take(slice(0, 5)), own)]).pixels
    pile = np.concatenate([suspects.pixels, own.pixels])
    aligned = closeness(pile, release, own.pixels, upright_views(False), False).aligned
    before, after = (detail(pile, release, own.pixels, pairs).values for pairs in ((), (aligned,)))
    assert (after >= before).all()
    assert before[:5].min() < np.quantile(before[5:], 0.95)
    assert after[:5].min() > after[5:].max()


def test_cosines_are_orthonormal_and_whitening_evens_the_spread() -> None:
    for count in (1, 2, 12):
        np.testing.assert_allclose(cosines(count) @ cosines(count).T, np.eye(count), atol=1e-6)
    coarse = np.random.default_rng(1).integers(0, 256, (400, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    images = np.clip(coarse + np.random.default_rng(2).normal(0, 40, coarse.shape), 0, 255).astype(np.uint8)
    spectrum = fitted([images], 12)
    plane = planes(as_floats(images))[0] @ projection(View(), (16, 16), 12)
    spread = (plane * spectrum.factors[: 12 * 12 - 1]).std(0)
    assert plane.std(0).max() / plane.std(0).min() > 5
    assert spread.max() < 1.01
    assert spread.max() / spread.min() < plane.std(0).max() / plane.std(0).min() / 2
    assert len(spectrum.factors) == 143 + 2 * 15
