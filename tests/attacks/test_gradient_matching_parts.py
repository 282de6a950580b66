"""The parts of gradient-matching: products of factored gradients, labels, division, the two searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from privaudit.attacks.gradient_matching import algebra, deep_leakage, inverting, labels, objectives
from privaudit.attacks.gradient_matching.deep_leakage import Start
from privaudit.attacks.gradient_matching.factored import factored_products
from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient, prepared
from privaudit.attacks.gradient_matching.inverting import Search
from privaudit.attacks.gradient_matching.similarity import GradientSimilarity
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Network


def network(name: str = "convnet", side: int = 8, classes: int = 4, channels: Any = 1) -> Network:
    """Random weights; running statistics are those of noise."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Network(Architecture(name=name, channels=channels, classes=classes, side=side))
        made.train()(torch.rand(16, channels, side, side))
    return made.eval()


def observed(made: Network, images: Tensor, numbers: Tensor, batch_size: int = 1, mode: Any = "evaluation") -> Observed:
    """What the victims show who hold these standardised images, one after the other."""
    ready = prepared(made, mode, "cpu")
    ready.to(images.dtype)
    parts = zip(torch.split(images, batch_size), torch.split(numbers, batch_size), strict=True)
    found = [batch_gradient(ready, some, labels) for some, labels in parts]
    names = [name for name, _ in ready.named_parameters()]
    gradients = {name: torch.stack([part[place] for part in found]) for place, name in enumerate(names)}
    channels, height, width = images.shape[1:]
    return Observed(ready, gradients, batch_size, (height, width, channels), mode)


def drawn(count: int, side: int = 8, channels: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("outputs", "inputs", "places"), [(7, 9, 2), (3, 2, 11), (1, 1, 1)])
def test_factored_products_are_those_of_the_whole_gradient(outputs: int, inputs: int, places: int) -> None:
    """Both ways, by the Gram matrices and by the gradient itself, with their derivatives, against plain products."""
    draw = torch.Generator().manual_seed(1)
    rows, columns, target = (
        torch.randn(3, *shape, generator=draw, dtype=torch.float64)
        for shape in ((outputs, places), (inputs, places), (outputs, inputs))
    )
    rows.requires_grad_()
    columns.requires_grad_()
    dot, square = factored_products(rows, columns, target)
    whole = rows @ columns.transpose(1, 2)
    torch.testing.assert_close(dot, (whole * target).sum((1, 2)))
    torch.testing.assert_close(square, whole.square().sum((1, 2)))
    assert torch.autograd.gradcheck(lambda one, other: factored_products(one, other, target), (rows, columns))


@pytest.mark.parametrize("mode", ["evaluation", "training"])
@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("name", ["convnet", "lenet", "mlp", "resnet20"])
def test_all_victims_at_once_equal_one_after_the_other(name: str, batch_size: int, mode: Any) -> None:
    """In double precision: the distance and its derivative by the images, against the automatic graph."""
    made = network(name).double()
    images, others = drawn(2 * batch_size).double(), drawn(2 * batch_size, seed=1).double().requires_grad_()
    numbers = torch.arange(2 * batch_size) % 4
    similarity = GradientSimilarity(observed(made, images, numbers, batch_size, mode))
    assert similarity.way == "factored"
    at_once = similarity.distance(others, numbers)
    (slope,) = torch.autograd.grad(at_once.sum(), others)
    similarity.way = "plain"
    alone = similarity.distance(others, numbers)
    torch.testing.assert_close(at_once, alone)
    torch.testing.assert_close(slope, torch.autograd.grad(alone.sum(), others)[0], rtol=1e-4, atol=1e-9)
    similarity.way = "factored"
    own = similarity.distance(images, numbers)
    torch.testing.assert_close(own, torch.zeros_like(own), rtol=0, atol=1e-9)
    assert (at_once > 1e-3).all()


