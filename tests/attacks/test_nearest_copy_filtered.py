"""Releases changed as a whole: the filter is guessed, orientation, level and order of pixels do not count, and members
are found; strangers are not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from privaudit import seeds
from privaudit.attack import Context
from privaudit.attacks.nearest_copy import NearestCopy
from privaudit.attacks.nearest_copy.filters import filtered, guessed
from privaudit.attacks.nearest_copy.histograms import histograms
from privaudit.attacks.nearest_copy.low_frequencies import low_frequencies
from privaudit.attacks.nearest_copy.signs import magnitude, magnitudes
from privaudit.attacks.nearest_copy.spectrum import components, flips
from privaudit.data.loading import load
from privaudit.filters import blurred, coarse
from privaudit.images import Images, concatenate
from privaudit.plugins import make_synthesizer
from privaudit.release import Release

COUNT = 200


@pytest.fixture(scope="module")
def parts() -> list[Images]:
    """Digits of 16 x 16: members, controls, the attacker's own, strangers."""
    images = load("digits").images
    order = np.random.default_rng(3).permutation(len(images))
    return [images.take(rows) for rows in np.split(order[: 4 * COUNT], 4)]


def made(engine: str, members: Images, **settings: Any) -> Images:
    """What an engine makes of the members."""
    synthesizer = make_synthesizer(engine, settings)
    context = Context(seeds.generator(0, "engine"), seed=1)
    return concatenate([synthesizer.make(shard, members, context) for shard in synthesizer.shards(members)])


def auc(values: np.ndarray) -> float:
    members, controls = values[:COUNT], values[COUNT : 2 * COUNT]
    return float((members[:, None] > controls).mean() + (members[:, None] == controls).mean() / 2)


def scored(parts: list[Images], release: Images) -> np.ndarray:
    members, controls, own, _ = parts
    attack, context = NearestCopy(), Context(seeds.generator(0, "attack"), effort="quick", reference=own)
    evidence = attack.attack(attack.expose(Release(release), context), concatenate([members, controls]), context)
    assert evidence.scores is not None
    return evidence.scores


def found(parts: list[Images], release: Images) -> float:
    return auc(scored(parts, release))


def test_coarse_pixels_by_hand() -> None:
    """Cells of 2 in a row of 5: the last has one pixel; rows are cells of 2, too."""
    pixels = np.array([[0, 10, 20, 40, 7], [2, 12, 30, 50, 9], [100, 100, 0, 0, 1]], np.uint8)[None, ..., None]
    expected = [[6, 6, 35, 35, 8], [6, 6, 35, 35, 8], [100, 100, 0, 0, 1]]
    np.testing.assert_array_equal(coarse(pixels, 2)[0, ..., 0], expected)


def test_blur_is_that_of_another_library() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    for mine, image in zip(blurred(pixels, 1.5), pixels, strict=True):
        theirs = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5)), dtype=np.int16)
        assert np.abs(mine[6:-6, 6:-6] - theirs[6:-6, 6:-6]).max() <= 6  # theirs is made of box blurs


@pytest.mark.parametrize("radius", [0.75, 1.2, 2.0, 3.0])
def test_the_radius_of_a_blur_is_guessed(parts: list[Images], radius: float) -> None:
    members, _, own, _ = parts
    filters = guessed(made("blur", members, radius=radius).pixels, own.pixels)
    probe = own.pixels[:20]
    errors = [np.abs(filter_(probe).astype(int) - blurred(probe, radius)).max() for filter_ in filters]
    assert min(errors) <= 3


@pytest.mark.parametrize("cell", [2, 3, 4, 8])
def test_the_cells_of_coarse_pixels_are_guessed(parts: list[Images], cell: int) -> None:
    members, _, own, _ = parts
    (filter_,) = guessed(made("pixelise", members, cell=cell).pixels, own.pixels)
    np.testing.assert_array_equal(filter_(own.pixels), coarse(own.pixels, cell))


def test_images_as_they_are_have_no_filter(parts: list[Images]) -> None:
    members, controls, own, _ = parts
    for release in (members, controls):
        assert guessed(release.pixels, own.pixels) == []
    measure = filtered(concatenate([members, own]).pixels, controls.pixels, own.pixels)
    assert not measure.values.any()


