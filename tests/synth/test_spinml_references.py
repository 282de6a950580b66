"""What leaves the device, pixel by pixel; edges and foregrounds of images whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.synth.spinml.references import References, masks_of, sanitise_task, sanitised
from privaudit.synth.spinml.vision import boxes, edges, filled, foreground

LEVELS: tuple[Any, ...] = ("L0", "L1", "L2")


def drawn_masks(masks: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return masks.astype(np.uint8) * 255


def disc(side: int = 32, channels: int = 3) -> tuple[Images, NDArray[np.bool_]]:
    """A bright disc on a dark, slightly uneven ground, and where it is."""
    down, across = np.mgrid[:side, :side]
    mask = (down - side / 2) ** 2 + (across - side / 2) ** 2 < (side / 4) ** 2
    ground = np.random.default_rng(0).integers(20, 40, (side, side))
    pixels = np.where(mask, 220, ground).astype(np.uint8)[None, :, :, None].repeat(channels, 3)
    return Images(pixels, np.zeros(1, np.int64)), mask[None]


def random_images(count: int, side: int, channels: int, seed: int) -> tuple[Images, NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 256, (count, side, side, channels), dtype=np.uint8)
    return Images(pixels, rng.integers(0, 3, count)), rng.random((count, side, side)) < 0.4


@given(st.sampled_from(LEVELS), st.sampled_from(LEVELS), st.sampled_from([1, 3]), st.integers(0, 5))
def test_raw_pixels_leave_of_objects_at_l2_only(front: Any, back: Any, channels: int, seed: int) -> None:
    images, masks = random_images(2, 9, channels, seed)
    found = sanitised(images, drawn_masks(masks), front, back)
    backs = ~boxes(masks) if front == "L0" else ~masks
    allowed = (masks & (front == "L2")) | (backs & (back == "L2"))
    np.testing.assert_array_equal(found.shown, allowed)
    np.testing.assert_array_equal(found.pixels, np.where(allowed[..., None], images.pixels, 0))
    if "L1" not in (front, back):
        assert not found.edges.any()


@given(st.integers(0, 5))
def test_edges_do_not_depend_on_the_object_that_is_hidden(seed: int) -> None:
    """Two images with one foreground and different backgrounds: what leaves of the foreground is equal."""
    images, masks = random_images(1, 12, 3, seed)
    others = random_images(1, 12, 3, seed + 100)[0]
    changed = Images(np.where(masks[..., None], images.pixels, others.pixels), images.labels)
    for level in LEVELS:
        first, second = (sanitised(one, drawn_masks(masks), level, "L0") for one in (images, changed))
        for name, value in first.arrays().items():
            np.testing.assert_array_equal(value, second.arrays()[name])


@given(st.integers(0, 5), st.sampled_from(["L1", "L2"]))
def test_of_a_hidden_foreground_not_even_the_outline_is_told(seed: int, back: Any) -> None:
    """Two images with one background and foregrounds of other outlines in the same box: all that leaves is equal."""
    images, _ = random_images(1, 20, 3, seed)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        mask = np.zeros((1, 20, 20), bool)
        mask[0, 6:13, 5:14] = rng.random((7, 9)) < 0.5
        mask[0, 6, 5] = mask[0, 12, 13] = True
        other = rng.integers(0, 256, images.pixels.shape, dtype=np.uint8)
        whole = Images(
            np.where(mask[..., None], other, np.where(boxes(mask)[..., None], 90, images.pixels)), images.labels
        )
        found.append(sanitised(whole, drawn_masks(mask), "L0", back).arrays())
    for name, value in found[0].items():
        np.testing.assert_array_equal(value, found[1][name])


def test_a_flat_background_has_no_edges_around_what_is_hidden() -> None:
    images, mask = disc()
    flat = Images(np.where(mask[..., None], images.pixels, np.uint8(60)), images.labels)
    assert not sanitised(flat, drawn_masks(mask), "L0", "L1").edges.any()
    assert sanitised(flat, drawn_masks(mask), "L1", "L0").edges.any()


def test_holes_are_filled_from_around_them_and_of_nothing_else() -> None:
    images, _ = random_images(3, 12, 3, 1)
    holes = np.zeros((3, 12, 12), bool)
    holes[:, 3:8, 4:9] = True
    first = filled(images.pixels, holes)
    np.testing.assert_array_equal(first[~holes], images.pixels[~holes])
    changed = np.where(holes[..., None], 255 - images.pixels, images.pixels)
    np.testing.assert_array_equal(filled(changed, holes), first)
    flat = np.where(holes[..., None], images.pixels, np.uint8(77))
    assert np.all(filled(flat, holes) == 77)
    assert np.all(filled(images.pixels, np.ones_like(holes)) == 0)


def test_what_is_neither_is_shown_of_none() -> None:
    images, masks = random_images(1, 9, 1, 0)
    between = drawn_masks(masks)
    between[0, :3] = 128
    assert not sanitised(images, between, "L2", "L0").shown[0, :3].any()
    assert not sanitised(images, between, "L1", "L2").shown[0, :3].any()
    assert sanitised(images, between, "L2", "L2").shown.all()


def test_the_edges_of_a_disc_are_its_rim() -> None:
    images, mask = disc()
    found = edges(images.pixels)[0]
    down, across = np.nonzero(found)
    distance = np.hypot(down - 16, across - 16)
    assert len(distance) > 20
    assert np.all(np.abs(distance - 8) < 2)
    rim = sanitised(images, drawn_masks(mask), "L1", "L0")
    assert rim.edges.any()
    assert not rim.shown.any()
    assert np.all(rim.pixels == 0)


@pytest.mark.parametrize("segmenter", ["otsu", "grabcut"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_disc_is_found(segmenter: Any, channels: int) -> None:
    images, mask = disc(channels=channels)
    found = foreground(images.pixels, segmenter)
    assert (found == mask).mean() > 0.98
    dark = foreground(255 - images.pixels, segmenter)
    assert (dark == mask).mean() > 0.98


@pytest.mark.parametrize("segmenter", ["otsu", "grabcut"])
def test_flat_and_tiny_images_have_some_answer(segmenter: Any) -> None:
    flat = foreground(np.full((2, 8, 8, 3), 7, np.uint8), segmenter)
    assert flat.shape == (2, 8, 8)
    assert foreground(np.full((1, 1, 1, 1), 7, np.uint8), segmenter).shape == (1, 1, 1)
    again = foreground(random_images(2, 10, 3, 0)[0].pixels, segmenter)
    np.testing.assert_array_equal(again, foreground(random_images(2, 10, 3, 0)[0].pixels, segmenter))


def test_what_a_person_sees_of_a_reference() -> None:
    images, mask = disc()
    found = sanitised(images, drawn_masks(mask), "L2", "L1").image()
    np.testing.assert_array_equal(found[mask], images.pixels[mask])
    assert set(np.unique(found[~mask])) <= {0, 255}


def test_the_task_uses_masks_where_there_are_any() -> None:
    images, mask = disc()
    asked = {"foreground": "L2", "background": "L0", "segmenter": "otsu"}
    inputs: dict[str, Any] = {"images": {"pixels": images.pixels, "labels": images.labels}}
    upside_down = ~mask
    given_masks = {"masks": {"pixels": drawn_masks(upside_down)[..., None]}}
    np.testing.assert_array_equal(References(**sanitise_task(asked, inputs | given_masks)).shown, upside_down)
    assert (References(**sanitise_task(asked, inputs)).shown == mask).mean() > 0.98
    both = References(**sanitise_task({**asked, "background": "L2"}, inputs))
    assert both.shown.all()


def folders(tmp_path: Path) -> tuple[Images, NDArray[np.bool_]]:
    images, masks = random_images(6, 8, 3, 4)
    for row in range(6):
        for name, pixels in (("images", images.pixels[row]), ("masks", masks[row].astype(np.uint8) * 255)):
            place = tmp_path / name / f"class {row % 2}"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{row}.png")
    return images, masks


def test_a_member_gets_its_own_mask_wherever_it_stands(tmp_path: Path) -> None:
    images, masks = folders(tmp_path)
    rows = np.array([4, 1, 0])
    found = masks_of(images.take(rows), str(tmp_path / "masks"), str(tmp_path / "images"))
    np.testing.assert_array_equal(found.pixels[..., 0] > 0, masks[rows])
    np.testing.assert_array_equal(found.labels, images.labels[rows])


def test_members_without_a_mask_are_counted(tmp_path: Path) -> None:
    images, _ = folders(tmp_path)
    stranger = Images(255 - images.pixels[:2], images.labels[:2])
    with pytest.raises(InputError, match="2 of 2 members are not among the images of masked"):
        masks_of(stranger, str(tmp_path / "masks"), str(tmp_path / "images"))
    (tmp_path / "masks" / "class 0" / "0.png").unlink()
    with pytest.raises(InputError, match="5 masks and masked 6 images, which do not go together: 'class 0/0' has no"):
        masks_of(images, str(tmp_path / "masks"), str(tmp_path / "images"))


def test_masks_of_other_names_are_refused(tmp_path: Path) -> None:
    """Sorted, cat1_mask comes before cat_mask, and cat before cat1."""
    images, masks = random_images(2, 8, 3, 4)
    for row, (name, mask) in enumerate((("cat", "cat_mask"), ("cat1", "cat1_mask"))):
        for folder, pixels, stem in (("images", images.pixels[row], name), ("masks", drawn_masks(masks[row]), mask)):
            place = tmp_path / folder / "cats"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{stem}.png")
    with pytest.raises(InputError, match="which do not go together: 'cats/cat' has no partner"):
        masks_of(images, str(tmp_path / "masks"), str(tmp_path / "images"))


def arrays(folder: Path, images: Images, masks: NDArray[np.uint8]) -> tuple[str, str]:
    np.savez(folder / "masked.npz", images=images.pixels, labels=images.labels)
    np.savez(folder / "masks.npz", images=masks[..., None], labels=images.labels)
    return str(folder / "masks.npz"), str(folder / "masked.npz")


def test_masks_of_ones_are_refused(tmp_path: Path) -> None:
    images, masks = random_images(3, 8, 3, 4)
    with pytest.raises(InputError, match="the brightest value in those of masks is 1"):
        masks_of(images, *arrays(tmp_path, images, masks.astype(np.uint8)))


def test_masks_without_foreground_are_refused(tmp_path: Path) -> None:
    images, masks = random_images(3, 8, 3, 4)
    masks[1] = False
    with pytest.raises(InputError, match="masks of 1 of 3 members show no foreground"):
        masks_of(images, *arrays(tmp_path, images, drawn_masks(masks)))


def test_one_image_with_two_masks_is_refused(tmp_path: Path) -> None:
    images, masks = random_images(3, 8, 3, 4)
    twins = images.take(np.array([0, 1, 0]))
    with pytest.raises(InputError, match="'0' and '2' of masked are the same image with two masks"):
        masks_of(twins, *arrays(tmp_path, twins, drawn_masks(masks)))


@pytest.mark.parametrize("levels", [("L2", "L0"), ("L0", "L2"), ("L1", "L2")])
def test_after_a_change_of_size_nothing_hidden_is_in_what_is_shown(levels: tuple[Any, Any], tmp_path: Path) -> None:
    """64 pixels to 32, by the loader: whatever the hidden object was, what leaves is the same."""
    rng = np.random.default_rng(0)
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 20:41, 17:44] = True
    ground = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    hidden = ~mask if levels[1] == "L0" else mask
    if levels[0] == "L1":
        levels = ("L0", "L2")  # edges of the object are its own: only the pixels shown are compared
    found = []
    for value in (0, 255):
        (tmp_path / str(value)).mkdir()
        whole = Images(np.where(hidden[..., None], np.uint8(value), ground), np.zeros(1, np.int64))
        sources = arrays(tmp_path / str(value), whole, drawn_masks(mask))
        members = load(sources[1], size=32, channels=3).images
        found.append(sanitised(members, masks_of(members, *sources).pixels[..., 0], *levels))
    assert found[0].shown.any()
    np.testing.assert_array_equal(found[0].pixels, found[1].pixels)
