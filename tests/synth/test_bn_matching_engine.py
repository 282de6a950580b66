"""The engine: its plan, its purity, what it makes of digits, and what it refuses."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matching_examples import images
from pydantic import ValidationError

from privaudit import seeds
from privaudit.attack import Context
from privaudit.data.builtin import load_digits
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Recipe, Training, accuracy, trained
from privaudit.plan import settings_of
from privaudit.plugins import make_synthesizer
from privaudit.splits import random_split
from privaudit.store import Store
from privaudit.synth.bn_matching import BNMatching, memory
from privaudit.synth.bn_matching.memory import bytes_per_image, check_fits
from privaudit.synthesis import synthesize
from privaudit.synthesizer import Synthesizer

TEACHER = Recipe(network="convnet", epochs=2, batch_size=16, precision="float32")
SMALL = BNMatching(teacher=TEACHER, steps=3, precision="float32")


def context(*names: str, **changes: Any) -> Context:
    return replace(Context(seeds.generator(0, *names)), **changes)


def counted(engine: BNMatching, members: Images) -> Counter[str]:
    found: Counter[str] = Counter()
    for shard in engine.shards(members):
        assert shard.count == sum(shard.arguments["labels"].values())
        assert all(shard.arguments["labels"].values())
        found.update(shard.arguments["labels"])
    return found


def test_is_a_synthesizer_with_a_line_on_every_setting() -> None:
    assert isinstance(make_synthesizer("bn-matching", {}), Synthesizer)
    assert all(field.description for field in BNMatching.model_fields.values())
    assert settings_of(SMALL)["teacher"]["network"] == "convnet"


@settings(max_examples=60, deadline=None)
@example([5, 5], "global", 5, None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=5).filter(any),
    st.sampled_from(["class", "mix", "global"]),
    st.integers(5, 30),
    st.none() | st.integers(1, 30),
)
def test_plan_makes_as_many_as_asked_for(
    counts: list[int], statistics: Any, batch_size: int, per_class: int | None
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    members = Images(np.zeros((len(labels), 8, 8, 1), np.uint8), labels)
    engine = BNMatching(statistics=statistics, batch_size=batch_size, images_per_class=per_class)
    shards = engine.shards(members)
    assert counted(engine, members) == {str(label): per_class or count for label, count in enumerate(counts) if count}
    assert all(shard.count <= batch_size for shard in shards)
    assert len({shard.name for shard in shards}) == len(shards)
    for shard in shards:
        if statistics == "class":
            assert len(shard.arguments["labels"]) == 1
        if statistics == "mix":
            assert len(set(shard.arguments["labels"].values())) == 1


def test_batches_must_hold_every_class() -> None:
    members = images(12)
    with pytest.raises(InputError, match="batch_size must be at least 4"):
        BNMatching(statistics="mix", batch_size=3).shards(members)
    assert len(BNMatching(statistics="class", batch_size=1).shards(members)) == 12


def test_real_images_as_a_start_are_refused() -> None:
    with pytest.raises(ValidationError):
        BNMatching.model_validate({"start": "images"})
    with pytest.raises(InputError, match="unknown key"):
        make_synthesizer("bn-matching", {"initialisation": "real"})


@pytest.mark.parametrize("statistics", ["class", "mix", "global"])
def test_shards_are_pure(statistics: Any) -> None:
    """Equal seeds give equal bits, whatever was made before; another name other images."""
    members = images(24)
    engine = SMALL.model_copy(update={"statistics": statistics, "images_per_class": 4})
    shard = engine.shards(members)[0]
    first = engine.make(shard, members, context("a"))
    torch.manual_seed(5)
    again = engine.make(shard, members, context("a"))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.labels, again.labels)
    assert Counter(map(str, first.labels.tolist())) == shard.arguments["labels"]
    other = engine.make(shard, members, context("b"))
    assert not np.array_equal(first.pixels, other.pixels)


def test_no_released_image_comes_from_a_member() -> None:
    """After no step worth the name the images are noise: nothing of the members was in the start."""
    members = images(24)
    engine = SMALL.model_copy(update={"steps": 1, "learning_rate": 1e-6})
    made = engine.make(engine.shards(members)[0], members, context("a"))
    noise = made.pixels.astype(float).ravel()
    assert 0.05 < np.mean((noise == 0) | (noise == 255)) < 0.4  # the clipped ends of a normal law
    correlations = [
        abs(np.corrcoef(image.ravel(), member.ravel())[0, 1]) for image in made.pixels for member in members.pixels
    ]
    assert max(correlations) < 0.2


def test_finish_labels_what_is_published() -> None:
    members = images(24)
    engine = SMALL.model_copy(update={"soft_labels": True, "images_per_class": 2})
    parts = [engine.make(shard, members, context(shard.name)) for shard in engine.shards(members)]
    release = engine.finish(parts, members, context("finish"))
    assert release.images.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert release.soft_labels is not None
    assert release.soft_labels.shape == (8, 4)
    np.testing.assert_allclose(release.soft_labels.sum(1), 1, rtol=1e-5)
    assert release.provenance["start"] == "noise"
    assert release.provenance["settings"]["images_per_class"] == 2
    hard = engine.model_copy(update={"soft_labels": False}).finish(parts, members, context("finish"))
    assert hard.soft_labels is None


def test_classes_without_members_are_left_out() -> None:
    members = images(24).take(np.flatnonzero(images(24).labels != 1))
    engine = SMALL.model_copy(update={"images_per_class": 2})
    assert set(counted(engine, members)) == {"0", "2", "3"}
    made = engine.make(engine.shards(members)[1], members, context("a"))
    assert set(made.labels.tolist()) == {2}


def test_batch_that_does_not_fit_names_the_largest_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = Architecture(name="convnet", channels=3, classes=4, side=16)
    each = bytes_per_image(architecture, 16, 16, torch.float32)
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(10.5 * each / 0.8))
    check_fits(architecture, 16, 16, torch.float32, 10, "cpu")
    with pytest.raises(InputError, match="largest batch_size that fits is 10"):
        check_fits(architecture, 16, 16, torch.float32, 11, "cpu")
    monkeypatch.setattr(memory, "free_bytes", lambda device: each // 2)
    with pytest.raises(InputError, match="Not even one image fits"):
        check_fits(architecture, 16, 16, torch.float32, 1, "cpu")
    members = images(24)
    with pytest.raises(InputError, match="does not fit"):
        SMALL.make(SMALL.shards(members)[0], members, context("a"))


def test_memory_per_image_grows_with_the_images_and_shrinks_with_the_type() -> None:
    small, large = (
        bytes_per_image(Architecture(name="convnet", channels=3, classes=4, side=side), side, side, torch.float32)
        for side in (16, 32)
    )
    assert 2 < large / small < 6
    half = bytes_per_image(Architecture(name="convnet", channels=3, classes=4, side=32), 32, 32, torch.bfloat16)
    assert half < large
    assert small > 16 * 16 * 32 * 4


@pytest.mark.slow
def test_students_of_a_release_of_digits(tmp_path: Path) -> None:
    """Class-wise statistics carry the engine: students reach nine tenths of those of real members."""
    members, test = random_split(load_digits(), [450, 800], seeds.generator(5, "digits"))[:2]
    recipe = Recipe(
        network="convnet", epochs=40, batch_size=32, optimizer="adamw", learning_rate=3e-3, weight_decay=0.01, crop=2
    )
    engine = BNMatching(teacher=recipe, steps=500, roll=1)
    release = synthesize(
        engine,
        members.images,
        Store(tmp_path),
        seed=0,
        effort="quick",
        device="cpu",
        workers=2,
        announce=lambda what, done, total: None,
    )
    on_release, on_members = trained(
        [Training(recipe, release.images, 10, 0), Training(recipe, members.images, 10, 0)], "cpu"
    )
    assert accuracy(on_release, test.images) > 0.9 * accuracy(on_members, test.images)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_devices_make_images_too(device: str) -> None:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        pytest.skip(f"this machine has no {device}")
    members = images(24)
    engine = BNMatching(teacher=TEACHER, steps=20, images_per_class=4)
    shard = engine.shards(members)[0]
    made = [engine.make(shard, members, context("a", device=device)) for _ in range(2)]
    assert np.array_equal(made[0].pixels, made[1].pixels)
    assert made[0].pixels.std() > 10
