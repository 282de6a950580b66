"""Generators: they fit every size, are read back as they were, and are trained once for equal images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from privaudit.images import Images
from privaudit.learning.adversarial import trained_generator
from privaudit.learning.augmentation import differentiable_augmentation
from privaudit.learning.generator import Discriminator, Generator, doublings, random_latents


@pytest.mark.parametrize(("height", "width", "count"), [(8, 8, 1), (15, 40, 1), (16, 16, 2), (28, 28, 2), (32, 64, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_fit_every_size(height: int, width: int, count: int, channels: int) -> None:
    assert doublings(height, width) == count
    size = (height, width, channels)
    generator = Generator(size).eval()
    images = generator(random_latents(3, np.random.default_rng(0), "cpu")).detach()
    assert images.shape == (3, channels, height, width)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert Discriminator(size)(images).shape == (3,)
    again = Generator.from_arrays(generator.arrays(), size)
    torch.testing.assert_close(again(random_latents(3, np.random.default_rng(0), "cpu")).detach(), images)


def test_narrow_generators_are_read_back() -> None:
    generator = Generator((16, 16, 1), 8).eval()
    assert Generator.from_arrays(generator.arrays(), (16, 16, 1)).start == generator.start


def test_augmentation_keeps_shapes_and_gradients() -> None:
    images = torch.rand(5, 3, 9, 20, requires_grad=True)
    changed = differentiable_augmentation(images, np.random.default_rng(0))
    assert changed.shape == images.shape
    (gradient,) = torch.autograd.grad(changed.sum(), images)
    assert float(gradient.abs().sum()) > 0


def test_a_generator_is_trained_once_for_equal_images() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 1), dtype=np.uint8)
    images = Images(pixels, np.zeros(40, np.int64))
    first, _ = trained_generator(images, 3, 7, "cpu")
    second, _ = trained_generator(images, 3, 7, "cpu")
    other, _ = trained_generator(images, 3, 8, "cpu")
    for name, value in first.arrays().items():
        np.testing.assert_array_equal(value, second.arrays()[name])
    assert any((value != other.arrays()[name]).any() for name, value in first.arrays().items())
