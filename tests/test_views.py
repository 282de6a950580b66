"""Views of released images: worked by hand, kept in a release folder, and learned."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from privaudit.data.loading import load_release
from privaudit.data.release_writing import write_release
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Network, Recipe, Training, logits, probabilities, trained
from privaudit.learning.augmentation import augment
from privaudit.learning.batches import as_float, seen
from privaudit.release import Release, together, without_views
from privaudit.views import Views, checked, drawn

PLAIN = [0, 0, 0, 0, 0, 0, 0, 0]


def numbered(count: int = 4, side: int = 4) -> Images:
    """Image i has the pixels 10 i + column, the same in every row."""
    pixels = 10 * np.arange(count)[:, None, None, None] + np.arange(side)[None, None, :, None]
    return Images(
        np.broadcast_to(pixels, (count, side, side, 1)).astype(np.uint8), np.arange(count, dtype=np.int64) % 2
    )


def through(images: Images, row: int, view: list[int]) -> np.ndarray:
    found = seen(images, np.array([row]), np.array([view]), "cpu")
    return (found[0, 0] * 255).round().numpy().astype(int)


def test_a_view_by_hand() -> None:
    images = numbered()
    plain = [[10, 11, 12, 13]] * 4
    assert through(images, 1, PLAIN).tolist() == plain
    # Rows 1 and 2, columns 2 and 3, from the image two rows on, number 3.
    boxed = through(images, 1, [2, 1, 2, 3, 4, 0, 0, 0])
    assert boxed.tolist() == [plain[0], [10, 11, 32, 33], [10, 11, 32, 33], plain[0]]
    # After the last image comes the first.
    assert through(images, 3, [1, 0, 0, 1, 4, 0, 0, 0])[0].tolist() == [0, 1, 2, 3]
    # Down by one, to the right by two, then mirrored.
    moved = through(images, 1, [0, 0, 0, 0, 0, 1, 2, 1])
    assert moved.tolist() == [[0] * 4] + [[11, 10, 0, 0]] * 3
    assert through(images, 1, [0, 0, 0, 0, 0, -3, -4, 0]).tolist() == [[0] * 4] * 4  # nothing is left


def test_rows_have_views_of_their_own() -> None:
    images = numbered()
    views = np.array([PLAIN, [1, 0, 0, 4, 4, 0, 0, 0]])
    found = seen(images, np.array([2, 0]), views, "cpu")
    assert torch.equal(found[0], as_float(images.pixels[2:3], "cpu")[0])
    assert torch.equal(found[1], as_float(images.pixels[1:2], "cpu")[0])


def test_drawn_views_start_with_the_image_and_stay_within_it() -> None:
    views = drawn(200, (16, 24), True, np.random.default_rng(0))
    assert views.shape == (200, 8)
    assert views[0].tolist() == PLAIN
    assert np.array_equal(checked(views, (3, 200, 2)), views)
    assert (views[:, 1] <= views[:, 3]).all()
    assert (views[:, 2] <= views[:, 4]).all()
    assert views[:, 3].max() <= 16
    assert views[:, 4].max() <= 24
    assert np.abs(views[:, 5:7]).max() == 2  # an eighth of the smaller side
    assert 60 < views[:, 7].sum() < 140
    assert not drawn(50, (16, 24), False, np.random.default_rng(0))[:, 7].any()
    shares = (views[1:, 3] - views[1:, 1]) * (views[1:, 4] - views[1:, 2]) / (16 * 24)
    assert 0.2 < shares.mean() < 0.45  # a half before the edges cut


def test_hostile_numbers_are_refused(tmp_path: Path) -> None:
    images = pictures()
    views, told = labelled(images)
    with pytest.raises(InputError, match="negative corner"):
        checked(np.where(np.arange(8) == 5, np.iinfo(np.int64).min, views[:1]), (12, 1, 2))
    write_release(Release(images, soft_labels=told, views=views), ["a", "b"], tmp_path / "out")
    file = tmp_path / "out" / "release.json"
    manifest = json.loads(file.read_text())
    for number in (10**30, 2**63, -(2**63), 1.5, True, "1", None):
        manifest["views"][1][5] = number
        file.write_text(json.dumps(manifest))
        with pytest.raises(InputError, match=r"release.json is not usable: 'views"):
            load_release(tmp_path / "out")
    manifest["views"][1][5] = 0
    file.write_text(json.dumps(manifest))
    for wrong in (np.full(told.shape, 1e300), np.full(told.shape, np.nan), told[0], told[:, :, 0]):
        np.save(tmp_path / "out" / "soft_labels.npy", wrong)
        with pytest.raises(InputError, match="soft labels are"):
            load_release(tmp_path / "out")


@pytest.mark.parametrize(
    ("views", "shape", "words"),
    [
        (np.zeros((2, 8)), (3, 2, 2), "whole numbers"),
        (np.zeros((2, 7), int), (3, 2, 2), "mirrored"),
        (np.zeros((2, 8), int), (3, 2), "images, views, classes"),
        (np.zeros((2, 8), int), (3, 3, 2), "There are 2 views"),
        (np.array([PLAIN, [0, -1, 0, 0, 0, 0, 0, 0]]), (3, 2, 2), "negative corner"),
        (np.array([PLAIN, [0, 0, 0, 0, 0, 0, 0, 2]]), (3, 2, 2), "neither 0 nor 1"),
        (np.array([[1, 0, 0, 2, 2, 0, 0, 0], PLAIN]), (3, 2, 2), "first view"),
        (np.array([[0, 0, 0, 0, 0, 1, 0, 0], PLAIN]), (3, 2, 2), "first view"),
    ],
)
def test_unusable_views_are_named(views: np.ndarray, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        checked(views, shape)


def network() -> Network:
    torch.manual_seed(0)
    return Network(Architecture(name="convnet", channels=1, classes=2, side=8)).eval()


def pictures(count: int = 12) -> Images:
    rng = np.random.default_rng(1)
    return Images(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), np.arange(count, dtype=np.int64) % 2)


def labelled(images: Images, count: int = 6) -> tuple[Views, np.ndarray]:
    views = drawn(count, images.size[:2], True, np.random.default_rng(2))
    told = probabilities(network(), images, views, 4.0)
    return views, told.astype(np.float16).astype(np.float32)


def test_probabilities_are_those_of_each_view() -> None:
    images, teacher = pictures(), network()
    views, told = labelled(images)
    assert told.shape == (12, 6, 2)
    for number, view in enumerate(views):
        shown = seen(images, np.arange(12), np.broadcast_to(view, (12, 8)), "cpu")
        with torch.inference_mode():
            expected = (teacher(shown) / 4).softmax(1).numpy()
        np.testing.assert_allclose(told[:, number], expected, atol=1e-3)
    np.testing.assert_allclose(told[:, 0], probabilities(teacher, images, temperature=4.0), atol=1e-3)


def test_release_folder_keeps_views_in_half_the_bytes(tmp_path: Path) -> None:
    images = pictures()
    views, told = labelled(images)
    release = Release(images, soft_labels=told, views=views)
    write_release(release, ["a", "b"], tmp_path / "out")
    assert np.load(tmp_path / "out" / "soft_labels.npy").dtype == np.float16
    again, dataset = load_release(tmp_path / "out")
    assert again.soft_labels is not None
    assert again.views is not None
    # Files are in the order of their rows.
    assert np.array_equal(again.soft_labels, told)
    assert np.array_equal(again.views, views)
    assert np.array_equal(dataset.images.pixels, images.pixels)
    assert again.digest == release.digest != replace(release, views=views[::-1]).digest
    manifest = json.loads((tmp_path / "out" / "release.json").read_text())
    manifest["views"][0][5] = 3
    (tmp_path / "out" / "release.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="first view"):
        load_release(tmp_path / "out")
    (tmp_path / "out" / "soft_labels.npy").unlink()
    with pytest.raises(InputError, match="names views"):
        load_release(tmp_path / "out")


def test_students_learn_the_views() -> None:
    """A teacher whose answer depends on what is at the left half: students of views learn it, for moved images too."""
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 60, (200, 8, 8, 1), dtype=np.uint8)
    bright = rng.integers(0, 2, 200)
    pixels[bright == 1, 2:6, 2:6] += 120
    images = Images(pixels, np.zeros(200, dtype=np.int64))  # labels say nothing
    views = drawn(8, (8, 8), False, rng)
    told = np.zeros((200, 8, 2), dtype=np.float32)
    for number, view in enumerate(views):
        shown = seen(images, np.arange(200), np.broadcast_to(view, (200, 8)), "cpu")
        share = (shown.mean((1, 2, 3)) > 0.2).numpy()
        told[:, number, 1], told[:, number, 0] = share, ~share
    recipe = Recipe(network="convnet", epochs=12, batch_size=20, optimizer="adamw", learning_rate=3e-3, cutmix=True)
    (student,) = trained([Training(recipe, images, 2, 0, told, views)], "cpu")
    assert (logits(student, images).argmax(1) == told[:, 0].argmax(1)).mean() > 0.9


def test_public_images_beside_leave_the_labels_of_the_images_as_they_are() -> None:
    images = pictures()
    views, told = labelled(images)
    release = Release(images, soft_labels=told, views=views)
    plain = without_views(release)
    assert plain.views is None
    assert plain.soft_labels is not None
    assert np.array_equal(plain.soft_labels, told[:, 0])
    other = Images(255 - images.pixels, images.labels)
    both = together(without_views(release), other)
    assert both.views is None
    assert both.soft_labels is not None
    assert both.soft_labels.shape == (24, 2)
    assert np.isnan(both.soft_labels[12:]).all()


def test_augment_moves_as_views_do() -> None:
    images = as_float(pictures(3).pixels, "cpu")
    found = augment(images, 1, False, np.random.default_rng(4))
    moves = np.random.default_rng(4).integers(-1, 2, (2, 3))
    for row in range(3):
        view = np.array([[0, 0, 0, 0, 0, -moves[0, row], -moves[1, row], 0]])
        assert torch.equal(seen(pictures(3), np.array([row]), view, "cpu")[0], found[row])