@pytest.mark.parametrize("name", ["convnet", "resnet20", "torchvision:resnet18"])
def test_folded_network_gives_the_gradients_of_the_whole(name: str) -> None:
    """Distance and derivative against the automatic graph; torchvision's change in place what a layer returned."""
    images, numbers = drawn(2, 32, 3), torch.tensor([0, 1])
    others = drawn(2, 32, 3, seed=1).requires_grad_()
    similarity = GradientSimilarity(observed(network(name, 32, channels=3), images, numbers))
    found = {}
    for way in ("folded", "plain"):
        assert similarity.folded.possible
        similarity.way = way
        far = similarity.distance(others, numbers)
        found[way] = far, torch.autograd.grad(far.sum(), others)[0]
        assert similarity.distance(images, numbers).abs().max() < 1e-5
        assert far.min() > 1e-3
    torch.testing.assert_close(found["folded"][0], found["plain"][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found["folded"][1], found["plain"][1], rtol=1e-3, atol=1e-7)


def test_way_by_what_the_victims_allow() -> None:
    images, numbers = drawn(2), torch.tensor([0, 1])
    assert GradientSimilarity(observed(network(), images, numbers)).way == "factored"
    assert GradientSimilarity(observed(network(), images, numbers), dtype=torch.bfloat16).way == "folded"
    large = observed(network(side=32, channels=3), drawn(2, 32, 3), numbers)
    assert GradientSimilarity(large).way == "folded"
    assert GradientSimilarity(replace(large, local_steps=2)).way == "plain"
    trained = observed(network(side=32, channels=3), drawn(2, 32, 3), numbers, 2, "training")
    assert GradientSimilarity(trained).way == "factored"


def test_networks_without_second_derivatives_say_so() -> None:
    images, numbers = drawn(1, 32, 3), torch.tensor([0])
    seen = observed(network("torchvision:mobilenet_v3_small", 32, channels=3), images, numbers)
    with pytest.raises(InputError, match=r"no second derivatives .*Choose another network"):
        inverting.invert(seen, numbers, images[None], Search(1), lambda share: None)


def test_label_of_one_image_is_certain() -> None:
    """For any network and weights: p - y is negative for the label and for nothing else."""
    numbers = torch.tensor([3, 0, 2, 1, 1])
    for name in ("convnet", "lenet", "mlp", "resnet20"):
        seen = observed(network(name), drawn(5), numbers)
        assert labels.single_labels(seen).tolist() == numbers.tolist()
        del seen.gradients["body.linear.bias"]
        if name != "resnet20":  # features are above zero, so that their sum has the sign of the bias
            assert labels.single_labels(seen).tolist() == numbers.tolist()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=8).filter(any), st.integers(0, 2**31))
@example([1, 0, 1], 365)
def test_counts_come_back_where_predictions_are_known(counts: list[int], seed: int) -> None:
    """If every image of a class is predicted as expected, the gradient gives the counts exactly."""
    rng = np.random.default_rng(seed)
    expected = rng.dirichlet(np.ones(len(counts)), len(counts))
    wanted, size = np.array(counts), sum(counts)
    gradient = wanted @ (expected - np.eye(len(counts))) / size
    found = labels.whole_counts(expected, gradient, size)
    assert found.tolist() == counts


def test_counts_by_hand() -> None:
    """Nothing is known: p is 1/2 for both classes. Gradient (-1/4, 1/4) of four images: three and one."""
    found = labels.whole_counts(np.full((2, 2), 0.5), np.array([-0.25, 0.25]), 4)
    assert found.tolist() == [3, 1]


def test_labels_of_batches() -> None:
    rng = np.random.default_rng(0)
    reference = Images(rng.integers(0, 256, (300, 8, 8, 1), dtype=np.uint8), np.arange(300) % 4)
    mean, std = 0.5, 0.5
    own = (torch.from_numpy(reference.pixels[:12].copy()).permute(0, 3, 1, 2).float() / 255 - mean) / std
    numbers = torch.tensor([0, 0, 3, 0, 1, 2, 1, 1, 3, 2, 2, 2])
    seen = observed(network(), own, numbers, 4)
    expected = [sorted(some.tolist()) for some in torch.split(numbers, 4)]
    assert labels.batch_labels(seen, reference, rng).tolist() == expected
    assert labels.batch_labels(seen, None, rng).tolist() == expected
    del seen.gradients["body.linear.bias"]
    with pytest.raises(InputError, match=r"no bias.*batch_size 1"):
        labels.batch_labels(seen, reference, rng)
    without = observed(network("torchvision:squeezenet1_1", 32, channels=3), drawn(1, 32, 3), torch.tensor([0]))
    with pytest.raises(InputError, match="ends in no linear layer"):
        labels.single_labels(without)


def test_division_by_hand() -> None:
    """One hidden unit is enough: its weight gradient is its bias gradient times the pixels."""
    images = drawn(3)
    seen = observed(network("mlp"), images, torch.tensor([0, 1, 2]))
    assert algebra.first_layer(seen) == "body.hidden"
    weight, bias = seen.gradients["body.hidden.weight"], seen.gradients["body.hidden.bias"]
    unit = int(bias[0].abs().argmax())
    torch.testing.assert_close((weight[0, unit] / bias[0, unit]).reshape(1, 8, 8), images[0], rtol=1e-4, atol=1e-4)
    found = algebra.divide(seen, "body.hidden")
    torch.testing.assert_close(found, images, rtol=1e-4, atol=1e-4)
    assert algebra.relative_difference(seen, found, torch.tensor([0, 1, 2])).max() < algebra.CERTAIN / 10
    assert algebra.relative_difference(seen, found, torch.tensor([1, 2, 0])).min() > algebra.CERTAIN * 10
    assert algebra.relative_difference(seen, found.flip(0), torch.tensor([0, 1, 2]))[0] > algebra.CERTAIN * 10


