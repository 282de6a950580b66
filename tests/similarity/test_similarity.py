"""Released images and controls beside their nearest members: planted copies, fresh images, what is not assessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from similarity_examples import found_for, source

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.similarity import NO_WEIGHTS, Statistic, similarity
from privaudit.similarity.measures import PSNR_CAP

PIXEL_STATISTICS: tuple[Statistic, ...] = ("ssim", "psnr")


def test_a_memory_map_gives_the_same(tmp_path: Path) -> None:
    parts = [source(count, seed) for seed, count in enumerate((30, 40, 50))]
    mapped = []
    for number, images in enumerate(parts):
        np.save(tmp_path / f"{number}.npy", images.pixels)
        mapped.append(Images(np.load(tmp_path / f"{number}.npy", mmap_mode="r"), images.labels))
    found, again = (
        similarity(release, members, controls, None, np.random.default_rng(0), limit=20)
        for release, members, controls in (parts, mapped)
    )
    for statistic in PIXEL_STATISTICS:
        one, other = found_for(found, statistic), found_for(again, statistic)
        assert np.array_equal(one.release, other.release)
        assert np.array_equal(one.controls, other.controls)
        assert one.place == other.place


def test_released_members_are_found() -> None:
    members = source(60, 0)
    order = np.random.default_rng(5).permutation(60)
    found = similarity(members.take(order), members, source(80, 1), None, np.random.default_rng(0))
    assert found.release is not None
    assert np.array_equal(found.release.nearest, order)
    assert not found.release.distance.any()
    for statistic, top in zip(PIXEL_STATISTICS, (1.0, PSNR_CAP), strict=True):
        compared = found_for(found, statistic)
        assert compared.release_law == pytest.approx({"n": 60, "median": top, "p95": top, "max": top})
        assert compared.controls_law["max"] < top
        assert compared.place.estimate == 0
        assert compared.place.high < 0.1


def test_a_few_copies_show_in_the_maximum_and_not_in_the_place() -> None:
    members, release = source(60, 0), source(100, 2).pixels.copy()
    release[7] = members.pixels[31]
    found = similarity(
        Images(release, np.zeros(100, dtype=np.int64)), members, source(100, 1), None, np.random.default_rng(0)
    )
    compared = found_for(found, "psnr")
    assert found.release is not None
    assert compared.release.argmax() == 7
    assert found.release.nearest[7] == 31
    assert compared.release_law["max"] == pytest.approx(PSNR_CAP)
    assert compared.controls_law["max"] < 40
    assert compared.place.low < 0.5 < compared.place.high


def test_fresh_images_are_like_controls() -> None:
    found = similarity(source(400, 3), source(100, 0), source(400, 1), None, np.random.default_rng(0))
    for statistic in PIXEL_STATISTICS:
        compared = found_for(found, statistic)
        assert compared.place.low < 0.5 < compared.place.high
        spread = compared.controls_law["p95"] - compared.controls_law["median"]
        for key in ("median", "p95"):
            assert compared.release_law[key] == pytest.approx(compared.controls_law[key], abs=spread)


def test_samples_are_drawn_by_seed_and_said() -> None:
    parts = source(50, 2), source(20, 0), source(90, 1)
    found, again, other = (similarity(*parts, None, np.random.default_rng(seed), limit=30) for seed in (0, 0, 1))
    for one in (found, again, other):
        assert one.release is not None
        assert one.controls is not None
        for pairs in (one.release, one.controls):
            assert len(pairs) == len(np.unique(pairs.rows)) == 30
            assert (np.diff(pairs.rows) > 0).all()
    assert found.release is not None
    assert again.release is not None
    assert other.release is not None
    assert np.array_equal(found.release.rows, again.release.rows)
    assert not np.array_equal(found.release.rows, other.release.rows)
    assert found.looked_at == (
        "30 of 50 released images (drawn by seed) and 30 of 90 controls (drawn by seed), "
        "each with its nearest of 20 members"
    )
    whole = similarity(*parts, None, np.random.default_rng(0))
    assert whole.looked_at.startswith("all 50 released images and 50 of 90 controls (drawn by seed),")


def test_what_is_not_assessed_says_why(tmp_path: Path) -> None:
    images, rng = source(10, 0), np.random.default_rng(0)
    for store in (None, tmp_path):
        found = similarity(images, images, images, store, rng)
        assert found.compared["lpips"] is None
        assert found.not_assessed == {"lpips": NO_WEIGHTS}
        assert found.weights_sha256 is None
    assert "`privaudit weights add FILE`" in NO_WEIGHTS
    for parts, reason in (
        ((images, images, images.take(slice(0, 0))), "no controls"),
        ((source(10, 0, side=8), images, images), "differ in size (8 x 8 x 3, 12 x 12 x 3, 12 x 12 x 3)"),
    ):
        found = similarity(*parts, None, rng)
        assert found.release is None
        assert set(found.compared.values()) == {None}
        assert found.not_assessed.keys() == {"ssim", "psnr", "lpips"}
        assert all(text.startswith("not assessed: ") for text in found.not_assessed.values())
        assert reason in found.not_assessed["lpips"]
    tiny = Images(rng.integers(0, 256, (9, 2, 5, 1)).astype(np.uint8), np.zeros(9, dtype=np.int64))
    found = similarity(tiny, tiny, tiny, None, rng)
    assert found.compared["ssim"] is None
    assert found.not_assessed["ssim"] == "not assessed: images have sides below 3 pixels"
    assert found_for(found, "psnr").release_law["n"] == 9


def test_nothing_to_compare_is_refused() -> None:
    images, none = source(4, 0), source(4, 0).take(slice(0, 0))
    for release, members, limit in ((none, images, 5), (images, none, 5), (images, images, 0)):
        with pytest.raises(InputError, match="needs released images, members and a limit"):
            similarity(release, members, images, None, np.random.default_rng(0), limit=limit)


def test_values_do_not_depend_on_the_order_of_released_images() -> None:
    release, members, controls = source(40, 2), source(30, 0), source(40, 1)
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(40)
    found = similarity(release, members, controls, None, np.random.default_rng(0))
    moved = similarity(release.take(order), members, controls, None, np.random.default_rng(0))
    for statistic in PIXEL_STATISTICS:
        one, other = found_for(found, statistic), found_for(moved, statistic)
        np.testing.assert_allclose(one.release[order], other.release, rtol=1e-5)
        assert one.place.estimate == pytest.approx(other.place.estimate)
