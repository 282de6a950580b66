"""The searches of gradient-matching: objectives, priors, schedules, what restarts agree on, exact ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from privaudit.attacks.gradient_matching import consensus, deep_leakage, levenberg
from privaudit.attacks.gradient_matching.gradients import Observed, batch_gradient, prepared
from privaudit.attacks.gradient_matching.inverting import Search, invert
from privaudit.attacks.gradient_matching.objectives import OBJECTIVES, Products, distance, pixel_norm
from privaudit.attacks.gradient_matching.similarity import GradientSimilarity
from privaudit.learning import Architecture, Network


def seen_of(images: Tensor, numbers: Tensor, name: str = "lenet") -> Observed:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ready = prepared(Network(Architecture(name=name, channels=1, classes=4, side=8)), "evaluation", "cpu")
    each = [batch_gradient(ready, images[row, None], numbers[row, None]) for row in range(len(images))]
    names = [name for name, _ in ready.named_parameters()]
    gradients = {name: torch.stack([found[place] for found in each]) for place, name in enumerate(names)}
    return Observed(ready, gradients, 1, (8, 8, 1), "evaluation")


def drawn(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_objectives_by_hand() -> None:
    """Two layers. G = (3, 0) and (0, 1); T = (0, 4) and (0, 3): dots 0 and 3, squares 9 and 1, targets 16 and 9."""
    products = Products(*(torch.tensor(part)[:, None] for part in ([0.0, 3.0], [9.0, 1.0], [16.0, 9.0])))
    assert distance("l2", products).item() == pytest.approx((10 - 6 + 25) / 25)
    assert distance("cosine", products).item() == pytest.approx(1 - 3 / (10**0.5 * 5))
    # The first layer is at a right angle and has 16 of 25 of the squared length; the second points the same way.
    assert distance("layer-cosine", products).item() == pytest.approx(16 / 25)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", ["convnet", "lenet"])
def test_objectives_of_networks_against_their_definition(objective: str, name: str) -> None:
    images, others, numbers = drawn(2), drawn(2, 1), torch.tensor([0, 3])
    seen = seen_of(images, numbers, name)
    found = GradientSimilarity(seen, objective).distance(others, numbers)  # type: ignore[arg-type]
    for victim in range(2):
        rows = slice(victim, victim + 1)
        parts = batch_gradient(seen.network, others[rows], numbers[rows])
        layers: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for (whole, target), part in zip(seen.gradients.items(), parts, strict=True):
            layers.setdefault(whole.rpartition(".")[0], []).append((part.flatten(), target[victim].flatten()))
        pairs = [tuple(torch.cat(side) for side in zip(*some, strict=True)) for some in layers.values()]
        one, other = (torch.cat(side) for side in zip(*pairs, strict=True))
        expected = {
            "l2": (one - other).square().sum() / other.square().sum(),
            "cosine": 1 - torch.cosine_similarity(one, other, 0),
            "layer-cosine": sum(
                target.square().sum() / other.square().sum() * (1 - torch.cosine_similarity(part, target, 0))
                for part, target in pairs
            ),
        }[objective]
        assert found[victim].item() == pytest.approx(float(expected), rel=1e-3, abs=1e-5)


def test_pixel_norm_by_hand() -> None:
    images = torch.stack([torch.full((1, 2, 2), value) for value in (1.0, 3.0)])
    assert pixel_norm(images, 1).tolist() == [1.0, 9.0]
    assert pixel_norm(images, 2).tolist() == [5.0]


def test_schedules_by_hand() -> None:
    steps, cosine = Search(8, schedule="steps"), Search(8, schedule="cosine")
    assert [steps.rate(step) for step in range(8)] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.001])
    assert cosine.rate(0) == 1
    assert cosine.rate(4) == pytest.approx(0.5, abs=1e-3)
    assert cosine.rate(8) == pytest.approx(1e-3)


@pytest.mark.parametrize("shift", [(0, 0), (2, 0), (0, 5), (7, 3)])
def test_shifts_are_found(shift: tuple[int, int]) -> None:
    images = drawn(3)
    moved = torch.roll(images, shift, (2, 3))
    found = consensus.best_shift(images, moved)
    assert found.tolist() == [list(shift)] * 3
    assert torch.equal(consensus.rolled(images, found), moved)


def test_restarts_agree_on_their_mean_after_registration() -> None:
    """The second restart is the first, shifted by one: registered onto the cheapest, both are the same image."""
    image = drawn(1)[None, None]
    starts = torch.cat([image, torch.roll(image, 1, -1)])
    agreed = consensus.consensus(starts, torch.tensor([[0.1], [0.2]]))
    torch.testing.assert_close(agreed, image[0])
    assert consensus.disagreement(starts, agreed)[0].item() == 0
    assert consensus.disagreement(starts, agreed)[1].item() > 0.1
    assert [step for step in range(100) if consensus.due(step, 100)] == [25, 50, 75]


def test_consensus_pulls_restarts_together() -> None:
    images, numbers = drawn(1).clamp(-1, 1), torch.tensor([2])
    seen = seen_of(images, numbers, "convnet")
    starts = torch.stack([drawn(1, 5), drawn(1, 6)])
    apart = [
        invert(seen, numbers, starts, Search(60, consensus=weight), lambda share: None).images for weight in (0.0, 10.0)
    ]
    assert not torch.equal(*apart)


def test_cheapest_restart_counts() -> None:
    """One start is the image itself, the other is noise: what comes back is near the image, in either order."""
    images, numbers = drawn(1).clamp(-1, 1), torch.tensor([2])
    seen = seen_of(images, numbers, "convnet")
    for order in ((images, drawn(1, 5)), (drawn(1, 5), images)):
        found = invert(seen, numbers, torch.stack(order), Search(2), lambda share: None)
        assert (found.images - images).abs().max() < 0.5


def test_bfloat16_still_descends() -> None:
    images, numbers = drawn(2).clamp(-1, 1), torch.tensor([2, 1])
    seen = seen_of(images, numbers, "convnet")
    exact = GradientSimilarity(seen)
    start = drawn(2, 5).clamp(-1, 1)
    found = invert(seen, numbers, start[None], Search(80, precision="bfloat16"), lambda share: None)
    assert (exact.distance(found.images, numbers) < exact.distance(start, numbers) / 2).all()


def test_levenberg_ends_in_the_exact_image() -> None:
    images, numbers = drawn(2), torch.tensor([0, 3])
    seen = seen_of(images, numbers)
    assert levenberg.possible(seen)
    for victim in range(2):
        rows = slice(victim, victim + 1)
        near = images[rows] + 0.05 * drawn(1, 7)
        found, cost = levenberg.solve(seen, victim, near, numbers[rows], 12)
        assert cost < 1e-10
        torch.testing.assert_close(found, images[rows], rtol=0, atol=1e-2)


def test_levenberg_is_refused_with_batch_norm_and_where_it_is_too_large() -> None:
    images, numbers = drawn(1), torch.tensor([0])
    assert not levenberg.possible(seen_of(images, numbers, "convnet"))
    large = Network(Architecture(name="lenet", channels=3, classes=10, side=64))
    assert not levenberg.possible(Observed(large, {}, 1, (64, 64, 3), "evaluation"))


def test_levenberg_never_ends_worse_than_it_began() -> None:
    """From noise, far from a solution, and with a label that is wrong."""
    images = drawn(1)
    seen = seen_of(images, torch.tensor([0]))
    for label in (0, 2):
        costs = [levenberg.solve(seen, 0, drawn(1, 9), torch.tensor([label]), steps)[1].item() for steps in (0, 2)]
        assert costs[1] <= costs[0]


def test_line_search_is_never_lost() -> None:
    """A start far outside the pixels: more calls never end at a higher cost, and none at one without bound."""
    images, numbers = drawn(1), torch.tensor([1])
    seen = seen_of(images, numbers)
    start = deep_leakage.Start(5 * drawn(1, 8), torch.zeros(1, 4), numbers)
    costs = [deep_leakage.leak(seen, start, calls, lambda share: None, careful=True).cost.item() for calls in (1, 3, 9)]
    assert np.isfinite(costs).all()
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]
