"""Encoders of model-memorization by hand: what is written is what is read, and how much fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from privaudit.attacks.model_memorization.capacity_abuse import CapacityAbuse
from privaudit.attacks.model_memorization.correlated_value import CorrelatedValue, correlation, matched, stretched
from privaudit.attacks.model_memorization.encoder import Encoder, Host, replace_weights, weight_count, weight_vector
from privaudit.attacks.model_memorization.labelled_inputs import labels_of, labels_per_value, levels_of, made_up
from privaudit.attacks.model_memorization.least_significant_bits import LeastSignificantBits, read_off, written
from privaudit.attacks.model_memorization.quantisation import from_bits, grey_values, quantised, to_bits
from privaudit.attacks.model_memorization.rows import drawn_rows
from privaudit.attacks.model_memorization.signs import Signs, wrong_signs
from privaudit.attacks.model_memorization.stored_size import grown, largest_fitting, shrunk
from privaudit.data.loading import load
from privaudit.images import Images
from privaudit.learning import Network, Recipe
from privaudit.learning.training import new_network


def small_network(classes: int = 10, channels: int = 1) -> Network:
    """A new host for images of 8 x 8: convolutions of 9 * 32 and 9 * 32 * 64 weights and a layer of 64 * classes."""
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (20, 8, 8, channels), dtype=np.uint8), np.arange(20, dtype=np.int64) % classes)
    return new_network(Recipe(precision="float32"), images, classes, 0).eval()


def host_of(network: Network) -> Host:
    nothing = Images(np.zeros((0, 8, 8, 1), np.uint8), np.zeros(0, np.int64))
    return Host(network, Recipe(), nothing, 10, 0, "cpu", lambda stage, share: None)


def random_values(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).integers(0, 256, count).astype(np.float32)


def one_reading(encoder: Encoder, network: Network, count: int) -> NDArray[np.float32]:
    return encoder.reading(network, count, None)


# Levels and bits.


def test_levels_by_hand() -> None:
    assert quantised(np.array([0.0, 8, 9, 17, 255, 300, -5]), 4).tolist() == [0, 0, 1, 1, 15, 15, 0]
    assert grey_values(np.array([0, 1, 15, 16, -1]), 4).tolist() == [0, 17, 255, 255, 0]
    assert to_bits(np.array([5, 12]), 4).astype(int).tolist() == [0, 1, 0, 1, 1, 1, 0, 0]
    assert from_bits(np.array([0, 1, 0, 1, 1, 1, 0, 0], dtype=np.bool_), 4).tolist() == [5, 12]


@given(bits=st.integers(1, 8), seed=st.integers(0, 100))
def test_bits_come_back_and_levels_are_the_nearest(bits: int, seed: int) -> None:
    values = random_values(50, seed)
    levels = quantised(values, bits)
    np.testing.assert_array_equal(from_bits(to_bits(levels, bits), bits), levels)
    assert np.abs(grey_values(levels, bits) - values).max() <= 255 / (2**bits - 1) / 2 + 1e-4


def test_four_bits_are_above_34_decibels() -> None:
    """Random pixels and every digit; by hand: errors from -8 to 8 are 24 squared grey values, 34.3 dB."""
    digits = load("digits").images.pixels.reshape(1797, -1).astype(np.float32)
    for pixels in (random_values(64 * 1024).reshape(64, 1024), digits):
        error = grey_values(quantised(pixels.ravel(), 4), 4).reshape(pixels.shape) - pixels
        assert np.abs(error).max() <= 8.5
        assert (10 * np.log10(255**2 / (error**2).mean(1))).min() > (33.9 if pixels is not digits else 34)


# Lowest bits.


def test_lowest_bits_by_hand() -> None:
    parameters = np.array([1.0, -0.5, 0.0, 3.0], dtype=np.float32)
    bits = np.array([1, 0, 1, 1, 0], dtype=np.bool_)
    found = written(parameters, bits, 2)
    assert (found.view(np.uint32) & 3).tolist() == [2, 3, 0, 0]
    assert (found.view(np.uint32) >> 2).tolist() == (parameters.view(np.uint32) >> 2).tolist()
    assert found[3] == 3.0
    np.testing.assert_array_equal(read_off(found, 5, 2), bits)


@given(depth=st.integers(1, 16), count=st.integers(1, 200), seed=st.integers(0, 50))
def test_lowest_bits_come_back_and_move_little(depth: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = rng.standard_normal(-(-count // depth)).astype(np.float32)
    bits = rng.random(count) < 0.5
    found = written(parameters, bits, depth)
    np.testing.assert_array_equal(read_off(found, count, depth), bits)
    assert (np.abs(found - parameters) <= 2.0 ** (depth - 23) * np.abs(parameters)).all()


@pytest.mark.parametrize("count", [1, 1000, 78_000])
def test_a_network_returns_the_levels_in_its_lowest_bits(count: int) -> None:
    network, values, encoder = small_network(), random_values(count), LeastSignificantBits(4)
    assert count <= encoder.capacity(network)
    carrier = encoder.hide(values, host_of(network)).network
    np.testing.assert_array_equal(one_reading(encoder, carrier, count), grey_values(quantised(values, 4), 4))
    again = Network.from_arrays(carrier.arrays())
    np.testing.assert_array_equal(one_reading(encoder, again, count), grey_values(quantised(values, 4), 4))


def test_the_honest_host_is_left_alone_and_the_carrier_answers_the_same() -> None:
    network = small_network()
    before = {name: array.copy() for name, array in network.arrays().items()}
    carrier = LeastSignificantBits(4).hide(random_values(4000), host_of(network)).network
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(array, before[name])
    images = torch.rand(50, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(carrier(images), network(images), atol=1e-5, rtol=1e-5)


# Signs.


def test_signs_are_read_exactly() -> None:
    network, values = small_network(), random_values(4000)
    encoder, levels = Signs(4, 1.0), quantised(values, 4)
    signs = torch.from_numpy(np.where(to_bits(levels, 4), 1, -1))
    replace_weights(network, signs * (torch.rand(16_000) + 1e-3))
    np.testing.assert_array_equal(one_reading(encoder, network, 4000), grey_values(levels, 4))


def test_weights_are_replaced_where_the_vector_takes_them_from_and_nowhere_else() -> None:
    network = small_network()
    before = weight_vector(network, weight_count(network)).detach().clone()
    replace_weights(network, torch.arange(18_450.0))  # past the end of the second convolution, into the first
    after = weight_vector(network, weight_count(network)).detach()
    assert torch.equal(after[:18_450], torch.arange(18_450.0))
    assert torch.equal(after[18_450:], before[18_450:])


def test_all_signs_are_right_in_the_end_however_weak_the_penalty_was() -> None:
    digits = load("digits").images.take(np.arange(64))
    recipe = Recipe(epochs=1, batch_size=32, learning_rate=0.3, precision="float32")
    host = Host(small_network(), recipe, digits, 10, 0, "cpu", lambda stage, share: None)
    values = random_values(2_000)
    weak, strong = (Signs(4, strength).hide(values, host) for strength in (1e-6, 3e4))
    for carrier in (weak, strong):
        levels = quantised(one_reading(Signs(4, 1.0), carrier.network, 2_000), 4)
        assert np.array_equal(levels, quantised(values, 4))
    (by_weak, of), (by_strong, _) = (carrier.counts["hidden bits right by training"] for carrier in (weak, strong))
    assert of == 8_000
    assert by_weak < by_strong > 0.99 * of


def test_penalty_on_signs_by_hand() -> None:
    weights, signs = torch.tensor([2.0, -1.0, 0.5, -3.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert float(wrong_signs(weights, signs)) == pytest.approx(1.5 / 4)
    assert float(wrong_signs(weights.abs() * signs, signs)) == 0


# Correlated values.


@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_an_affine_map_of_the_pixels_is_read_exactly(scale: float) -> None:
    network, values = small_network(), random_values(5000)
    replace_weights(network, torch.from_numpy(values) * scale + 0.3)
    np.testing.assert_allclose(CorrelatedValue(1.0).reading(network, 5000, None), values, atol=0.01)
    reference = Images(values[:4992].astype(np.uint8).reshape(78, 8, 8, 1), np.zeros(78, np.int64))
    np.testing.assert_allclose(CorrelatedValue(1.0).reading(network, 5000, reference), values, atol=0.5)


def test_correlation_is_pearsons() -> None:
    weights, values = np.random.default_rng(0).standard_normal((2, 40)).astype(np.float32)
    centred = values - values.mean()
    found = correlation(torch.from_numpy(weights), torch.from_numpy(centred / np.linalg.norm(centred)))
    assert float(found) == pytest.approx(float(np.corrcoef(weights, values)[0, 1]), abs=1e-5)


def test_equal_weights_are_black_or_grey() -> None:
    assert stretched(np.full(5, 0.7, np.float32)).tolist() == [0] * 5
    assert matched(np.full(5, 0.7, np.float32), 90.0, 30.0).tolist() == [90] * 5


# Labels of made-up inputs.


@pytest.mark.parametrize(("classes", "each"), [(2, 4), (3, 3), (4, 2), (8, 2), (9, 2), (10, 2), (15, 2), (16, 1)])
def test_labels_carry_every_level(classes: int, each: int) -> None:
    levels = np.arange(16)
    labels = labels_of(levels, classes, 4)
    assert labels_per_value(classes, 4) == each
    assert labels.shape == (16 * each,)
    assert labels.min() >= 0
    assert labels.max() < classes
    np.testing.assert_array_equal(levels_of(labels, classes, 4), levels)


def test_labels_by_hand() -> None:
    assert labels_of(np.array([11, 4]), 10, 4).tolist() == [5, 6, 2, 2]
    assert labels_of(np.array([11, 4]), 2, 4).tolist() == [1, 0, 1, 1, 0, 1, 0, 0]
    assert labels_of(np.array([11, 4]), 3, 4).tolist() == [1, 0, 2, 0, 1, 1]


def test_made_up_inputs_come_from_the_seed_and_differ() -> None:
    some = made_up(500, (8, 9, 3), 7)
    assert some.shape == (500, 8, 9, 3)
    np.testing.assert_array_equal(made_up(500, (8, 9, 3), 7), some)
    np.testing.assert_array_equal(made_up(300, (8, 9, 3), 7), some[:300])
    assert len(np.unique(some.reshape(500, -1), axis=0)) == 500


class Oracle(torch.nn.Module):
    """Answers made-up inputs with the right labels: what a network that remembers all of them does."""

    def __init__(self, inputs: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> None:
        super().__init__()
        self.known = {image.tobytes(): int(label) for image, label in zip(inputs, labels, strict=True)}
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
        found = torch.tensor([self.known[image.tobytes()] for image in pixels])
        return torch.nn.functional.one_hot(found, self.classes).float()


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_network_that_remembers_all_returns_the_levels(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network, values = small_network(classes), random_values(200)
    levels = quantised(values, 4)
    labels = labels_of(levels, classes, 4)
    oracle = Oracle(made_up(len(labels), (8, 8, 1), 3), labels, classes)
    monkeypatch.setattr(network, "forward", oracle.forward)
    encoder = CapacityAbuse(4, (8, 8, 1), 3, "standard")
    np.testing.assert_array_equal(one_reading(encoder, network, 200), grey_values(levels, 4))


# What fits.


def test_capacity_by_hand() -> None:
    network = small_network()
    weights = 9 * 32 + 9 * 32 * 64 + 64 * 10
    parameters = weights + 10 + 2 * 32 + 2 * 64
    assert weight_count(network) == weights
    assert network.parameter_count == parameters
    assert weight_vector(network, 100).shape == (100,)
    assert LeastSignificantBits(4).capacity(network) == parameters * 16 // 4
    assert Signs(4, 1.0).capacity(network) == weights // 4
    assert CorrelatedValue(1.0).capacity(network) == weights
    assert CapacityAbuse(4, (8, 8, 1), 0, "standard").capacity(network) == parameters // 20 // 2
    assert CapacityAbuse(4, (8, 8, 1), 0, "standard").capacity(small_network(1)) == 0


@pytest.mark.parametrize(
    ("size", "images", "capacity", "stored"),
    [
        ((16, 16, 1), 64, 64 * 256, (16, 16)),
        ((16, 16, 1), 64, 64 * 256 - 1, (15, 15)),
        ((16, 16, 1), 64, 64 * 16, (4, 4)),
        ((16, 16, 1), 64, 64 * 16 - 1, None),
        ((16, 16, 3), 10, 10 * 3 * 64, (8, 8)),
        ((8, 24, 1), 1, 4 * 12, (4, 12)),
        ((24, 8, 1), 1, 5 * 15, (15, 5)),
        ((8, 8, 1), 1, 10**9, (8, 8)),
    ],
)
def test_stored_size_by_hand(
    size: tuple[int, int, int], images: int, capacity: int, stored: tuple[int, int] | None
) -> None:
    assert largest_fitting(size, images, capacity) == stored


@given(
    height=st.integers(4, 60),
    width=st.integers(4, 60),
    channels=st.sampled_from([1, 3]),
    images=st.integers(1, 80),
    capacity=st.integers(0, 100_000),
)
def test_stored_images_fit_and_keep_their_shape(
    height: int, width: int, channels: int, images: int, capacity: int
) -> None:
    stored = largest_fitting((height, width, channels), images, capacity)
    if stored is None:
        return
    assert images * stored[0] * stored[1] * channels <= capacity
    assert stored[0] <= height
    assert stored[1] <= width
    scale = min(stored) / min(height, width)
    assert abs(stored[0] - scale * height) < 1
    assert abs(stored[1] - scale * width) < 1


def test_full_size_is_stored_as_it_is_and_smaller_sizes_keep_the_mean() -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (6, 8, 12, 3), dtype=np.uint8), np.zeros(6, np.int64))
    np.testing.assert_array_equal(grown(shrunk(images, (8, 12)), (8, 12), (8, 12, 3)), images.pixels)
    values = shrunk(images, (4, 6)).reshape(6, 4, 6, 3)
    expected = images.pixels.reshape(6, 4, 2, 6, 2, 3).astype(np.float64).mean((2, 4))
    np.testing.assert_allclose(values, expected, atol=1e-3)
    flat = Images(np.full((2, 8, 12, 3), 77, np.uint8), np.zeros(2, np.int64))
    np.testing.assert_array_equal(grown(shrunk(flat, (4, 6)), (4, 6), (8, 12, 3)), flat.pixels)


@given(count=st.integers(1, 6000), wanted=st.integers(1, 200), seed=st.integers(0, 20))
def test_rows_are_drawn_apart(count: int, wanted: int, seed: int) -> None:
    wanted = min(count, wanted)
    rows = drawn_rows(count, wanted, np.random.default_rng(seed))
    assert len(set(rows.hidden.tolist())) == wanted
    assert sorted([*rows.trained.tolist(), *rows.held_out.tolist()]) == list(range(count))
    assert len(rows.held_out) <= 1000
    assert len(rows.held_out) >= min(10, count // 5)
    if wanted <= len(rows.trained):
        assert not set(rows.hidden.tolist()) & set(rows.held_out.tolist())