def test_filtered_members_lie_on_their_filtered_selves(parts: list[Images]) -> None:
    members, controls, own, _ = parts
    release = made("pixelise", members, cell=4)
    mirrored = Images(members.pixels[:, :, ::-1], members.labels)
    for some in (members, mirrored):
        measure = filtered(concatenate([some, controls, own]).pixels, release.pixels, own.pixels)
        assert measure.values[:COUNT].min() > -np.log(2e-6)
        assert np.quantile(measure.values[COUNT:], 0.98) < -np.log(1e-3)
        again = coarse(members.pixels, 4)
        np.testing.assert_array_equal(release.pixels[measure.rows[:COUNT]], again)


@pytest.mark.parametrize("sharp", [0, 3, 15, 30])
def test_a_few_sharp_images_do_not_hide_the_filter(parts: list[Images], sharp: int) -> None:
    members, controls, own, strangers = parts
    for engine, settings in (("blur", {}), ("pixelise", {"cell": 8})):
        mixed = concatenate([made(engine, members, **settings), strangers.take(slice(0, sharp))])
        measure = filtered(concatenate([members, controls, own]).pixels, mixed.pixels, own.pixels)
        assert auc(measure.values) > 0.98


def test_rows_are_right_where_all_products_are_far_below_zero() -> None:
    """Dark images of the pile against a bright release: each finds itself."""
    rng = np.random.default_rng(0)
    bright = rng.integers(200, 256, (60, 16, 16, 1), dtype=np.uint8)
    release = coarse(bright, 4)
    measure = filtered(
        np.concatenate([bright[::-1], rng.integers(0, 20, (9, 16, 16, 1), dtype=np.uint8)]), release, bright
    )
    np.testing.assert_array_equal(release[measure.rows[:60]], release[::-1])


def test_flips_of_components_are_those_of_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 12, 12, 1), dtype=np.uint8)
    turned = [components(np.ascontiguousarray(view)) for view in orientations(pixels)]
    found = list(flips(components(pixels)))
    assert len(found) == 8
    for one in found:
        assert sum(torch.allclose(one, other, atol=1e-4) for other in turned) == 1
    assert len(list(flips(components(pixels[:, :10])))) == 4


def orientations(pixels: np.ndarray) -> list[np.ndarray]:
    transposed = pixels.transpose(0, 2, 1, 3)
    return [view[:, ::down, ::across] for view in (pixels, transposed) for down in (1, -1) for across in (1, -1)]


@pytest.mark.parametrize("place", range(8))
def test_members_are_found_in_every_orientation(parts: list[Images], place: int) -> None:
    members, controls, own, _ = parts
    turned = np.ascontiguousarray(orientations(coarse(members.pixels, 4))[place])
    pile = concatenate([members, controls, own]).pixels
    assert auc(filtered(pile, turned, own.pixels).values) > 0.98
    assert (
        auc(low_frequencies(pile, np.ascontiguousarray(orientations(members.pixels)[place]), own.pixels).values) > 0.98
    )


@pytest.mark.parametrize("change", ["negative", "darker", "other resolution"])
def test_low_frequencies_are_blind_to_level_and_filter(parts: list[Images], change: str) -> None:
    members, controls, own, strangers = parts

    def changed(pixels: np.ndarray) -> np.ndarray:
        if change == "negative":
            return 255 - pixels
        if change == "darker":
            return (blurred(pixels, 1.5) * 0.6).astype(np.uint8)
        small = [Image.fromarray(image[..., 0]).resize((8, 8), Image.Resampling.BILINEAR) for image in pixels]
        return np.stack([np.asarray(one.resize((16, 16), Image.Resampling.BICUBIC)) for one in small])[..., None]

    pile = concatenate([members, controls, own]).pixels
    assert auc(low_frequencies(pile, changed(members.pixels), own.pixels).values) > 0.95
    assert auc(low_frequencies(pile, changed(strangers.pixels), own.pixels).values) == pytest.approx(0.5, abs=0.12)


