"""What every installed engine keeps: a plan with names of its own, one part from its seed alone, equal bits again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_examples import made

from privaudit.images import Images
from privaudit.plan import settings_of
from privaudit.plugins import SYNTHESIZERS, installed, make_synthesizer, synthesizer_class
from privaudit.synthesizer import Synthesizer

QUICK: dict[str, dict[str, Any]] = {
    "bn-matching": {
        "teacher": {"network": "convnet", "epochs": 1, "precision": "float32"},
        "steps": 2,
        "precision": "float32",
    },
    "dp-bn-matching": {
        "epsilon": 8.0,
        "delta": 1e-3,
        "teacher_steps": 2,
        "steps": 2,
        "images_per_class": 6,
        "noise": "seeded",
    },
    "pixel-block-mixing": {"sources": 3},
    "privimage": {
        "public": "digits",
        "epsilon": 8.0,
        "delta": 1e-3,
        "classifier": {"network": "convnet", "epochs": 1, "precision": "float32"},
        "pretraining_images": 128,
        "steps": 2,
        "images_per_class": 6,
        "sampling_steps": 2,
        "noise": "seeded",
    },
    "spinml": {
        "public": "digits",
        "foreground": "L1",
        "background": "L2",
        "pretraining_images": 128,
        "edges_images": 128,
        "fine_tuning_steps": 2,
        "sampling_steps": 2,
    },
}
"""Settings with which an engine is quick, where it is not."""

PRIVATE = ("dp-bn-matching", "privimage")
ENGINES = sorted(name for name, one in installed(SYNTHESIZERS).items() if one.dist and one.dist.name == "privaudit")


def members(count: int = 24, channels: int = 1, size: tuple[int, int] = (8, 8)) -> Images:
    """Classes 0, 1 and 3; the last has a third as many as the others."""
    rng = np.random.default_rng(7)
    labels = np.array([0, 1, 0, 1, 0, 1, 3] * count, dtype=np.int64)[:count]
    return Images(rng.integers(0, 256, (count, *size, channels), dtype=np.uint8), labels)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Synthesizer:
    return make_synthesizer(request.param, QUICK.get(request.param, {}))


def test_there_are_engines() -> None:
    assert {"bn-matching", "pixel-block-mixing", "noise", "real-subset", "blur"} <= set(ENGINES)


@pytest.mark.parametrize("name", ENGINES)
def test_settings_are_frozen_and_told_in_a_line(name: str) -> None:
    kind: Any = synthesizer_class(name)
    assert kind.name == name
    assert all(field.description for field in kind.model_fields.values())
    assert kind.__doc__
    with pytest.raises(ValueError, match="frozen"):
        kind().images_per_class = 3
    assert make_synthesizer(name, settings_of(kind())) == kind()


def test_the_plan_is_pure_and_names_every_part_once(engine: Synthesizer) -> None:
    plan = engine.shards(members())
    assert plan == engine.shards(members())
    assert len({shard.name for shard in plan}) == len(plan)
    assert sum(shard.count for shard in plan) == 24


def test_a_release_is_as_it_should_be_and_equal_seeds_give_equal_bits(engine: Synthesizer, tmp_path: Path) -> None:
    some = members(channels=3, size=(8, 10))
    if engine.name == "bn-matching":
        some = members()
    first = made(engine, some, tmp_path / "one")
    assert first.images.pixels.shape == some.pixels.shape
    assert first.images.pixels.dtype == np.uint8
    asked: Any = engine
    if asked.images_per_class is None:
        np.testing.assert_array_equal(np.bincount(first.images.labels), np.bincount(some.labels))
    if first.soft_labels is not None:
        assert first.soft_labels.shape == (24, 4)
        np.testing.assert_allclose(first.soft_labels.sum(axis=1), 1, rtol=1e-5)
    assert first.provenance["engine"] == engine.name
    assert first.provenance["version"] == engine.version
    assert first.claim is None
    assert made(engine, some, tmp_path / "two").digest == first.digest
    other = made(engine, some, tmp_path / "three", seed=6)
    assert other.digest != first.digest


def test_fewer_images_of_each_class(engine: Synthesizer, tmp_path: Path) -> None:
    asked: Any = engine
    few = made(asked.model_copy(update={"images_per_class": 2}), members(), tmp_path)
    empty = 2 if engine.name in PRIVATE else 0  # they must not show that a class is empty
    assert np.bincount(few.images.labels).tolist() == [2, 2, empty, 2]
