"""DP-SGD: a step by hand, the noise, empty batches, networks that cannot have it, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from privaudit.accounting import GaussianSteps
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Network, accuracy
from privaudit.learning.batches import as_float
from privaudit.learning.private import PrivateTraining, train_privately
from privaudit.learning.private_steps import PrivateSteps, take_private_steps
from privaudit.learning.training import seeded

SMALL = Architecture(name="mlp", channels=1, classes=3, side=8)
START = 11


def noise_images(count: int = 12) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), np.arange(count, dtype=np.int64) % 3)


def colours(count: int = 6) -> Images:
    rng = np.random.default_rng(1)
    return Images(rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), np.arange(count, dtype=np.int64) % 3)


def trained(some: Images, steps: GaussianSteps, randomness: int = 5, **changes: Any) -> Network:
    asked = PrivateTraining(steps, **({"clip": 0.5, "divisor": 4.0, "learning_rate": 0.2} | changes))
    return train_privately(SMALL, asked, some, start=START, randomness=randomness)


def parameters(network: Network) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def fresh() -> Network:
    with seeded(START):
        return Network(SMALL)


def test_a_step_without_noise_by_hand() -> None:
    """Every image takes part: the sum of their gradients, each cut to length 0.5, over the divisor, times the rate."""
    some, network = noise_images(), fresh()
    total = torch.zeros_like(parameters(network))
    lengths = []
    for place in range(len(some)):
        one = some.take(slice(place, place + 1))
        loss = functional.cross_entropy(network(as_float(one.pixels, "cpu")), torch.from_numpy(one.labels))
        gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])
        lengths.append(float(gradient.norm()))
        total += gradient * min(1.0, 0.5 / float(gradient.norm()))
    assert min(lengths) > 0.5
    expected = parameters(fresh()) - 0.2 * total / 4.0
    found = parameters(trained(some, GaussianSteps(0.0, 1.0, 1)))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-4, atol=1e-6)


def test_the_divisor_does_not_depend_on_how_many_images_there_are() -> None:
    """The same images twice move the weights twice as far."""
    once, twice = noise_images(), noise_images()
    twice = Images(np.concatenate([once.pixels, twice.pixels]), np.concatenate([once.labels, twice.labels]))
    start = parameters(fresh())
    moves = [parameters(trained(some, GaussianSteps(0.0, 1.0, 1))) - start for some in (once, twice)]
    np.testing.assert_allclose(moves[1].numpy(), 2 * moves[0].numpy(), rtol=1e-3, atol=1e-6)


def test_noise_has_the_stated_size_also_where_no_image_takes_part() -> None:
    """One step at noise 3, clip 0.5, divisor 4, rate 0.2: each weight moves by N(0, (0.2 x 3 x 0.5 / 4)^2)."""
    start = parameters(fresh())
    moved = parameters(trained(noise_images(), GaussianSteps(3.0, 1e-9, 1))) - start
    assert len(moved) > 1000
    assert float(moved.std()) == pytest.approx(0.2 * 3 * 0.5 / 4, rel=0.05)
    assert float(moved.mean()) == pytest.approx(0, abs=0.01)


def test_coins_fall_as_often_as_stated() -> None:
    """Without noise and with a clip that always binds, the gradient of one image repeated says how many took part."""
    one = noise_images(1)
    many = Images(np.repeat(one.pixels, 400, axis=0), np.repeat(one.labels, 400))
    start = parameters(fresh())
    single = (parameters(trained(one, GaussianSteps(0.0, 1.0, 1))) - start).norm()
    every_tenth = GaussianSteps(0.0, 0.1, 1)
    counts = [float((parameters(trained(many, every_tenth, seed)) - start).norm() / single) for seed in range(8)]
    assert len({round(count) for count in counts}) > 3
    assert np.mean(counts) == pytest.approx(40, abs=4 * 6 / 8**0.5)


def test_equal_randomness_gives_equal_bits_and_other_does_not() -> None:
    steps = GaussianSteps(1.0, 0.5, 3)
    first = parameters(trained(noise_images(), steps))
    assert torch.equal(first, parameters(trained(noise_images(), steps)))
    assert not torch.equal(first, parameters(trained(noise_images(), steps, randomness=6)))


def test_all_bits_of_the_randomness_count() -> None:
    """Torch's own generator on the CPU knows 32 bits of a seed: numbers that differ above them give other noise."""
    steps = GaussianSteps(1.0, 0.5, 1)
    low = parameters(trained(noise_images(), steps, 5))
    for bit in (32, 64, 100, 127):
        assert not torch.equal(parameters(trained(noise_images(), steps, 5 + (1 << bit))), low)


@pytest.mark.parametrize("name", ["convnet-groupnorm", "lenet"])
def test_gradients_of_images_are_theirs_whatever_the_order_in_memory(name: str) -> None:
    """A step without noise and without a cut goes along the sum of the gradients; images are channels last."""
    architecture, some = Architecture(name=name, channels=3, classes=3, side=16), colours()
    asked = PrivateTraining(GaussianSteps(0.0, 1.0, 1), 1e6, 4.0, 0.1)
    found = parameters(train_privately(architecture, asked, some, start=START, randomness=0))
    with seeded(START):
        network = Network(architecture)
    start, batch = parameters(network), as_float(some.pixels, "cpu")
    assert batch.is_contiguous(memory_format=torch.channels_last)
    loss = functional.cross_entropy(network.train()(batch), torch.from_numpy(some.labels), reduction="sum")
    gradient = torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])
    torch.testing.assert_close(found - start, -0.1 * gradient / 4, rtol=1e-2, atol=1e-4)


def test_gradients_that_miss_a_part_are_noticed() -> None:
    network = torch.nn.Linear(4, 2)

    def gradients(wrapped: torch.nn.Module, rows: np.ndarray, rng: np.random.Generator) -> None:
        wrapped(torch.ones(len(rows), 4)).sum().backward()
        for parameter in wrapped.parameters():
            parameter.grad_sample = parameter.grad_sample / 2  # type: ignore[attr-defined]

    with pytest.raises(RuntimeError, match="miss 50% of the gradient of the batch"):
        take_private_steps(
            network,
            PrivateSteps(GaussianSteps(0.0, 1.0, 1), 1.0, 1.0),
            3,
            gradients,
            optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
            learning_rate=lambda done: 0.1,
            randomness=0,
        )


@pytest.mark.parametrize("name", ["convnet", "resnet20", "torchvision:resnet18"])
def test_batchnorm_is_refused(name: str) -> None:
    architecture = Architecture(name=name, channels=3, classes=3, side=32)
    asked = PrivateTraining(GaussianSteps(1.0, 0.1, 1), 1.0, 1.0, 0.1)
    with pytest.raises(InputError, match="each image moves the gradients of all others"):
        train_privately(architecture, asked, noise_images(), start=0, randomness=0)


def test_it_learns_digits_with_little_noise_and_not_with_much() -> None:
    images = load("digits").images
    small = Images(np.ascontiguousarray(images.pixels[:, ::2, ::2]), images.labels)
    order = np.random.default_rng(0).permutation(len(small))
    members, others = small.take(order[:800]), small.take(order[800:1300])
    architecture = Architecture(name="convnet-groupnorm", channels=1, classes=10, side=8)
    right = []
    for noise in (0.5, 200.0):
        asked = PrivateTraining(GaussianSteps(noise, 0.1, 60), clip=1.0, divisor=80.0, learning_rate=2.0)
        network = train_privately(architecture, asked, members, start=1, randomness=2)
        assert not network.training
        right.append(accuracy(network, others))
    assert right[0] > 0.6
    assert right[1] < 0.35
