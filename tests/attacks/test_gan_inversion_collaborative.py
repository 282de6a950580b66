"""gan-inversion, collaborative: two participants that exchange parameters only."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from privaudit.attack import Context, Seen
from privaudit.attacks.gan_inversion import GanInversion, collaborative
from privaudit.attacks.gan_inversion.collaborative import Parameters, Participant, Victim, interplay, sample
from privaudit.data.loading import load
from privaudit.images import Images
from privaudit.learning import Network, Recipe, accuracy, train
from privaudit.release import Release

RECIPE = Recipe(batch_size=16, precision="float32")


def digits(count: int) -> Images:
    images = load("digits").images
    return images.take(np.random.default_rng(0).permutation(len(images))[:count])


def pair(images: Images, targets: list[int]) -> tuple[Victim, Participant]:
    rng = np.random.default_rng(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Victim(images, 11, RECIPE, 0, rng, "cpu"), Participant(images.size, targets, 10, rng, "cpu")


def test_only_parameters_pass_between_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that the adversary ever receives are arrays with the names and shapes of a network's."""
    monkeypatch.setattr(collaborative, "_FIRST_BATCHES", 2)
    images = digits(40)
    victim, adversary = pair(images, [0, 1])
    received: list[Parameters] = []
    refine = adversary.refine

    def watched(shared: Parameters) -> Parameters:
        received.append(shared)
        return refine(shared)

    monkeypatch.setattr(adversary, "refine", watched)
    shared = interplay(victim, adversary, 3)
    shapes = {name: array.shape for name, array in shared.items()}
    assert len(received) == 3
    for parameters in received:
        assert {name: array.shape for name, array in parameters.items()} == shapes
        assert all(isinstance(array, np.ndarray) for array in parameters.values())
    assert set(shapes) == set(Network.from_arrays(shared).arrays())
    assert not any(isinstance(value, Images) for value in vars(adversary).values())


def test_the_adversary_is_made_without_images() -> None:
    wanted = {name: kind.annotation for name, kind in inspect.signature(Participant).parameters.items()}
    assert "Images" not in str(wanted)
    for _, method in inspect.getmembers(Participant, inspect.isfunction):
        assert "Images" not in str(inspect.signature(method))


def test_what_the_victim_gives_does_not_hold_its_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collaborative, "_FIRST_BATCHES", 2)
    images = digits(40)
    shared = pair(images, [0])[0].first()
    assert all(images.pixels[0].tobytes() not in array.tobytes() for array in shared.values())
    assert all(array.size < images.pixels.size or array.ndim > 1 for array in shared.values())


def test_one_turn_of_the_adversary_raises_the_extra_class_for_his_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collaborative, "_FIRST_BATCHES", 5)
    victim, adversary = pair(digits(60), [3])
    before = victim.first()
    after = adversary.refine(before)
    with torch.no_grad():
        made = adversary._make()
        sure = [Network.from_arrays(part)(made).softmax(1)[:, 10].mean() for part in (before, after)]
    assert float(sure[1]) > float(sure[0])
    assert np.isfinite(adversary.loss)


def test_the_statistics_of_batchnorm_remain_the_victims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collaborative, "_FIRST_BATCHES", 5)
    victim, adversary = pair(digits(60), [3])
    first = victim.first()
    shared = victim.refine(adversary.refine(first))
    names = [name for name in first if "running" in name]
    assert names
    for name in names:
        np.testing.assert_array_equal(first[name], shared[name])
    assert any((first[name] != shared[name]).any() for name in first)


class _Fixed(nn.Module):
    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.answer(given)
        return found


def test_the_images_that_the_model_is_surest_of_are_kept() -> None:
    """Images of one grey value each; the logit of class 1 is that value."""
    grey = _Fixed(lambda latents: latents[:, :1].sigmoid().view(-1, 1, 1, 1).expand(-1, 1, 8, 8))
    model = _Fixed(lambda images: torch.stack([torch.zeros(len(images)), images.mean((1, 2, 3))], 1))
    found = sample({0: grey, 1: grey}, model, np.array([0, 0, 1]), 50, np.random.default_rng(0), "cpu")
    rng = np.random.default_rng(0)
    drawn = [torch.from_numpy(rng.standard_normal((50, 64), dtype=np.float32))[:, 0].sigmoid() for _ in range(2)]
    expected = [*drawn[0].sort().values[:2].tolist(), float(drawn[1].max())]
    assert found.images.mean((1, 2, 3)).tolist() == pytest.approx(expected, abs=1e-6)
    assert found.accepted.tolist() == [False, False, True]
    torch.testing.assert_close(found.loss, -found.confidence.log())


@pytest.mark.slow
def test_images_of_digits_are_accepted_by_the_model_and_by_a_stranger() -> None:
    """A classifier of another architecture, trained on other digits, reads most of them as they were meant."""
    pool = load("digits").images
    order = np.random.default_rng(0).permutation(len(pool))
    release, others = pool.take(order[:450]), pool.take(order[450:1350])
    attack = GanInversion(variant="collaborative")
    seen = attack.expose(Release(release), Context(np.random.default_rng(0), seed=0))
    assert seen.source is not None
    right, count = seen.source.counts["training images classified right"]
    assert right > 0.9 * count
    found = attack.attack(Seen(seen.arrays), others.take(slice(0, 0)), Context(np.random.default_rng(1)))
    assert found.diagnostics["share accepted"] > 0.7
    recipe = Recipe(network="resnet20", epochs=12, batch_size=32, optimizer="adamw", learning_rate=3e-3)
    assert found.recovered is not None
    assert accuracy(train(recipe, others, 10, 1), found.recovered) > 0.4  # 0.1 by chance