def test_no_division_where_nothing_was_learned_or_the_first_layer_sees_no_pixels() -> None:
    seen = observed(network("mlp"), drawn(1), torch.tensor([0]))
    for part in seen.gradients.values():
        part.zero_()
    found = algebra.divide(seen, "body.hidden")
    assert not found.any()
    assert algebra.relative_difference(seen, found, torch.tensor([0])).isinf().all()
    assert algebra.first_layer(observed(network("convnet"), drawn(1), torch.tensor([0]))) is None


def test_total_variation_by_hand() -> None:
    images = torch.tensor([[[[0.0, 1.0], [0.0, 3.0]]], [[[2.0, 2.0], [2.0, 2.0]]]])
    # Across: 1 and 3. Down: 0 and 2.
    assert objectives.total_variation(images, 1).tolist() == [2.0 + 1.0, 0.0]
    assert objectives.total_variation(images, 2).tolist() == [1.0 + 0.5]


def test_inverting_stays_within_the_valid_pixels_and_gets_closer() -> None:
    images = drawn(3).clamp(-1, 1)
    numbers = torch.tensor([0, 1, 2])
    seen = observed(network(), images, numbers)
    start = drawn(3, seed=5) * 3
    told: list[float] = []
    costs = [inverting.invert(seen, numbers, start[None], Search(steps), told.append) for steps in (1, 60)]
    assert costs[1].images.abs().max() <= 1
    assert (costs[1].cost < costs[0].cost / 2).all()
    assert told[-1] == 1


def test_victims_in_chunks_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images, numbers, start = drawn(6).clamp(-1, 1), torch.tensor([0, 1, 2, 3, 0, 1]), drawn(6, seed=5)
    seen = observed(network(), images, numbers, 2)
    whole = inverting.invert(seen, numbers, start[None], Search(3, total_variation=1e-4), lambda share: None)
    monkeypatch.setitem(inverting.CHUNK_PIXELS, "cpu", 2 * 64 * 2)
    told: list[float] = []
    parts = inverting.invert(seen, numbers, start[None], Search(3, total_variation=1e-4), told.append)
    torch.testing.assert_close(parts.images, whole.images, rtol=0, atol=2e-2)
    torch.testing.assert_close(parts.cost, whole.cost, rtol=1e-3, atol=1e-4)


def test_deep_leakage_solves_an_easy_case_and_keeps_its_best() -> None:
    """A LeNet on 8 x 8 pixels has far more gradients than pixels."""
    images, numbers = drawn(2), torch.tensor([0, 3])
    seen = observed(network("lenet"), images, numbers)
    logits = torch.zeros(2, 4)
    near = images + 0.1 * drawn(2, seed=4)
    found = deep_leakage.leak(seen, Start(near, logits), 40, lambda share: None)
    assert found.cost.max() < 1e-4
    assert found.labels.tolist() == numbers.tolist()
    assert (found.images - images).square().mean() < 1e-2
    left = deep_leakage.leak(seen, Start(near, logits), 1, lambda share: None, torch.tensor([True, False]))
    assert torch.equal(left.images[0], near[0])
    assert left.cost.isinf().tolist() == [True, False]
    # A start that is not contiguous, and one where the cost is not finite.
    turned = near.transpose(2, 3).contiguous().transpose(2, 3)
    deep_leakage.leak(seen, Start(turned, logits), 1, lambda share: None)
    lost = deep_leakage.leak(seen, Start(torch.full_like(near, torch.nan), logits), 3, lambda share: None)
    assert lost.cost.isinf().all()


def test_start_from_own_images_by_hand() -> None:
    """Grey 0.25 and 0.75 of label 1, standardised by 0.5 and 0.5: their mean is 0; label 0 has none, so noise stays."""
    pixels = np.stack([np.full((8, 8, 1), level, np.uint8) for level in (64, 191)])
    reference = Images(pixels, np.array([1, 1]))
    numbers, noise = torch.tensor([1, 0]), drawn(2)
    seen = observed(network(), noise, numbers)
    found = inverting.reference_start(seen, numbers, noise, reference)
    assert torch.equal(found[1], noise[1])
    torch.testing.assert_close(found[0], 0.1 * noise[0], rtol=0, atol=1e-3)
    assert torch.equal(inverting.reference_start(seen, numbers, noise, None), noise)