def test_histograms_do_not_see_where_pixels_stand(parts: list[Images]) -> None:
    members, controls, own, strangers = parts
    order = np.random.default_rng(5).permutation(256)
    pile = concatenate([members, controls, own]).pixels
    for some, expected in ((members, 1.0), (strangers, 0.5)):
        shuffled = some.pixels.reshape(COUNT, 256, 1)[:, order].reshape(COUNT, 16, 16, 1)
        measure = histograms(pile, shuffled)
        assert auc(measure.values) == pytest.approx(expected, abs=0.12)
        if expected == 1.0:
            mine, theirs = (one.reshape(COUNT, -1) for one in (members.pixels, shuffled[measure.rows[:COUNT]]))
            np.testing.assert_array_equal(np.sort(mine), np.sort(theirs))


def test_turns_by_many_degrees_are_found(parts: list[Images]) -> None:
    members, *_ = parts
    turned = [Image.fromarray(image[..., 0]).rotate(33, Image.Resampling.BILINEAR) for image in members.pixels]
    release = Images(np.stack([np.asarray(one) for one in turned])[..., None], members.labels)
    assert found(parts, release) > 0.8


@pytest.mark.slow
def test_strangers_tell_nobody_over_many_splits() -> None:
    """The mean AUC of 16 splits, for releases as they are and changed, is a half: three standard errors."""
    images = load("digits").images
    for engine, settings in (("real-subset", {}), ("blur", {}), ("pixelise", {"cell": 8}), ("instahide", {})):
        values = []
        for seed in range(16):
            order = np.random.default_rng(seed).permutation(len(images))
            split = [images.take(rows) for rows in np.split(order[: 4 * COUNT], 4)]
            values.append(found(split, made(engine, split[3], **settings)))
        assert np.mean(values) == pytest.approx(0.5, abs=3 * float(np.std(values)) / 4)


def test_magnitudes_by_hand() -> None:
    """Mid-grey is 127.5; a pixel and its flipped sign, 255 less it, are equally far."""
    pixels = np.array([0, 127, 128, 200, 55, 255], np.uint8).reshape(1, 2, 3, 1)
    assert magnitudes(pixels).ravel().tolist() == [255, 1, 1, 145, 145, 255]
    np.testing.assert_array_equal(magnitudes(255 - pixels), magnitudes(pixels))


def test_flipped_signs_hide_nothing(parts: list[Images]) -> None:
    members, controls, own, _ = parts
    signs = np.random.default_rng(4).random(members.pixels.shape) < 0.5
    release = np.where(signs, members.pixels, 255 - members.pixels)
    pile = concatenate([members, controls, own]).pixels
    assert auc(magnitude(pile, release, own.pixels).values) > 0.99


@pytest.mark.parametrize(
    ("engine", "settings", "least"),
    [
        ("blur", {}, 0.99),
        ("blur", {"radius": 4.0}, 0.95),
        ("pixelise", {}, 0.99),
        ("pixelise", {"cell": 8}, 0.95),
        ("instahide", {"mixed_images": 2, "largest_weight": 1.0}, 0.8),
        ("additive-noise", {}, 0.9),
    ],
)
def test_a_release_of_changed_members_is_found(
    parts: list[Images], engine: str, settings: dict[str, Any], least: float
) -> None:
    """And one of changed strangers tells nobody: four standard errors around a half."""
    members, _, _, strangers = parts
    assert found(parts, made(engine, members, **settings)) > least
    assert found(parts, made(engine, strangers, **settings)) == pytest.approx(0.5, abs=0.12)


def test_without_images_of_his_own_the_pile_serves(parts: list[Images]) -> None:
    members, controls, _, _ = parts
    pile = concatenate([members, controls]).pixels
    assert auc(filtered(pile, made("pixelise", members).pixels, None).values) > 0.99


def test_a_fifth_of_a_release_that_was_shuffled_or_made_coarse_is_found(parts: list[Images]) -> None:
    """Whatever the rest of the release looks like."""
    members, _, _, strangers = parts
    count, rng = COUNT // 5, np.random.default_rng(5)
    leaked = members.pixels[:count]
    order = np.stack([rng.permutation(16 * 16) for _ in range(count)])
    shuffled = np.take_along_axis(leaked.reshape(count, -1), order, 1).reshape(leaked.shape)
    for changed in (shuffled, coarse(leaked, 2), 255 - leaked):
        release = concatenate([strangers, Images(np.ascontiguousarray(changed), members.labels[:count])])
        scores = scored(parts, release)
        assert (scores[:count] > np.quantile(scores[COUNT:], 0.99)).mean() > 0.5
