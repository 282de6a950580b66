"""Networks trained as one: the same networks as one after the other, up to rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from privaudit.calls import Call, Surroundings, inside
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Recipe, Training, train, trained, trainings
from privaudit.learning.stacked import train_together
from privaudit.store import Arrays

SGD = Recipe(epochs=2, batch_size=16, learning_rate=0.02, crop=1, flip=True, precision="float32")
RECIPES = {
    "sgd": SGD,
    "adamw": SGD.model_copy(update={"optimizer": "adamw", "learning_rate": 1e-3, "label_smoothing": 0.1}),
    "average": SGD.model_copy(update={"ema": 0.5}),
    "resnet20": SGD.model_copy(update={"network": "resnet20", "epochs": 1}),
    "lenet": SGD.model_copy(update={"network": "lenet"}),
}


def noise(seed: int, count: int = 41) -> Images:
    rng = np.random.default_rng(seed)
    return Images(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), rng.integers(0, 3, count).astype(np.int64))


@pytest.mark.parametrize("name", RECIPES)
def test_each_network_is_the_one_that_it_would_be_alone(name: str) -> None:
    recipe = RECIPES[name]
    asked = [Training(recipe, noise(seed), 3, seed) for seed in range(3)]
    for one, network in zip(asked, train_together(asked), strict=True):
        alone = train(recipe, one.images, 3, one.seed).arrays()
        for key, array in network.arrays().items():
            if array.dtype.kind == "f":  # torch rounds the average of the number of batches down, which nothing reads
                np.testing.assert_allclose(array, alone[key], rtol=2e-3, atol=2e-4, err_msg=key)


def test_soft_labels_of_each_network_are_its_own() -> None:
    soft = [np.random.default_rng(seed).dirichlet(np.ones(3), 41).astype(np.float32) for seed in range(2)]
    asked = [Training(SGD, noise(0), 3, 0, one) for one in soft]
    first, second = train_together(asked)
    for network, labels in ((first, soft[0]), (second, soft[1])):
        alone = train(SGD, noise(0), 3, 0, soft_labels=labels).arrays()
        for key, array in network.arrays().items():
            np.testing.assert_allclose(array, alone[key], rtol=2e-3, atol=2e-4)


def test_divergence_is_told() -> None:
    recipe = SGD.model_copy(update={"learning_rate": 1e12})
    with pytest.raises(InputError, match=r"diverged in epoch 1. Choose a learning_rate below 1e\+12"):
        train_together([Training(recipe, noise(seed), 3, seed) for seed in range(2)])


class _Counting(Surroundings):
    def __init__(self) -> None:
        self.functions: list[str] = []

    def compute(self, calls: Any) -> list[Arrays]:
        self.functions += [call.function.partition(":")[2] for call in calls]
        on_cpu = [Call(one.label, one.function, {**one.arguments, "device": "cpu"}, one.inputs) for one in calls]
        return super().compute(on_cpu)


def test_on_a_gpu_alike_trainings_are_done_together_and_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "TOGETHER", 2)
    sizes = [41, 30, 41, 41]
    asked = [Training(SGD, noise(seed, size), 3, seed) for seed, size in enumerate(sizes)]
    assert trainings.alike(asked) == [[0, 2], [3], [1]]
    with inside(counting := _Counting()):
        found = trained(asked, "cuda")
    assert counting.functions == ["train_together_task", "train_task", "train_task"]
    for one, network in zip(asked, found, strict=True):
        alone = train(SGD, one.images, 3, one.seed).arrays()
        for key, array in network.arrays().items():
            np.testing.assert_allclose(array, alone[key], rtol=2e-3, atol=2e-4)
