"""Class-wise statistics: exact, checked, kept with a release, and made anew in the other arms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audit_examples import DEMO, audited, dataset, digits, hurry, plan_for, random_images
from hypothesis import given
from hypothesis import strategies as st

from privaudit.artifacts import lacking
from privaudit.data.loading import load_release, match_release, write_release
from privaudit.data.statistics_file import read_statistics
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.judgement import judge
from privaudit.learning import Architecture, Network
from privaudit.learning.training import seeded
from privaudit.plan import Candidate
from privaudit.plugins import make_attack
from privaudit.release import Release
from privaudit.released_statistics import checked, class_statistics, layers_of, moments, needs_network, with_classes
from privaudit.utility import recipes

LAYER = "body.blocks.1"


def network(seed: int = 0, side: int = 8) -> Network:
    with seeded(seed):
        return Network(Architecture(name="convnet", channels=1, classes=10, side=side)).eval()


def test_pixels_by_hand() -> None:
    pixels = np.array([[[[0], [255]]], [[[255], [255]]], [[[51], [102]]]], np.uint8)
    found = class_statistics(Images(pixels, np.array([0, 0, 2])), 3, ["pixels"])
    np.testing.assert_array_equal(found["images"], [2, 0, 1])
    np.testing.assert_allclose(found["mean pixels"], np.array([[0.5, 1], [0, 0], [0.2, 0.4]]), atol=1e-7)
    np.testing.assert_allclose(found["variance pixels"], np.array([[0.25, 0], [0, 0], [0, 0]]), atol=1e-7)


def test_layers_are_the_inputs_of_batch_norm() -> None:
    images, net = random_images(7, 0), network()
    found = class_statistics(images, 2, [LAYER], net)
    values = []
    net.get_submodule(LAYER).register_forward_pre_hook(lambda _, inputs: values.append(inputs[0]))
    with torch.inference_mode():
        for batch in images.batches(100):
            net(batch)
    mine = values[0][torch.from_numpy(images.labels == 1)].transpose(0, 1).flatten(1).double().numpy()
    np.testing.assert_allclose(found[f"mean {LAYER}"][1], mine.mean(1), rtol=1e-5)
    np.testing.assert_allclose(found[f"variance {LAYER}"][1], mine.var(1), rtol=1e-4)
    with pytest.raises(InputError, match=r"no BatchNorm layer 'body\.linear'"):
        moments(images, ["body.linear"], net)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_moments_of_a_class_are_means_of_those_of_its_images(seed: int, count: int) -> None:
    images = random_images(count, seed, side=3)
    found = class_statistics(images, 2, ["pixels"])
    mean, square = moments(images, ["pixels"], None)["pixels"]
    for label in np.unique(images.labels):
        mine = images.labels == label
        np.testing.assert_allclose(found["mean pixels"][label], mean[mine].mean(0), atol=1e-9)
        np.testing.assert_allclose(
            found["variance pixels"][label], square[mine].mean(0) - mean[mine].mean(0) ** 2, atol=1e-9
        )


GOOD: dict[str, Any] = {
    "images": np.array([3, 0]),
    "mean pixels": np.zeros((2, 4)),
    "variance pixels": np.array([[1.0] * 4, [np.nan] * 4]),  # of a class without images
}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "found none"),
    "no variance": ({key: GOOD[key] for key in ("images", "mean pixels")}, "'variance LAYER'"),
    "something else": (GOOD | {"notes": np.zeros(2)}, "Statistics need the arrays"),
    "counts": (GOOD | {"images": np.array([1.5, 2.0])}, "one whole number per class"),
    "classes": (GOOD | {"images": np.array([1, 2, 3])}, r"per class \(2\)"),
    "shapes": (GOOD | {"mean pixels": np.zeros((2, 5))}, "must both be"),
    "not finite": (GOOD | {"mean pixels": np.full((2, 4), np.inf)}, "must be finite"),
    "negative": (GOOD | {"variance pixels": np.full((2, 4), -1.0)}, "a variance at least 0"),
    "whole numbers": (GOOD | {"mean pixels": np.zeros((2, 4), int)}, "must be finite floats"),
}


def test_good_statistics_are_read() -> None:
    found = checked(GOOD, 2)
    assert layers_of(found) == ("pixels",)
    assert not needs_network(found)


@pytest.mark.parametrize("name", BAD)
def test_bad_statistics_are_refused(name: str) -> None:
    values, said = BAD[name]
    with pytest.raises(InputError, match=said):
        checked(values, 2)


def test_a_release_folder_keeps_them(tmp_path: Path) -> None:
    images = random_images(6, 1)
    statistics = class_statistics(images, 2, ["pixels"])
    write_release(Release(images, statistics=statistics), ("a", "b"), tmp_path / "r")
    found, data = load_release(tmp_path / "r")
    assert found.artifacts == ("statistics",)
    assert not any("Not assessed" in note for note in data.notes)
    members = replace(dataset(random_images(6, 2, classes=3)), class_names=("b", "c", "a"))
    matched, _ = match_release(members, found, data)
    assert matched.statistics is not None
    np.testing.assert_array_equal(matched.statistics["images"], [3, 0, 3])
    np.testing.assert_array_equal(matched.statistics["mean pixels"][2], statistics["mean pixels"][0])


def test_a_file_is_read_and_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    np.savez(path, **class_statistics(random_images(6, 1), 2, ["pixels"]))  # type: ignore[arg-type]
    assert layers_of(read_statistics(path, 2)) == ("pixels",)
    with pytest.raises(InputError, match=r"per class \(5\)"):
        read_statistics(path, 5)
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(InputError, match="no numpy file"):
        read_statistics(tmp_path / "text.npz", 2)


def test_classes_that_the_members_lack() -> None:
    good = checked(GOOD, 2)
    np.testing.assert_array_equal(with_classes(good, np.array([2, -1]), 3)["images"], [0, 0, 3])
    with pytest.raises(InputError, match="classes that the members do not have"):
        with_classes(good, np.array([-1, 0]), 3)


def test_statistics_of_a_network_need_it() -> None:
    attack = make_attack("statistics-matching", {})
    images = random_images(6, 1, classes=2)
    alone = Release(images, statistics=class_statistics(images, 10, [LAYER], network()))
    assert "network that the statistics were measured with is not shown" in str(lacking(attack, alone))
    assert lacking(attack, replace(alone, teacher=network())) is None
    assert lacking(attack, Release(images, statistics=class_statistics(images, 2, ["pixels"]))) is None
    assert "looks at statistics" in str(lacking(attack, Release(images)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.mark.parametrize("teacher", [None, network(side=16)], ids=["pixels", "teacher"])
def test_an_audit_finds_members_behind_statistics(
    teacher: Network | None, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setattr(recipes, "FEWEST_STEPS", 200)
    images = digits().unseen.images.take(slice(0, 150))
    behind = digits().members.images
    few = behind.take(np.concatenate([np.flatnonzero(behind.labels == label)[:8] for label in range(10)]))
    layers = ["pixels"] if teacher is None else [LAYER, "body.blocks.5"]
    verdicts = {}
    for name, source in (("members", few), ("strangers", digits().unseen.images.take(slice(150, 230)))):
        statistics = class_statistics(source, 10, layers, teacher)
        release = Release(images, statistics=statistics, teacher=teacher, trained_on="other")
        plan = plan_for(
            images,
            attacks={"statistics-matching": {}},
            candidates=[Candidate("candidate", release, dataset(images))],
            kinds=(),
        )
        evidence, record = audited(plan, shared, DEMO)
        (attack,) = record.releases[0].attacks
        verdicts[name] = attack.verdict
        raw = attack.arms["raw"]
        assert raw is not None
        assert raw.verdict == "fail", attack.reasons
        beside = {one.name: one for one in record.releases[0].artifacts}
        found = beside["statistics"]
        assert found.attacks == ("statistics-matching",)
        assert found.found == ("fail" if name == "members" else "silent")
        assert found.verdict_without == "inconclusive"  # the required attacks did not run
        assert judge(evidence, DEMO) == record
    assert verdicts == {"members": "fail", "strangers": "pass"}
