"""Engines that make their images of members: filters and mixtures by hand, and what they refuse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from privaudit import seeds
from privaudit.attack import Context
from privaudit.errors import InputError
from privaudit.from_members import FromMembers
from privaudit.images import Images, concatenate
from privaudit.plugins import make_synthesizer
from privaudit.release import Release
from privaudit.synth.obfuscation import AdditiveNoise, Blur, InstaHide, Mixup, Pixelise
from privaudit.synth.real_subset import RealSubset

SEED = 3


def piles(count: int = 30, side: int = 8, classes: int = 3) -> Images:
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % classes)


def released(engine: FromMembers, members: Images, seed: int = SEED) -> Release:
    context = Context(seeds.generator(0, "unused"), seed=seed)
    parts = [engine.make(shard, members, context) for shard in engine.shards(members)]
    return engine.finish(parts, members, context)


def targets(engine: FromMembers, members: Images, seed: int = SEED) -> NDArray[np.int64]:
    return np.concatenate([engine.targets(shard, members, seed) for shard in engine.shards(members)])


def test_a_real_subset_is_members_each_once_and_in_another_order() -> None:
    members = piles()
    release = released(RealSubset(), members).images
    rows = targets(RealSubset(), members)
    assert sorted(rows.tolist()) == list(range(30))
    assert rows.tolist() != sorted(rows.tolist(), key=lambda row: (row % 3, row))
    np.testing.assert_array_equal(release.pixels, members.pixels[rows])
    np.testing.assert_array_equal(release.labels, members.labels[rows])


@given(st.integers(1, 10), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_a_subset_of_each_class_has_no_member_twice(each: int, seed: int) -> None:
    rows = targets(RealSubset(images_per_class=each), piles(), seed)
    assert len(set(rows.tolist())) == 3 * each


def test_large_classes_are_cut_into_parts_that_share_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit import from_members

    whole = targets(RealSubset(), piles())
    monkeypatch.setattr(from_members, "_IMAGES_PER_SHARD", 4)
    assert [shard.count for shard in RealSubset().shards(piles())] == [4, 4, 2] * 3
    np.testing.assert_array_equal(targets(RealSubset(), piles()), whole)


def test_blur_of_a_point_is_a_gaussian_and_keeps_flat_images() -> None:
    pixels = np.zeros((2, 21, 21, 1), np.uint8)
    pixels[0, 10, 10] = 255
    pixels[1] = 77
    members = Images(pixels, np.array([0, 1]))
    point, flat = released(Blur(radius=1.0), members).images.pixels[..., 0]
    assert (flat == 77).all()
    expected = 255 / (2 * np.pi) * np.exp(-np.array([0, 1, 2, 4, 5]) / 2)
    found = [point[10, 10], point[10, 11], point[11, 11], point[12, 10], point[11, 12]]
    np.testing.assert_allclose(found, expected, atol=0.8)


@pytest.mark.parametrize("cell", [1, 2, 3, 8, 20])
def test_coarse_pixels_are_the_means_of_their_cells(cell: int) -> None:
    members = piles(3)
    release = released(Pixelise(cell=cell), members).images.pixels
    for row, found in zip(targets(Pixelise(cell=cell), members), release, strict=True):
        for top in range(0, 8, cell):
            for left in range(0, 8, cell):
                part = np.s_[top : top + cell, left : left + cell]
                mean = members.pixels[row][part].reshape(-1, 3).mean(axis=0)
                np.testing.assert_array_equal(
                    found[part].reshape(-1, 3), np.rint(mean)[None].repeat(found[part].size // 3, 0)
                )


def test_coarse_pixels_are_those_of_another_library() -> None:
    members = piles(3)
    release = released(Pixelise(cell=4), members).images.pixels
    for row, found in zip(targets(Pixelise(cell=4), members), release, strict=True):
        coarse = Image.fromarray(members.pixels[row]).resize((2, 2), Image.Resampling.BOX)
        again = np.asarray(coarse.resize((8, 8), Image.Resampling.NEAREST), dtype=np.int16)
        assert np.abs(found - again).max() <= 1


def test_noise_has_the_level_that_was_asked_for() -> None:
    members = Images(np.full((40, 16, 16, 3), 128, np.uint8), np.zeros(40, np.int64))
    found = released(AdditiveNoise(level=20.0), members).images.pixels.astype(np.float64)
    assert found.mean() == pytest.approx(128, abs=0.5)
    assert found.std() == pytest.approx(20, abs=0.5)
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.15
    loud = released(AdditiveNoise(level=500.0), members).images.pixels
    assert set(np.quantile(loud, [0.1, 0.9]).tolist()) == {0, 255}


def sources_of(engine: Any, members: Images) -> Sequence[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    found = []
    for shard in engine.shards(members):
        rows = engine.targets(shard, members, SEED)
        found += list(zip(*engine.mixed(rows, members, engine.generator(shard, SEED)), strict=True))
    return found


@pytest.mark.parametrize("engine", [Mixup(), Mixup(alpha=0.2), InstaHide(), InstaHide(mixed_images=2)])
def test_mixtures_are_the_weighted_means_of_different_members(engine: Any) -> None:
    members = piles()
    release = released(engine, members)
    assert release.soft_labels is not None
    rows = targets(engine, members)
    for place, (sources, weights) in enumerate(sources_of(engine, members)):
        assert sources[0] == rows[place]
        assert len(set(sources.tolist())) == len(sources) == engine.parts
        assert weights.sum() == pytest.approx(1)
        assert weights[0] == weights.max()
        mean = np.einsum("s,shwc->hwc", weights, members.pixels[sources].astype(np.float64))
        found = release.images.pixels[place].astype(np.float64)
        if isinstance(engine, InstaHide):
            mean, found = np.abs(mean - 127.5), np.abs(found - 127.5)
        assert np.abs(found - mean).max() <= 0.51
        of_classes = [weights[members.labels[sources] == label].sum() for label in range(3)]
        np.testing.assert_allclose(release.soft_labels[place], of_classes, atol=1e-6)
        assert release.images.labels[place] == members.labels[sources[0]]


def test_signs_are_coins_and_no_member_weighs_more_than_allowed() -> None:
    engine, members = InstaHide(), Images(np.full((60, 16, 16, 3), 255, np.uint8), np.zeros(60, np.int64))
    found = released(engine, members).images.pixels
    assert set(np.unique(found).tolist()) == {0, 255}
    assert (found == 255).mean() == pytest.approx(0.5, abs=0.02)
    weights = engine.weights(500, np.random.default_rng(0))
    assert weights.max() <= 0.65
    assert weights[:, 0].mean() > 0.4


def test_beta_weights() -> None:
    """The larger of a part drawn evenly and its rest is 3/4 in the mean."""
    found = Mixup().weights(20_000, np.random.default_rng(0))
    assert found[:, 0].mean() == pytest.approx(0.75, abs=0.005)
    assert found.min() >= 0


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (RealSubset(images_per_class=6), "class 2 has 5 members, and real-subset makes one image of a member at most"),
        (Mixup(), "mixup mixes 2 different members, and there are 1"),
        (InstaHide(mixed_images=40), "instahide mixes 40 different members, and there are 30"),
        (InstaHide(mixed_images=2, largest_weight=0.4), "one weighs at least 0.50; largest_weight is 0.4"),
    ],
)
def test_what_cannot_be_made_is_told(engine: FromMembers, told: str) -> None:
    members = piles(1) if isinstance(engine, Mixup) else piles()
    if isinstance(engine, RealSubset):
        members = concatenate([piles(30).take(piles(30).labels < 2), piles(15).take(piles(15).labels == 2)])
    with pytest.raises(InputError, match=told.replace(".", r"\.")):
        engine.shards(members)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("blur", {"radius": 0}), ("pixelise", {"cell": 0}), ("additive-noise", {"level": -1}), ("mixup", {"alpha": 0})],
)
def test_settings_that_cannot_be(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        make_synthesizer(name, wrong)
