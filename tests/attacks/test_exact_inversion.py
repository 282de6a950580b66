"""Exact inversion through a first fully connected layer: what is certified is right, and needs no truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from privaudit import seeds
from privaudit.attack import Context, Evidence, Seen
from privaudit.attacks.gradient_matching import GradientMatching, algebra, exact, exact_batches, peeling, spear, victim
from privaudit.attacks.gradient_matching.exact import Method, Solved
from privaudit.attacks.gradient_matching.exact_layer import FirstLayer, first_layer_of
from privaudit.attacks.gradient_matching.gradients import Observed
from privaudit.attacks.gradient_matching.inverting import Reconstruction
from privaudit.attacks.gradient_matching.sending import Sending
from privaudit.data.loading import load
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.learning.training import channel_moments
from privaudit.release import Release

DIGITS = load("digits").images
LAYER = "body.hidden"
BOTH: tuple[Method, ...] = ("peeling", "spear")


def digits(count: int, seed: int = 0) -> Images:
    return DIGITS.take(np.random.default_rng(seed).permutation(len(DIGITS))[:count])


def network(unit: bool = False, side: int = DIGITS.size[0]) -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = Network(Architecture(name="mlp", channels=1, classes=10, side=side))
    mean, std = (np.zeros(1), np.ones(1)) if unit else channel_moments(DIGITS)
    made.set_standardisation(mean, std)
    return made.eval()


def sent(made: Network, batch: Images, precision: Any = "float32", size: int | None = None) -> Observed:
    arrays = victim.exposed(made, batch, size or len(batch), "evaluation", "cpu", Sending(precision=precision))
    return victim.observed(arrays, "evaluation", "cpu")


def solved(seen: Observed, methods: tuple[Method, ...] = BOTH, own: Images | None = None) -> Solved:
    layer = first_layer_of(seen, LAYER)
    weight, bias = (seen.gradients[f"{LAYER}.{part}"][0] for part in ("weight", "bias"))
    return exact.solve(layer, weight, bias, own, 16, torch.Generator().manual_seed(0), methods)


def pairs(levels: Tensor, labels: Tensor) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(levels.numpy(), labels, strict=True))


def truth(batch: Images) -> list[tuple[bytes, int]]:
    pixels = torch.from_numpy(batch.pixels.transpose(0, 3, 1, 2).reshape(len(batch), -1).copy())
    return pairs(pixels, torch.from_numpy(batch.labels))


def halves() -> Tensor:
    """Two images of 8 x 8: the left half is lit, the right half is lit."""
    images = torch.zeros(2, 8, 8, dtype=torch.uint8)
    images[0, :, :4], images[1, :, 4:] = 200, 100
    return images.flatten(1)


def four_neurons(second: float) -> tuple[FirstLayer, Tensor]:
    """Neuron 0 fires for the left half, 1 for `second` times the right half, 2 for both, 3 for none; and the gradient.

    The images have labels 0 and 1, three classes.
    """
    made = network(unit=True, side=8).double()
    left = (halves()[0] > 0).double()
    right = 1 - left
    made.body.hidden = nn.Linear(64, 4).double()
    made.body.linear = nn.Linear(4, 3).double()
    made.architecture = Architecture(name="mlp", channels=1, classes=3, side=8)
    with torch.no_grad():
        made.body.hidden.weight.copy_(torch.stack([left - right, second * right - left, left + right, -left - right]))
        made.body.hidden.bias.zero_()
        made.body.linear.weight.copy_(torch.tensor([[0.1, 0.2, -0.1, 0.3], [-0.2, 0.1, 0.3, 0.1], [0.2, -0.3, 0.1, 0]]))
        made.body.linear.bias.zero_()
    layer = FirstLayer(made, LAYER, 2, (1, 8, 8), torch.finfo(torch.float64).eps)
    images = layer.standardised(halves()).reshape(2, 1, 8, 8)
    weight, bias, *_ = layer.gradient(images, torch.tensor([0, 1]))
    return layer, torch.cat([weight, bias[:, None]], 1)


def test_two_images_and_four_neurons_by_hand() -> None:
    """The rows of neurons 0 and 1 divided by their bias gradients are the images; 2 is a mixture, 3 is silent."""
    layer, rest = four_neurons(1.0)
    assert not rest[3].any()
    torch.testing.assert_close(rest[0, :-1] / rest[0, -1] * 255, halves()[0].double())
    levels, where = peeling.candidates(layer, rest)
    alone = {image.numpy().tobytes(): neurons.tolist() for image, neurons in zip(levels, where, strict=True)}
    assert alone[halves()[0].numpy().tobytes()] == [True, False, False, False]
    assert alone[halves()[1].numpy().tobytes()] == [False, True, False, False]


def test_certificate_by_hand() -> None:
    """The bias gradient of a neuron that one image fires: (p - e_y) times the weights above, over the batch of two."""
    layer, rest = four_neurons(1.0)
    images = layer.standardised(halves())
    predicted, slopes, _ = layer.derivatives(images)
    above = layer.network.get_parameter("body.linear.weight").detach()
    torch.testing.assert_close(slopes[0], above * torch.tensor([1.0, 0, 1, 0]).double())
    expected = (predicted[0] - torch.tensor([1.0, 0, 0]).double()) @ above[:, 0] / 2
    torch.testing.assert_close(rest[0, -1], expected)
    where = torch.tensor([[True, False, False, False], [False, True, False, False]])
    found = layer.certify(images, rest[:, -1].expand(2, -1), where, 2)
    assert found.label.tolist() == [0, 1]
    assert found.count.tolist() == [1, 1]
    wrong = layer.certify(images.flip(0), rest[:, -1].expand(2, -1), where, 2)
    assert wrong.count.tolist() == [0, 0]


def test_an_image_that_no_neuron_holds_alone_comes_to_light_when_another_is_subtracted() -> None:
    layer, rest = four_neurons(-1.0)
    assert rest[1].abs().max() == 0
    first, _ = peeling.peel(layer, rest, 2)
    assert halves()[1].tolist() not in first.tolist()
    found = exact.solve(layer, rest[:, :-1], rest[:, -1], None, 1, torch.Generator(), ("peeling",))
    assert pairs(found.levels, found.labels) == pairs(halves(), torch.tensor([0, 1]))
    assert float(found.rest.norm()) < 1e-12


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(("size", "method", "unit"), [(1, "peeling", True), (24, "peeling", True), (8, "spear", False)])
def test_whole_batches_with_their_labels(size: int, method: Method, unit: bool, precision: Any) -> None:
    batch = digits(size)
    found = solved(sent(network(unit), batch, precision), (method,), digits(100, 5))
    assert pairs(found.levels, found.labels) == truth(batch)
    assert set(found.methods) == {method}


@given(st.integers(0, 10_000), st.integers(2, 12), st.booleans(), st.sampled_from([0.0, 1e-6, 1e-3, 0.1]))
@settings(max_examples=12, deadline=None)
def test_nothing_false_is_certified(seed: int, size: int, unit: bool, noise: float) -> None:
    """Whatever batch and noise: each certified image and label is one of the batch, no oftener than it is there."""
    batch, seen = digits(size, seed), sent(network(unit), digits(size, seed))
    draw = torch.Generator().manual_seed(seed)
    noisy = {
        name: part + noise * part.std() * torch.randn(part.shape, generator=draw)
        for name, part in seen.gradients.items()
    }
    found = solved(replace(seen, gradients=noisy))
    left = truth(batch)
    for pair in pairs(found.levels, found.labels):
        left.remove(pair)
    if noise == 0.1:
        assert not len(found.labels)


def test_an_image_that_is_in_the_batch_twice() -> None:
    batch = digits(7).take(np.array([0, 1, 2, 3, 4, 5, 6, 2]))
    for unit, methods in ((True, ("peeling",)), (False, ("spear",))):
        found = solved(sent(network(unit), batch), methods, digits(100, 5))  # type: ignore[arg-type]
        assert pairs(found.levels, found.labels) == truth(batch)


@pytest.mark.parametrize(("unit", "methods"), [(True, ("peeling",)), (False, ("spear",))])
def test_a_batch_of_one_class(unit: bool, methods: Any) -> None:
    batch = DIGITS.take(np.flatnonzero(DIGITS.labels == 3)[:10])
    found = solved(sent(network(unit), batch), methods, digits(100, 5))
    assert pairs(found.levels, found.labels) == truth(batch)


def test_equal_starts_give_equal_results() -> None:
    seen = sent(network(), digits(6))
    one, other = (solved(seen, ("spear",), digits(50, 5)) for _ in range(2))
    assert one.levels.tolist() == other.levels.tolist()
    assert one.rest.tolist() == other.rest.tolist()


def test_levels_are_whole_and_within_bounds() -> None:
    layer = first_layer_of(sent(network(), digits(2)), LAYER)
    images = torch.randint(
        256, (3, DIGITS.pixels[0].size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    exactly = layer.standardised(images)
    levels, near = layer.levels(exactly)
    assert levels.tolist() == images.tolist()
    assert near.tolist() == [True, True, True]
    off = exactly.clone()
    off[0, 5] += 0.2 / 255 / float(layer.network.std)
    off[1] = (exactly[0] + exactly[2]) / 2
    off[2, 0] = torch.nan
    assert layer.levels(off)[1].tolist() == [False, False, False]


def test_greedy_choice_takes_columns_before_their_mixtures() -> None:
    """Of two columns and their sum, the sum is silent on fewer neurons."""
    combinations = torch.tensor([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]).double()
    taken, silent = spear.chosen(combinations, torch.tensor([2, 5, 4, 5]))
    assert taken.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert silent.tolist() == [5, 4]


def test_sparse_columns_are_found_as_published_and_by_reweighting() -> None:
    """Four columns of 200 neurons, each silent on about half of them, hidden by a random mixture."""
    draw = torch.Generator().manual_seed(3)
    columns = torch.randn(200, 4, generator=draw).double() * (torch.rand(200, 4, generator=draw) < 0.5)
    basis = torch.linalg.qr(columns @ torch.randn(4, 4, generator=draw).double())[0]
    length = columns / columns.norm(dim=0)
    starts = torch.randn(64, 4, generator=draw).double()
    for found in (spear.sampled(basis, 500, draw), spear.sparsest(basis, starts)):
        taken, _ = spear.chosen(*spear.refined(basis, found, 1e-8))
        agreement = (basis @ taken.T).T @ length
        assert agreement.abs().max(0).values.min() > 1 - 1e-10


def played(attack: GradientMatching, release: Images) -> tuple[Images, Evidence]:
    seen = attack.expose(Release(release), Context(seeds.generator(0, "expose"), effort="quick"))
    assert seen.source is not None
    own = Context(seeds.generator(0, "attack"), effort="quick", reference=digits(60, 9))
    return release.take(seen.source.rows), attack.attack(Seen(seen.arrays), release.take(slice(0, 0)), own)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_attack_uses_it_for_batches(precision: Any) -> None:
    attack = GradientMatching(network="mlp", victims=3, batch_size=8, gradient_precision=precision)
    true, evidence = played(attack, digits(60))
    assert evidence.recovered is not None
    assert evidence.diagnostics["share certified"] == pytest.approx(1)
    for number in range(3):
        rows = slice(8 * number, 8 * number + 8)
        assert truth(evidence.recovered.take(rows)) == truth(true.take(rows))


def test_what_is_not_certified_is_searched_in_what_is_left() -> None:
    """One image of three is certified: the search gets batches of two, and gradients without that image."""
    batch = digits(3)
    seen = sent(network(), batch, "float64")
    layer = first_layer_of(seen, LAYER)
    pixels = torch.from_numpy(batch.pixels.transpose(0, 3, 1, 2).copy())
    standardised = layer.standardised(pixels.flatten(1)).reshape(-1, 1, *DIGITS.size[:2])
    labels = torch.from_numpy(batch.labels)
    part = layer.gradient(standardised[:1], labels[:1])
    gradients = {name: seen.gradients[name] - one for name, one in zip(seen.gradients, part, strict=True)}
    images = torch.zeros_like(standardised).float()
    images[0] = standardised[0]
    first = torch.tensor([int(labels[0]), 0, 0])
    shares = {"peeling": 1 / 3}
    found = exact_batches.Certain(images, first, torch.tensor([1]), torch.tensor([0.5]), shares, gradients)
    asked: list[Observed] = []

    def search(left: Observed) -> Any:
        asked.append(left)
        return Reconstruction(standardised[1:].float(), labels[1:], torch.tensor([0.25]))

    whole = exact_batches.filled(seen, found, search)
    assert [left.batch_size for left in asked] == [2]
    expected = sent(network(), batch.take(slice(1, 3)))
    for name, gradient in asked[0].gradients.items():
        torch.testing.assert_close(gradient, expected.gradients[name], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(whole.images, standardised.float())
    assert whole.labels.tolist() == labels.tolist()
    assert whole.cost.tolist() == [0.25]


def test_settings_that_do_not_go_together() -> None:
    with pytest.raises(ValidationError, match="fresh network only"):
        GradientMatching(inputs="unit", epochs=1)
    with pytest.raises(ValidationError, match="float32"):
        GradientMatching.model_validate({"gradient_precision": "float16"})


def test_no_exact_inversion_without_such_a_layer_or_of_several_local_steps() -> None:
    own = Context(seeds.generator(0, "attack"))
    seen = sent(network(), digits(2))
    assert algebra.first_layer(seen) == LAYER
    assert exact_batches.certain(replace(seen, local_steps=2), own) is None
    assert exact_batches.diagnostics(None) == {"share certified": 0.0}
