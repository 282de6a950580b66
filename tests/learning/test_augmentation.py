"""Random shifts and mirror images: compared with a slow loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privaudit.learning.augmentation import augment

SHIFTS = 2


def numbered(count: int = 6, channels: int = 3, height: int = 5, width: int = 7) -> torch.Tensor:
    """Images of which every pixel is another number, none 0."""
    return 1.0 + torch.arange(count * channels * height * width).reshape(count, channels, height, width).float()


def shifted(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """The image moved down and right; zeros come in."""
    moved = np.zeros_like(image)
    _, height, width = image.shape
    for row in range(height):
        for column in range(width):
            if 0 <= row - down < height and 0 <= column - right < width:
                moved[:, row, column] = image[:, row - down, column - right]
    return moved


def variants(image: np.ndarray, shift: int, flip: bool) -> dict[tuple[int, int, bool], np.ndarray]:
    moves = range(-shift, shift + 1)
    found = {}
    for down in moves:
        for right in moves:
            moved = shifted(image, down, right)
            found[down, right, False] = moved
            if flip:
                found[down, right, True] = moved[:, :, ::-1]
    return found


def which(image: np.ndarray, result: np.ndarray, shift: int, flip: bool) -> tuple[int, int, bool]:
    (found,) = [place for place, made in variants(image, shift, flip).items() if np.array_equal(made, result)]
    return found


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("shift", "flip"), [(SHIFTS, True), (SHIFTS, False), (0, True), (1, True)])
def test_every_image_is_moved_and_mirrored_whole(channels: int, shift: int, flip: bool) -> None:
    images = numbered(40, channels)
    found = augment(images, shift, flip, np.random.default_rng(0))
    assert found.shape == images.shape
    places = {which(before, after, shift, flip) for before, after in zip(images.numpy(), found.numpy(), strict=True)}
    assert len(places) > 1  # each image has its own


def test_all_moves_are_equally_frequent() -> None:
    images = numbered(1, 1, 4, 4).expand(4000, -1, -1, -1)
    found = augment(images, 1, True, np.random.default_rng(1)).numpy()
    counts: dict[tuple[int, int, bool], int] = {}
    for result in found:
        place = which(images[0].numpy(), result, 1, True)
        counts[place] = counts.get(place, 0) + 1
    assert len(counts) == 18
    expected = 4000 / 18
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 40.8  # chi-squared, 17 df, 0.1 %


def test_nothing_asked_changes_nothing() -> None:
    images = numbered()
    before = images.clone()
    assert torch.equal(augment(images, 0, False, np.random.default_rng(0)), before)
    augment(images, 2, True, np.random.default_rng(0))
    assert torch.equal(images, before)


def test_all_chance_comes_from_the_generator() -> None:
    images = numbered(20)
    first, second, other = (augment(images, 2, True, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    channels_last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(augment(channels_last, 2, True, np.random.default_rng(3)), first)
