"""The encoder that runs a network backwards, by hand: codes, and weights that go both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privaudit.attacks.model_memorization.transpose import Reversible, Transpose, answered_right, kept_in, revealed
from privaudit.attacks.model_memorization.transpose_code import code_length, codes, digits_for, gray, labels_of_codes
from privaudit.images import Images


def test_gray_code_by_hand() -> None:
    """0 to 8 to the base 3, the lowest digit first; each differs from the one before in one digit."""
    found = ["".join(map(str, code)) for code in gray(np.arange(9), 2)]
    assert found == ["00", "10", "20", "21", "01", "11", "12", "22", "02"]


@given(digits=st.integers(1, 6))
def test_neighbours_differ_in_one_digit_and_all_codes_differ(digits: int) -> None:
    found = gray(np.arange(3**digits), digits)
    assert found.min() == 0
    assert found.max() == 2
    assert len(np.unique(found, axis=0)) == 3**digits
    assert ((found[1:] != found[:-1]).sum(1) == 1).all()


def test_digits() -> None:
    assert [digits_for(count) for count in (0, 1, 3, 4, 9, 10, 27, 28)] == [1, 1, 1, 2, 2, 3, 3, 4]


def test_codes_by_hand() -> None:
    """Two images of class 0 and three of class 2, of three classes."""
    found = codes(np.array([2, 0, 3]), 3)
    assert found.tolist() == [[3, 0, 0], [4, 0, 0], [0, 0, 3], [1, 0, 3], [2, 0, 3]]
    assert labels_of_codes(np.array([2, 0, 3])).tolist() == [0, 0, 2, 2, 2]


@pytest.mark.parametrize(("classes", "most", "length"), [(10, 100, 10), (2, 9, 2), (2, 10, 3), (1, 1000, 7), (3, 0, 3)])
def test_few_classes_get_longer_codes(classes: int, most: int, length: int) -> None:
    assert code_length(classes, np.array([most, 0])) == length


@given(per_class=st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_no_two_images_share_a_code(per_class: list[int]) -> None:
    """Also with more than ten classes, whose labels have two digits."""
    counts = np.array(per_class, dtype=np.int64)
    found = codes(counts, code_length(len(counts), counts))
    assert len(np.unique(found, axis=0)) == counts.sum()


def test_the_same_weights_run_both_ways() -> None:
    """Two layers by hand: forwards W2 relu(W1 x), backwards W1^T relu(W2^T c)."""
    network = Reversible([4, 2, 1], 0.0, 1.0)
    first, second = torch.tensor([[1.0, 0, -1, 0], [0, 2.0, 0, 0]]), torch.tensor([[3.0, -1.0]])
    network.weights[0].data, network.weights[1].data = first, second
    image = torch.tensor([0.5, 0.25, 0.0, 1.0]).view(1, 1, 2, 2)
    assert network(image).tolist()[0][0] == 3 * 0.5 - 2 * 0.25
    code = torch.tensor([[2.0]])
    assert network.backwards(code).tolist() == [[6.0, 0.0, -6.0, 0.0]]
    again = Reversible.from_arrays(network.arrays())
    torch.testing.assert_close(again(image), network(image))
    torch.testing.assert_close(again.backwards(code), network.backwards(code))


def test_pixels_are_counted_in_the_same_order_both_ways() -> None:
    """A network of one layer that is the identity gives colour images back as they are."""
    network = Reversible([12, 12], 0.25, 0.5)
    network.weights[0].data = torch.eye(12)
    image = torch.rand(1, 3, 2, 2)
    back = network.backwards(network(image)).view(1, 2, 2, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(back, image)


def test_revealed_images_are_in_range_and_in_the_order_of_classes() -> None:
    torch.manual_seed(0)
    network = Reversible([16, 8, 3], 0.5, 10.0)
    found = revealed(network, np.array([1, 0, 2]), (4, 4, 1))
    assert found.pixels.shape == (3, 4, 4, 1)
    assert found.labels.tolist() == [0, 2, 2]
    assert found.pixels.dtype == np.uint8


def test_float16_rounds_the_weights_alone() -> None:
    network = Reversible([16, 8, 3], 1 / 3, 1 / 7)
    rounded = kept_in(network, "float16")
    assert (rounded.mean, rounded.std) == (1 / 3, 1 / 7)
    weight, before = (one.arrays()["layer 0"] for one in (rounded, network))
    np.testing.assert_array_equal(weight, weight.astype(np.float16))
    assert (weight != before).any()


def test_extra_numbers_of_a_code_are_no_classes() -> None:
    """The second answer stands for nothing where there is one class."""
    network = Reversible([1, 2], 0.0, 1.0)
    network.weights[0].data = torch.tensor([[1.0], [5.0]])
    images = Images(np.full((3, 1, 1, 1), 200, np.uint8), np.zeros(3, np.int64))
    assert answered_right(network, images, 1) == 3
    assert answered_right(network, images, 2) == 0


def test_equal_seeds_give_equal_weights_and_the_honest_host_starts_alike() -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (20, 8, 8, 1), dtype=np.uint8), np.sort(np.arange(20) % 2))
    per_class = np.array([10, 10])

    def host(seed: int, steps: int) -> Transpose:
        return Transpose(16, steps, seed, "cpu", lambda stage, share: None)

    first, again, other = (host(seed, 3).hide(images, images, 2, per_class).arrays() for seed in (1, 1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["layer 0"] != other["layer 0"]).any()
    honest, malicious = (
        host(1, 0).honest(images, 2, per_class).arrays(),
        host(1, 0).hide(images, images, 2, per_class).arrays(),
    )
    np.testing.assert_array_equal(honest["layer 0"], malicious["layer 0"])
