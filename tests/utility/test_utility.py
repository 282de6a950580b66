"""Usefulness from end to end: releases whose usefulness is known, tasks, errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from utility_examples import digits, recipe

from privaudit.errors import InputError
from privaudit.execution import Failure, Task, run
from privaudit.images import Images
from privaudit.release import Release
from privaudit.store import Entry, Store
from privaudit.utility import Utility, UtilityRecord, measure

MEMBERS, TEST = digits(0, 400), digits(400, 800)
RNG = np.random.default_rng(3)
NOISE = Images(RNG.integers(0, 256, (200, 16, 16, 1)).astype(np.uint8), MEMBERS.labels[:200])
SHUFFLED = Images(MEMBERS.pixels[:200], RNG.permutation(MEMBERS.labels[:200]))
CHANCE = 0.25


def found(release: Release, members: Images = MEMBERS, test: Images = TEST, **more: Any) -> Utility:
    return measure(release, members, test, classes=10, **({"recipe": recipe(8)} | more))


def inside(record: UtilityRecord, value: float) -> bool:
    assert record.ratio is not None
    return record.ratio.low <= value <= record.ratio.high


def test_members_are_as_useful_as_members() -> None:
    result = found(Release(MEMBERS.take(slice(100, 300))))
    record = result.record
    assert record.real.estimate > 0.8
    assert inside(record, 1)
    assert 0.05 < record.chance < 0.2
    assert (record.seeds, record.n_release, record.n_real, record.labels) == (3, 200, 200, "hard")
    assert result.synthetic_correct.shape == result.real_correct.shape == (3, 400)
    assert result.synthetic_correct.mean() == pytest.approx(record.synthetic.estimate)
    assert record.frechet is not None
    assert record.precision is not None
    assert record.recall is not None
    assert record.frechet.n == 200
    assert record.frechet.feature_space == f"features of convnet trained on the members ({record.frechet.features})"
    assert record.frechet.release < 3 * record.frechet.members
    assert abs(record.precision.release - record.precision.members) < 0.15
    assert "FID" not in record.model_dump_json()
    assert record.recipe.startswith("convnet, adamw 0.003")


def test_the_members_themselves_are_exactly_as_useful_and_as_far() -> None:
    record = found(Release(MEMBERS), recipe=recipe(2)).record
    assert record.ratio is not None
    assert record.ratio.estimate == 1
    assert record.ratio.low < 1 < record.ratio.high
    assert record.frechet is not None
    assert record.frechet.n == 400


@pytest.mark.parametrize("useless", [NOISE, SHUFFLED], ids=["noise", "shuffled labels"])
def test_useless_releases_are_near_chance(useless: Images) -> None:
    record = found(Release(useless), recipe=recipe(5)).record
    assert record.synthetic.estimate < CHANCE
    assert record.synthetic.low < record.chance
    assert record.ratio is not None
    assert record.ratio.high < 0.7
    assert record.frechet is not None
    assert record.precision is not None
    assert record.recall is not None
    if useless is NOISE:
        assert record.frechet.release > 20 * record.frechet.members
        assert record.precision.release < 0.1 < record.precision.members
        assert record.recall.release < 0.5 < record.recall.members


def test_soft_labels_are_learned_where_there_are_any() -> None:
    soft = np.full((200, 10), 0.01, dtype=np.float32)
    soft[np.arange(200), MEMBERS.labels[:200]] = 0.91
    record = found(Release(SHUFFLED, soft_labels=soft)).record
    assert record.labels == "soft"
    assert record.synthetic.estimate > 0.75
    assert any("soft labels" in note for note in record.notes)


def test_what_a_reader_should_know_is_said() -> None:
    few = digits(0, 60)
    released = digits(800, 1200)
    released = released.take(~np.isin(released.labels, (3, 7)))
    record = found(Release(released), few, recipe=recipe(1)).record
    notes = " ".join(record.notes)
    assert record.n_real < len(few)
    assert "no image of class 3, 7" in notes
    assert f"learn {record.n_real} images, in as many steps" in notes
    assert "no more images than features" in notes
    three = found(Release(released), few, TEST.take(slice(0, 3)), recipe=recipe(1)).record
    assert (three.frechet, three.precision, three.recall) == (None, None, None)
    assert any("Too few images" in note for note in three.notes)


def test_distances_use_at_most_the_limit_and_any_seed_count() -> None:
    result = found(Release(SHUFFLED), limit=50, seeds=4, recipe=recipe(1))
    assert result.record.frechet is not None
    assert result.record.frechet.n == 50
    assert result.record.seeds == len(result.real_correct) == 4
    assert "4 and 4 students" in json.dumps(result.record.model_dump())


def test_persons_in_the_test_images_are_counted() -> None:
    persons = np.char.add("person ", (np.arange(400) % 20).astype(str))
    alone, grouped = (found(Release(SHUFFLED), recipe=recipe(1), units=units).record for units in (None, persons))
    assert grouped.synthetic.estimate == alone.synthetic.estimate
    assert grouped.synthetic.low != alone.synthetic.low
    assert grouped.synthetic.n == 400
    assert "20 persons" in grouped.synthetic.method


def test_unusable_data_is_refused() -> None:
    release, none = Release(SHUFFLED), TEST.take(slice(0, 0))
    small = Images(np.zeros((4, 8, 8, 1), dtype=np.uint8), np.zeros(4, dtype=np.int64))
    high = Images(TEST.pixels, TEST.labels + 1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"test": none}, "at least 1 test images; found 0"),
        ({"members": none}, "at least 2 member images; found 0"),
        ({"release": Release(none)}, "at least 2 released images; found 0"),
        ({"members": small}, "released 16 x 16 x 1, member 8 x 8 x 1, test 16 x 16 x 1"),
        ({"test": high}, "Labels of test images must be 0 to 9; found 1 to 10"),
        ({"test": TEST.take(slice(0, 1))}, "two test images"),
        ({"units": np.arange(5)}, "one person per test image"),
        ({"units": np.zeros(400)}, "two test images, or persons"),
        ({"seeds": 2}, "at least 3 seeds"),
    ]
    for changed, message in cases:
        with pytest.raises(InputError, match=message):
            found(**({"release": release} | changed))


def _task(store: Store, seed: int = 0) -> Task:
    def put(images: Images, **more: NDArray[Any]) -> dict[str, str]:
        arrays: dict[str, NDArray[Any]] = {"pixels": images.pixels, "labels": images.labels, **more}
        return {name: store.put_array(array) for name, array in arrays.items()}

    soft = np.eye(10, dtype=np.float32)[SHUFFLED.labels]
    inputs = {
        "release": put(SHUFFLED, soft_labels=soft),
        "members": put(MEMBERS),
        "test": put(TEST, units=np.arange(400).astype(str)),
    }
    arguments: Mapping[str, Any] = {
        "recipe": recipe(1).model_dump(mode="json"),
        "classes": 10,
        "seeds": 3,
        "seed": seed,
        "device": "cpu",
    }
    return Task("utility of a", "privaudit.utility:utility_task", arguments, inputs, {"version": 1})


def _run(store: Store, workers: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    ((_, result),) = run([_task(store, seed)], store, workers)
    assert isinstance(result, Entry), result
    return store.load(result.arrays)


def _labels(store: Store) -> list[str]:
    return [json.loads(path.read_text())["facts"]["label"] for path in store.root.glob("entries/*/*.json")]


def test_the_task_trains_in_parallel_once_and_gives_what_the_function_gives(tmp_path: Path) -> None:
    store = Store(tmp_path)
    arrays = _run(store, 2)
    record = UtilityRecord.model_validate_json(arrays["record"].tobytes())
    labels = _labels(store)
    assert sum(label.startswith("training convnet") for label in labels) == 7
    soft = np.eye(10, dtype=np.float32)[SHUFFLED.labels]
    direct = found(Release(SHUFFLED, soft_labels=soft), recipe=recipe(1), units=np.arange(400))
    assert record.labels == "soft"
    assert record == direct.record
    np.testing.assert_array_equal(arrays["real_correct"], direct.real_correct)
    assert _run(store, 0)["record"].tobytes() == arrays["record"].tobytes()
    assert sorted(_labels(store)) == sorted(labels)


def test_the_task_runs_on_memory_maps_without_a_warning(tmp_path: Path) -> None:
    """Inside this process, where warnings are errors."""
    store = Store(tmp_path)
    assert _run(store, 0, seed=1)["synthetic_correct"].shape == (3, 400)


def test_a_failing_task_tells_people_why(tmp_path: Path) -> None:
    store = Store(tmp_path)
    task = _task(store)
    broken = Task(task.label, task.function, {**task.arguments, "classes": 5}, task.inputs, task.facts)
    ((_, result),) = run([broken], store, 0)
    assert isinstance(result, Failure)
    assert result.message.startswith("Labels of released images must be 0 to 4")
