"""`Context.train`: each network trained once per store, whoever asks, and gone on with after a kill."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from privaudit.attack import Context
from privaudit.calls import Call, Surroundings, inside
from privaudit.execution import Failure, Task, run
from privaudit.images import Images
from privaudit.learning import Recipe, Training, checkpoint, train, trained, trainings
from privaudit.manifest import result_facts
from privaudit.store import Entry, Store
from privaudit.worker import Needs, work

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=0.02, precision="float32")
SEED = 5
INNER_SEED = int(np.random.default_rng(SEED).integers(2**31))
"""What training_tasks.attack draws."""

Said = list[tuple[str, str, float]]


def noise(count: int = 40, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return Images(pixels, rng.permutation(np.arange(count, dtype=np.int64) % 3))


def attack(store: Store, name: str = "one", recipe: Recipe = RECIPE, images: Images | None = None, **more: Any) -> Task:
    """A task that trains a network. name: another one is another task with the same training."""
    some = noise() if images is None else images
    inputs = {"pixels": store.put_array(some.pixels), "labels": store.put_array(some.labels)}
    if "soft_labels" in more:
        inputs["soft_labels"] = store.put_array(more.pop("soft_labels"))
    arguments = {"recipe": recipe.model_dump(mode="json"), "seed": SEED, "name": name} | more
    return Task(name, "training_tasks:attack", arguments, {"images": inputs}, {})


def finished(tasks: list[Task], store: Store, workers: int = 0) -> tuple[dict[str, Entry | Failure], Said]:
    told: Said = []
    found = dict(run_all(tasks, store, workers, told))
    assert found.keys() == {one.key for one in tasks}
    return found, told


def run_all(tasks: list[Task], store: Store, workers: int, told: Said) -> list[tuple[str, Entry | Failure]]:
    hear = lambda *said: told.append(said)  # noqa: E731
    return [(one.key, result) for one, result in run(tasks, store, workers, hear)]


def arrays(store: Store, result: Entry | Failure) -> Mapping[str, NDArray[Any]]:
    assert isinstance(result, Entry), result
    return store.load(result.arrays)


def labels(store: Store) -> list[str]:
    """What is in the store, by label."""
    return sorted(json.loads(path.read_text())["facts"]["label"] for path in store.root.glob("entries/*/*.json"))


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("workers", [0, 2])
def test_two_tasks_share_one_training(tmp_path: Path, workers: int) -> None:
    store = Store(tmp_path)
    tasks = [attack(store, name) for name in ("one", "other")]
    found, told = finished(tasks, store, workers)
    assert labels(store) == ["one", "other", "training convnet on 40 images"]
    assert [said for said in told if said[2] == 1 / 3] == [("training convnet on 40 images", "training", 1 / 3)]
    expected = train(RECIPE, noise(), 3, INNER_SEED).arrays()
    for one in tasks:
        assert same(arrays(store, found[one.key]), expected)
    assert not list((tmp_path / "unfinished").iterdir())


def test_a_later_task_finds_the_network_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    first, _ = finished([attack(store, "one")], store)
    monkeypatch.setattr(trainings, "train", None)
    later, told = finished([attack(store, "other")], store)
    assert not told
    assert same(arrays(store, *first.values()), arrays(store, *later.values()))


@pytest.mark.parametrize("pays", [False, True])
def test_precision_follows_the_rule_unless_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pays: bool
) -> None:
    monkeypatch.setattr(trainings, "bfloat16_pays", lambda *_: pays)
    store, auto = Store(tmp_path), RECIPE.model_copy(update={"precision": "auto"})
    tasks = [attack(store, "one", auto), attack(store, "plain")]
    found, _ = finished(tasks, store)
    expected = train(auto, noise(), 3, INNER_SEED, bfloat16=pays).arrays()
    assert same(arrays(store, found[tasks[0].key]), expected)
    assert same(arrays(store, found[tasks[1].key]), train(RECIPE, noise(), 3, INNER_SEED).arrays())


def test_outside_of_a_task_it_just_runs(tmp_path: Path) -> None:
    context, some = Context(np.random.default_rng(0)), noise()
    network = context.train(RECIPE, some, 7)
    assert not network.training
    assert network.architecture.classes == 3
    assert same(network.arrays(), train(RECIPE, some, 3, 7).arrays())
    for name, array in (("pixels", some.pixels), ("labels", some.labels)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = Images(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("pixels", "labels")))
    assert same(context.train(RECIPE, mapped, 7).arrays(), network.arrays())
    assert context.train(RECIPE, some, 7, classes=5).architecture.classes == 5


def test_several_networks_at_once(tmp_path: Path) -> None:
    store, some = Store(tmp_path), noise()
    inputs = {"images": {"pixels": store.put_array(some.pixels), "labels": store.put_array(some.labels)}}
    one = Task("halves", "training_tasks:several", {"recipe": RECIPE.model_dump(mode="json"), "seed": 3}, inputs, {})
    needs = work(one, store, lambda *_: None)
    assert isinstance(needs, Needs)
    assert len({other.key for other in needs.tasks}) == 2
    found = arrays(store, *finished([one], store)[0].values())
    assert labels(store) == ["halves", *["training convnet on 20 images"] * 2]
    np.testing.assert_array_equal(found["0"], found["2"])
    assert not np.array_equal(found["0"], found["1"])
    straight = trained([Training(RECIPE, some.take(slice(1, None, 2)), 3, 3)], "cpu")[0]
    np.testing.assert_array_equal(found["1"], straight.arrays()["body.linear.weight"])


def test_soft_labels_reach_the_training(tmp_path: Path) -> None:
    store, some = Store(tmp_path), noise()
    soft = np.random.default_rng(1).dirichlet(np.ones(3), len(some)).astype(np.float32)
    found, _ = finished([attack(store, soft_labels=soft)], store)
    assert same(arrays(store, *found.values()), train(RECIPE, some, 3, INNER_SEED, soft_labels=soft).arrays())


def asked(store: Store, **facts: Any) -> Task:
    """The training that a task asks for."""
    needs = work(attack(store, **facts), store, lambda *_: None)
    assert isinstance(needs, Needs)
    (one,) = needs.tasks
    return one


def test_key_holds_what_a_network_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, some = Store(tmp_path), noise()
    soft = np.full((len(some), 3), 1 / 3, np.float32)
    base = asked(store)
    assert asked(store, name="other").key == base.key
    assert dict(base.facts).items() >= result_facts("cpu").items()
    changed = [
        asked(store, seed=SEED + 1),
        asked(store, classes=4),
        asked(store, images=noise(seed=1)),
        asked(store, images=Images(some.pixels, (some.labels + 1) % 3)),
        asked(store, images=some.take(slice(0, 39))),
        asked(store, soft_labels=soft),
        asked(store, soft_labels=soft[:, ::-1] + np.float32(1e-6)),
    ]
    updates: list[dict[str, Any]] = [
        {"network": "resnet20"},
        {"epochs": 4},
        {"batch_size": 17},
        {"optimizer": "adamw"},
        {"learning_rate": 0.03},
        {"weight_decay": 0.0},
        {"crop": 1},
        {"flip": True},
        {"cutmix": True},
        {"decay": 2.0},
        {"label_smoothing": 0.1},
        {"ema": 0.9},
        {"precision": "bfloat16"},
    ]
    assert {name for update in updates for name in update} == set(Recipe.model_fields)
    changed += [asked(store, recipe=RECIPE.model_copy(update=update)) for update in updates]
    monkeypatch.setattr(trainings, "VERSION", 2)
    changed.append(asked(store))
    assert len({one.key for one in (base, *changed)}) == len(changed) + 1


def test_numbers_of_numpy_are_numbers() -> None:
    """A seed drawn from the generator is one; the arguments of a call are written as JSON."""
    calls: list[Call] = []

    class Noted(Surroundings):
        def compute(self, found: Any) -> Any:
            calls.extend(found)
            return super().compute(found)

    with inside(Noted()):
        context = Context(np.random.default_rng(0))
        context.train(RECIPE, noise(), context.generator.integers(9), classes=np.int64(3))  # type: ignore[arg-type]
    assert json.loads(json.dumps(calls[0].arguments))["classes"] == 3


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"classes": 2}, "Labels must be 0 to 1; found 0 to 2."),
        ({"images": noise(1)}, "Training needs at least two images; found 1."),
        ({"images": noise(0)}, "Training needs at least two images; found 0."),
        ({"images": Images(noise().pixels, noise().labels * 0 - 1)}, "found -1 to -1."),
        ({"images": Images(noise().pixels[:, :7], noise().labels)}, "found 8 x 7."),
        ({"soft_labels": np.zeros((40, 2), np.float32)}, "Soft labels must be float32 [40, 3]; found float32 [40, 2]."),
        ({"recipe": RECIPE.model_copy(update={"network": "resnet21"})}, "Did you mean 'resnet20'?"),
        ({"recipe": RECIPE.model_copy(update={"network": "torchvision:alexnet"})}, "cannot take images of 8 x 8"),
    ],
)
def test_what_cannot_be_learned_is_told_in_words(tmp_path: Path, facts: dict[str, Any], told: str) -> None:
    auto = RECIPE.model_copy(update={"precision": "auto"})
    store = Store(tmp_path)
    (failure,) = finished([attack(store, **({"recipe": auto} | facts))], store)[0].values()
    assert isinstance(failure, Failure)
    assert told in failure.message
    assert failure.is_input


def test_training_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress that raises stands for a kill, after the first epoch; the next run starts with the second."""
    monkeypatch.setattr(checkpoint, "SECONDS_TO_LOSE", 0.0)
    recipe = RECIPE.model_copy(update={"epochs": 4, "ema": 0.9})
    store, one = Store(tmp_path), attack(Store(tmp_path), recipe=recipe)

    def kill(label: str, stage: str, share: float) -> None:
        raise KeyboardInterrupt

    ((_, result),) = run([one], store, 0, kill)
    assert isinstance(result, Failure)
    (left,) = (tmp_path / "unfinished").iterdir()
    assert left.name == asked(store, recipe=recipe).key
    found_again, told = finished([one], store)
    assert told[0][2] == 2 / 4
    assert same(arrays(store, *found_again.values()), train(recipe, noise(), 3, INNER_SEED).arrays())
    assert not list((tmp_path / "unfinished").iterdir())


def test_training_goes_on_after_its_worker_was_killed(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 150})
    store, one = Store(tmp_path), attack(Store(tmp_path), recipe=recipe, nothing_to_lose=True)
    told: Said = []

    def kill_once(label: str, stage: str, share: float) -> None:
        told.append((label, stage, share))
        if len(told) == 1:
            for process in multiprocessing.active_children():
                assert process.pid is not None
                os.kill(process.pid, signal.SIGKILL)

    ((_, result),) = run([one], store, 1, kill_once)
    assert told[0][2] == 1 / 150
    assert told[1][2] > 1.5 / 150  # not the first epoch again
    assert same(arrays(store, result), train(recipe, noise(), 3, INNER_SEED).arrays())
