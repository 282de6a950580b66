"""The blind baseline: it tells sources apart, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import digits, random_images
from PIL import Image

from privaudit.data.loading import load
from privaudit.images import Images
from privaudit.validity import blind_baseline, simple_features


def marked(images: Images) -> Images:
    pixels = images.pixels.copy()
    pixels[:, 1:3, -3:-1] = 255
    return Images(pixels, images.labels)


def resampled(images: Images) -> Images:
    height, width, _ = images.size
    made = [
        np.asarray(Image.fromarray(image[:, :, 0]).resize((10, 10)).resize((width, height)))[:, :, None]
        for image in images.pixels
    ]
    return Images(np.stack(made), images.labels)


def gamma(images: Images) -> Images:
    return Images(np.rint(255 * (images.pixels / 255) ** 0.8).astype(np.uint8), images.labels)


def judged(members: Images, controls: Images, seed: int = 0, units: list[str] | None = None) -> tuple[float, bool]:
    names = np.array(units if units is not None else [f"u{row:05d}" for row in range(len(members) + len(controls))])
    found = blind_baseline(members, controls, names, "image", np.random.default_rng(seed))
    assert found is not None
    estimate, p, passed = found
    assert 0 <= estimate.low <= estimate.estimate <= estimate.high <= 1
    return p, passed


@pytest.mark.parametrize("change", [marked, resampled, gamma])
def test_controls_from_another_source_are_told(change: object) -> None:
    data = digits()
    assert callable(change)
    p, passed = judged(data.members.images, change(data.controls.images))
    assert p <= 0.01
    assert not passed


@pytest.mark.parametrize("seeds", [range(3), pytest.param(range(3, 43), marks=pytest.mark.slow)])
def test_one_source_passes_at_the_nominal_rate(seeds: range) -> None:
    images = load("digits").images
    failed = 0
    for seed in seeds:
        order = np.random.default_rng(seed).permutation(len(images))
        failed += not judged(images.take(order[:300]), images.take(order[300:700]), seed)[1]
    assert failed <= (1 if len(seeds) == 3 else 4)  # p < .001 at 1 %


def test_persons_count_once() -> None:
    """Strong traits of few persons must not look like a difference of sources."""
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(3):
        tone = np.repeat(rng.integers(40, 200, 80), 10)
        pixels = np.clip(tone[:, None, None, None] + rng.integers(-30, 30, (800, 8, 8, 1)), 0, 255).astype(np.uint8)
        images = Images(pixels, np.zeros(800, np.int64))
        units = [f"p{number}" for number in np.repeat(np.arange(80), 10)]
        failed += not judged(images.take(slice(0, 400)), images.take(slice(400, 800)), units=units)[1]
    assert failed <= 1


def test_too_few_units_are_not_judged() -> None:
    few, many = random_images(19, 1), random_images(100, 2)
    units = np.array([f"u{row}" for row in range(119)])
    assert blind_baseline(few, many, units, "image", np.random.default_rng(0)) is None


def test_same_seed_same_answer() -> None:
    data = digits()
    assert judged(data.members.images, data.controls.images, 3) == judged(data.members.images, data.controls.images, 3)


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(3, 3, 1), (8, 8, 1), (7, 20, 3), (130, 129, 1), (16, 16, 3)]
)
def test_features_of_any_size_are_finite(height: int, width: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (30, height, width, channels), dtype=np.uint8)
    pixels[:3] = 0
    pixels[3:5] = 255
    found = simple_features(Images(pixels, np.zeros(30, np.int64)))
    assert found.shape[0] == 30
    assert np.isfinite(found).all()


def test_flat_images_do_not_break_it() -> None:
    flat = Images(np.full((60, 8, 8, 1), 9, np.uint8), np.zeros(60, np.int64))
    assert judged(flat.take(slice(0, 30)), flat.take(slice(30, 60)))[1]
