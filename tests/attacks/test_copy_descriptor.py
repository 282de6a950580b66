"""copy-descriptor: a network that learns from the attacker's own images finds copies, and nothing among strangers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from privaudit.attack import Context, Seen, trains
from privaudit.attacks.copy_descriptor import CopyDescriptor, log_distance, usual_distance
from privaudit.attacks.copy_descriptor.augmentation import changed, recoloured, warped
from privaudit.attacks.copy_descriptor.encoder import prepared, trained_descriptors
from privaudit.calls import Call, Surroundings, inside
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning.contrastive import nt_xent
from privaudit.store import Arrays

STEPS = 60


def pictures(count: int, seed: int, side: int = 16, channels: int = 3) -> Images:
    """Smooth random pictures with some noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (count, 4, 4, channels)).repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    pixels = np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8)
    return Images(pixels, np.zeros(count, np.int64))


def attacked(release: Images, suspects: Images, reference: Images | None, steps: int = STEPS) -> np.ndarray:
    own = Context(np.random.default_rng(0), seed=3, effort="quick", reference=reference)
    seen = Seen({"pixels": release.pixels, "labels": release.labels})
    evidence = CopyDescriptor(steps=steps, precision="float32").attack(seen, suspects, own)
    assert evidence.scores is not None
    assert evidence.nearest is not None
    assert evidence.scores.dtype == np.float64
    assert np.isfinite(evidence.scores).all()
    return np.stack([evidence.scores, evidence.nearest])


def test_copies_are_found_unchanged_and_changed() -> None:
    suspects, unseen, reference = pictures(80, 1), pictures(60, 2), pictures(100, 3)
    exact, mirrored = suspects.take(slice(0, 8)), suspects.pixels[8:16, :, ::-1].copy()
    noisy = np.clip(suspects.pixels[16:24] + np.random.default_rng(4).normal(0, 10, (8, 16, 16, 3)), 0, 255)
    copies = [exact, Images(mirrored, exact.labels), Images(noisy.astype(np.uint8), exact.labels)]
    scores, nearest = attacked(concatenate([unseen, *copies]), suspects, reference)
    assert scores[:16].min() > scores[24:].max()
    assert (scores[16:24] > np.quantile(scores[24:], 0.95)).sum() >= 6
    assert nearest[:16].tolist() == list(range(60, 76))


def test_strangers_look_alike() -> None:
    suspects, release, reference = pictures(400, 1), pictures(100, 2), pictures(60, 3)
    scores, _ = attacked(release, suspects, reference, steps=20)
    assert 0.42 < (scores[:200, None] > scores[None, 200:]).mean() < 0.58  # about three standard errors


def test_same_seed_same_bytes() -> None:
    parts = pictures(30, 1), pictures(40, 2), pictures(30, 3)
    np.testing.assert_array_equal(attacked(*parts, steps=5), attacked(*parts, steps=5))


class Asked(Surroundings):
    """Remembers what a task asks for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def compute(self, calls: Sequence[Call]) -> list[Arrays]:
        self.calls += calls
        return super().compute(calls)


def test_the_network_is_made_of_his_own_images_alone() -> None:
    """The same training is asked for whatever is released and suspected: it is done once per store."""
    reference = pictures(30, 3)
    around = Asked()
    with inside(around):
        attacked(pictures(20, 1), pictures(40, 2), reference, steps=3)
        attacked(pictures(25, 4), pictures(30, 5), reference, steps=3)
    trainings = [call for call in around.calls if call.function.endswith("train_task")]
    assert len(trainings) == 2
    assert len({(call.function, repr(call.arguments), repr(call.facts)) for call in trainings}) == 1
    for call in trainings:
        assert set(call.inputs) == {"images"}
        assert set(call.inputs["images"]) == {"pixels"}
        np.testing.assert_array_equal(call.inputs["images"]["pixels"], reference.pixels)
    assert not trains(CopyDescriptor())


@pytest.mark.parametrize("count", [0, 15])
def test_an_attacker_needs_images_of_his_own(count: int) -> None:
    images = pictures(20, 1)
    with pytest.raises(InputError, match=f"at least 16 images .* found {count}; give --reference"):
        attacked(images, images, images.take(slice(0, count)) if count else None)


@pytest.mark.parametrize(("height", "width", "channels"), [(4, 4, 1), (8, 8, 1), (12, 20, 3), (130, 96, 1)])
def test_any_size_works(height: int, width: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (18, height, width, channels), dtype=np.uint8), np.zeros(18, np.int64))
    attacked(images.take(slice(0, 1)), images, images, steps=2)


def test_flat_images_do_no_harm() -> None:
    flat = Images(np.full((20, 16, 16, 1), 90, np.uint8), np.zeros(20, np.int64))
    assert np.ptp(attacked(flat, flat, flat, steps=2)[0]) < 1e-5


# Parts.


def test_nt_xent_by_hand() -> None:
    """Two pairs of unit vectors, temperature 1: partners equal, strangers at right angles."""
    rows = torch.eye(2)
    expected = -math.log(math.e / (math.e + 2))
    assert float(nt_xent(rows, rows, 1.0)) == pytest.approx(expected)
    swapped = -math.log(1 / (math.e + 2))
    assert float(nt_xent(rows, rows.flip(0), 1.0)) == pytest.approx(swapped)


def test_log_distance_by_hand() -> None:
    found = log_distance(torch.tensor([1.0, 0.5, 0.0, -1.0]))
    np.testing.assert_allclose(found, np.log([0.01, 1.0, 2**0.5, 2.0]), rtol=1e-6)
    own = torch.eye(3)
    assert float(usual_distance(torch.eye(3)[:1], own[1:], 5)) == pytest.approx(math.log(2**0.5))


def test_prepared_images_have_a_side_of_8_to_64() -> None:
    for size, expected in {(4, 8): (8, 16), (28, 28): (28, 28), (128, 256): (64, 128)}.items():
        assert tuple(prepared(np.zeros((2, *size, 1), np.uint8), "cpu").shape) == (2, 1, *expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_changes_keep_shape_and_range_and_come_from_the_generator(channels: int) -> None:
    images = prepared(pictures(12, 1, 16, channels).pixels, "cpu")
    for change in (warped, recoloured, changed):
        first, again = (change(images, np.random.default_rng(7)) for _ in range(2))
        torch.testing.assert_close(first, again, rtol=0, atol=0)
        assert first.shape == images.shape
        assert first.dtype == torch.float32
        assert first.min() >= 0
        assert first.max() <= 1
        assert not torch.equal(first, images)


def test_descriptors_are_blind_to_mirroring() -> None:
    images = pictures(20, 1)
    mirrored = Images(images.pixels[:, :, ::-1].copy(), images.labels)
    (rows, again), training = trained_descriptors(images, [images, mirrored], 16, 3, 0, "cpu")
    assert rows.shape == (20, 16)
    assert math.isfinite(training["NT-Xent loss"])
    assert training["trained in bfloat16"] == 0
    np.testing.assert_allclose(rows.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(again, rows, atol=1e-5)
