"""The loss against the plain loop, and the descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matching_examples import images, network, plain_loss

from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.matching import (
    Batch,
    Descent,
    Objective,
    Weights,
    descend,
    distance,
    total_variation,
)
from privaudit.synth.bn_matching.moments import EAGER
from privaudit.synth.bn_matching.moves import Moves
from privaudit.synth.bn_matching.statistics import Law, collect

WEIGHTS = Weights(10, 1, 1, 2.5e-5)
BOUNDS = (torch.full((3, 1, 1), -1.6), torch.full((3, 1, 1), 2.4))


def no_report(stage: str, share: float) -> None:
    """Ignore progress."""


def test_distance_by_hand() -> None:
    membership = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 4.0]])
    zero = Law(torch.zeros(1, 3), torch.zeros(1, 3))
    found = Law(torch.tensor([[3.0, 4.0, 1.0]]), torch.tensor([[0.0, 0.0, 2.0]]))
    assert float(distance(found, zero, membership)) == pytest.approx(5 + 2 * 1 + 2 * 2)
    twice = Law(found.mean.repeat(2, 1) * torch.tensor([[1.0], [0.0]]), found.variance.repeat(2, 1) * 0)
    assert float(distance(twice, zero, membership)) == pytest.approx((5 + 2) / 2)


def test_distance_has_a_gradient_where_it_is_zero() -> None:
    mean = torch.zeros(1, 2, requires_grad=True)
    law = Law(torch.zeros(1, 2), torch.zeros(1, 2))
    distance(Law(mean, torch.zeros(1, 2)), law, torch.eye(2)).backward()  # type: ignore[no-untyped-call]
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()


def test_total_variation_by_hand() -> None:
    images_ = torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]]])
    assert float(total_variation(images_)) == pytest.approx(5 + 5 + 0 + 1)


def run_both(name: str, steps: int, follow: bool) -> tuple[list[float], list[float]]:
    """Losses of the fused and of the plain loop from the same noise, rolled and flipped alike, in float32.

    follow: both losses along the way of the plain loop; else each loop goes its own way.
    """
    found, data = network(name), images(40)
    statistics = collect(found, data, 4)
    matched = MatchedNetwork(found, "cpu", torch.float32, EAGER)
    law = statistics.of_classes(matched.layers, [2])
    labels = torch.full((6,), 2)
    objective = Objective(matched, Batch(labels, 1, law, None, 0.0), WEIGHTS)
    noise = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3)).clamp(*BOUNDS)
    fused: list[float] = []
    plain: list[float] = []

    def plain_step(moved: torch.Tensor) -> torch.Tensor:
        loss = plain_loss(found, moved, labels, matched.layers, law)
        plain.append(loss.item())
        if follow:
            fused.append(objective(moved).item())
        return loss

    def fused_step(moved: torch.Tensor) -> torch.Tensor:
        loss = objective(moved)
        fused.append(loss.item())
        return loss

    for step in (plain_step,) if follow else (plain_step, fused_step):
        descend(step, noise, BOUNDS, Descent(steps, 0.1, Moves(2, True)), np.random.default_rng(0), no_report)
    return fused, plain


@pytest.mark.parametrize(("name", "follow"), [("convnet", False), ("convnet", True), ("resnet20", True)])
def test_same_losses_as_the_plain_loop_over_fifty_steps(name: str, follow: bool) -> None:
    """On a random ResNet-20 two loops drift apart by rounding alone, as two plain ones do: it follows one way."""
    fused, plain = run_both(name, 50, follow)
    np.testing.assert_allclose(fused, plain, rtol=1e-3)
    assert plain[-1] < 0.9 * plain[0]


def test_groups_and_pool_against_their_definition() -> None:
    found, data = network("convnet"), images(40)
    statistics = collect(found, data, 4)
    matched = MatchedNetwork(found, "cpu", torch.float32, EAGER)
    of_groups = statistics.of_classes(matched.layers, [0, 1])
    pooled = of_groups.mixed()
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    standardised = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(3))

    def loss(batch: Batch) -> float:
        with torch.no_grad():
            return float(Objective(matched, batch, Weights(1, 1, 0, 0))(standardised))

    def alone(law: Law, rows: slice) -> float:
        with torch.no_grad():
            batch = Batch(labels[rows], 1, law, None, 0.0)
            return float(Objective(matched, batch, Weights(1, 1, 0, 0))(standardised[rows]))

    first, second = (statistics.of_classes(matched.layers, [label]) for label in (0, 1))
    halves = (alone(first, slice(0, 3)) + alone(second, slice(3, 6))) / 2
    whole = alone(pooled, slice(0, 6))
    assert loss(Batch(labels, 2, of_groups, None, 0.0)) == pytest.approx(halves, rel=1e-4)
    assert loss(Batch(labels, 1, None, pooled, 1.0)) == pytest.approx(whole, rel=1e-4)
    assert loss(Batch(labels, 2, of_groups, pooled, 0.25)) == pytest.approx(0.75 * halves + 0.25 * whole, rel=1e-4)


def test_first_layer_weight() -> None:
    found = network("convnet")
    matched = MatchedNetwork(found, "cpu", torch.float32, EAGER)
    law = collect(found, images(40), 4).of_classes(matched.layers, [1])
    labels = torch.full((4,), 1)
    standardised = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        loss = [
            float(Objective(matched, Batch(labels, 1, law, None, 0.0), Weights(1, first, 0, 0))(standardised))
            for first in (1.0, 2.0, 3.0)
        ]
    assert loss[1] > loss[0]
    assert loss[2] - loss[1] == pytest.approx(loss[1] - loss[0], rel=1e-4)


def test_descent_keeps_to_the_pixels_and_to_its_generator() -> None:
    start = torch.zeros(2, 3, 8, 8)
    ends = [
        descend(
            lambda moved: -moved.sum(),
            start,
            BOUNDS,
            Descent(60, 0.2, Moves(1, True)),
            np.random.default_rng(0),
            no_report,
        )
        for _ in range(2)
    ]
    assert torch.equal(*ends)
    assert float(ends[0].max()) == pytest.approx(2.4)
    assert not start.any()


def test_images_that_have_the_statistics_have_no_distance() -> None:
    """The limit: the class's own images are at distance 0 of their statistics."""
    found, data = network("resnet20"), images(24)
    matched = MatchedNetwork(found, "cpu", torch.float32, EAGER)
    rows = data.labels == 1
    law = collect(found, data, 4).of_classes(matched.layers, [1])
    pixels = torch.cat(list(data.take(rows).batches(100)))
    standardised = (pixels - found.mean[:, None, None]) / found.std[:, None, None]
    with torch.no_grad():
        labels = torch.full((int(rows.sum()),), 1)
        zero = float(Objective(matched, Batch(labels, 1, law, None, 0.0), Weights(1, 1, 0, 0))(standardised))
        noise = torch.randn(standardised.shape, generator=torch.Generator().manual_seed(0))
        far = float(Objective(matched, Batch(labels, 1, law, None, 0.0), Weights(1, 1, 0, 0))(noise))
    assert zero < 0.01 * far
