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

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.synth.spinml.references import References, masks_of, sanitise_task, sanitised
from privaudit.synth.spinml.vision import edges, foreground

LEVELS: tuple[Any, ...] = ("L0", "L1", "L2")


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
    found = sanitised(images, masks, front, back)
    allowed = (masks & (front == "L2")) | (~masks & (back == "L2"))
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
        first, second = (sanitised(one, masks, level, "L0") for one in (images, changed))
        for name, value in first.arrays().items():
            np.testing.assert_array_equal(value, second.arrays()[name])


def test_the_edges_of_a_disc_are_its_rim() -> None:
    images, mask = disc()
    found = edges(images.pixels)[0]
    down, across = np.nonzero(found)
    distance = np.hypot(down - 16, across - 16)
    assert len(distance) > 20
    assert np.all(np.abs(distance - 8) < 2)
    rim = sanitised(images, mask, "L1", "L0")
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
    found = sanitised(images, mask, "L2", "L1").image()
    np.testing.assert_array_equal(found[mask], images.pixels[mask])
    assert set(np.unique(found[~mask])) <= {0, 255}


def test_the_task_uses_masks_where_there_are_any() -> None:
    images, mask = disc()
    asked = {"foreground": "L2", "background": "L0", "segmenter": "otsu"}
    inputs: dict[str, Any] = {"images": {"pixels": images.pixels, "labels": images.labels}}
    upside_down = ~mask
    given_masks = {"masks": {"pixels": (upside_down[..., None] * 255).astype(np.uint8)}}
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
    with pytest.raises(InputError, match="masks names 5 masks and masked 6 images"):
        masks_of(images, str(tmp_path / "masks"), str(tmp_path / "images"))
