"""What can be added to plain matching: averages, crops, more teachers, a rival, barycentres, soft labels of views."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_examples import made
from matching_examples import images, network
from pydantic import ValidationError

from privaudit import seeds
from privaudit.attack import Context
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Recipe, features, logits
from privaudit.learning.batches import as_float
from privaudit.synth.bn_matching import BNMatching
from privaudit.synth.bn_matching.barycentres import barycentres, means_of_several
from privaudit.synth.bn_matching.folding import MatchedNetwork
from privaudit.synth.bn_matching.matching import Batch, Descent, Objective, Weights, agreement, descend
from privaudit.synth.bn_matching.moments import EAGER
from privaudit.synth.bn_matching.moves import Moves, seen_in_part
from privaudit.synth.bn_matching.several import in_pixels, of_standardised, restandardised
from privaudit.synth.bn_matching.statistics import Law, collect

TEACHER = Recipe(network="convnet", epochs=2, batch_size=16, precision="float32")
SMALL = BNMatching(teacher=TEACHER, steps=3, precision="float32", images_per_class=2)


def context(*names: str, **changes: Any) -> Context:
    return replace(Context(seeds.generator(0, *names)), **changes)


def test_agreement_by_hand() -> None:
    sure, other = torch.tensor([[300.0, 0.0]]), torch.tensor([[0.0, 300.0]])
    assert float(agreement(sure, sure)) == pytest.approx(1)
    assert float(agreement(sure, other)) == pytest.approx(0, abs=1e-6)
    even = torch.tensor([[0.0, 0.0]])
    # Against a certain answer: entropy of (3/4, 1/4) less half a bit.
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert float(agreement(sure, even)) == pytest.approx(1 - (entropy - 0.5), abs=1e-5)
    assert float(agreement(even, sure)) == pytest.approx(float(agreement(sure, even)))
    # A temperature of 3, and the mean over images.
    both = agreement(torch.cat([sure, sure]), torch.cat([sure, other]))
    assert float(both) == pytest.approx(0.5, abs=1e-6)
    assert float(agreement(torch.tensor([[3 * math.log(3), 0.0]]), even)) == pytest.approx(
        1 - (-(0.625 * math.log2(0.625) + 0.375 * math.log2(0.375)) - (0.811278 + 1) / 2), abs=1e-4
    )


def objective(data: Images, weights: Weights, **others: Any) -> tuple[Objective, torch.Tensor, Law]:
    found = network("convnet")
    law = collect(found, data, 4).pooled(matched := list(MatchedNetwork(found, "cpu", torch.float32, EAGER).layers))
    assert matched
    batch = Batch(torch.from_numpy(np.array(data.labels)), 1, law, None, 0.0, others.pop("features", None))
    made = Objective(MatchedNetwork(found, "cpu", torch.float32, EAGER), batch, weights, **others)
    return made, (as_float(data.pixels, "cpu") - 0.4) / 0.25, law


def test_average_has_the_value_of_the_steps_and_the_gradient_of_one() -> None:
    data = images(8)
    plain, standardised, _ = objective(data, Weights(1, 1, 0, 0))
    averaged, _, _ = objective(data, Weights(1, 1, 0, 0), average=0.75)
    first = averaged(standardised * 0.5)
    assert float(first) == pytest.approx(float(plain(standardised * 0.5)), rel=1e-5)
    _, mean_then, variance_then = plain.network(standardised * 0.5, 1)
    _, mean, variance = plain.network(standardised, 1)
    second = float(averaged(standardised))
    expected = plain.statistics_distance(0.75 * mean_then + 0.25 * mean, 0.75 * variance_then + 0.25 * variance)
    assert second == pytest.approx(float(expected), rel=1e-4)
    assert second != pytest.approx(float(plain(standardised)), rel=1e-3)
    # Where nothing changes from step to step, nothing changes at all.
    steady, _, _ = objective(data, Weights(1, 1, 0, 0), average=0.75)
    ways = []
    for one in (plain, steady):
        moving = standardised.clone().requires_grad_()
        one(standardised)
        one(moving).backward()  # type: ignore[no-untyped-call]
        ways.append(moving.grad)
    torch.testing.assert_close(ways[0], ways[1], rtol=1e-3, atol=1e-7)


def test_features_are_those_of_the_last_layer() -> None:
    data = images(8)
    wanted = torch.from_numpy(features(network("convnet"), data))
    there, standardised, _ = objective(data, Weights(0, 1, 0, 0, features=2.0), features=wanted)
    assert float(there(standardised)) == pytest.approx(0, abs=1e-2)
    away, _, _ = objective(data, Weights(0, 1, 0, 0, features=2.0), features=wanted + 3 / wanted.shape[1] ** 0.5)
    assert float(away(standardised)) == pytest.approx(6, rel=1e-2)


def test_rival_counts_as_much_as_its_weight() -> None:
    data, found = images(8), network("convnet")
    rival, standardised, _ = objective(data, Weights(0, 1, 0, 0, competition=3.0), rival=of_standardised(found, found))
    assert float(rival(standardised).detach()) == pytest.approx(3, rel=1e-3)  # it agrees with itself


def test_networks_keep_their_own_units() -> None:
    one, other = network("convnet"), network("convnet")
    other.set_standardisation(np.full(3, 0.6), np.full(3, 0.1))
    pixels = as_float(images(4).pixels, "cpu")
    standardised = (pixels - 0.4) / 0.25
    torch.testing.assert_close(in_pixels(one)(standardised), pixels)
    expected = torch.from_numpy(logits(other, images(4)))
    torch.testing.assert_close(of_standardised(other, one)(standardised).detach(), expected, rtol=1e-4, atol=1e-4)
    total = restandardised(lambda given: given.sum(), one, other)
    torch.testing.assert_close(total(standardised), ((pixels - 0.6) / 0.1).sum(), rtol=1e-4, atol=1e-2)
    same = lambda given: given.sum()  # noqa: E731
    assert restandardised(same, one, one) is same


def test_curriculum_falls_along_a_cosine() -> None:
    moves = Moves(0, False, 0.08)
    assert [moves.smallest(done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.54, 0.08])
    assert Moves(0, False, 0.08, curriculum=False).smallest(0) == pytest.approx(0.08)


def test_a_part_is_enlarged_to_the_whole() -> None:
    ramp = torch.arange(16.0).repeat(2, 1, 16, 1)
    rng = np.random.default_rng(0)
    torch.testing.assert_close(seen_in_part(ramp, np.ones(2), rng), ramp)
    quarter = seen_in_part(ramp, np.full(2, 0.25), rng)
    slopes = (quarter[:, 0, 0, 1:] - quarter[:, 0, 0, :-1])[:, 2:-2]
    torch.testing.assert_close(slopes, torch.full_like(slopes, 0.5), atol=1e-3, rtol=0)
    assert not torch.equal(quarter[0], quarter[1])  # each has its own place
    flat = seen_in_part(torch.full((1, 3, 8, 8), 2.0), np.array([0.1]), rng)
    torch.testing.assert_close(flat, torch.full((1, 3, 8, 8), 2.0))


def test_steps_see_crops_only_where_they_are_asked_for() -> None:
    seen: list[torch.Tensor] = []

    def loss(given: torch.Tensor) -> torch.Tensor:
        seen.append(given.detach().clone())
        return given.sum()

    start, edges = torch.rand(2, 3, 8, 8), (torch.full((3, 1, 1), -9.0), torch.full((3, 1, 1), 9.0))
    for moves in (Moves(0, False), Moves(0, False, 0.25, False)):
        descend(loss, start, edges, Descent(1, 0.1, moves), np.random.default_rng(0), lambda stage, share: None)
    assert torch.equal(seen[0], start)
    assert not torch.equal(seen[1], start)


def test_barycentres_are_means_of_few_members() -> None:
    """Two heaps in each class: two points are their means; one point is the mean of all."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 20, (40, 16, 16, 3), dtype=np.uint8)
    pixels[::2] += 200
    members = Images(pixels, np.repeat([0, 1], 20).astype(np.int64))
    found = barycentres(network("convnet"), members, {0: 2, 1: 1}, 0, "cpu")
    known = features(network("convnet"), members)
    heaps = sorted([known[:20][::2].mean(0), known[1:20][::2].mean(0)], key=lambda mean: float(mean[0]))
    np.testing.assert_allclose(sorted(found[0], key=lambda mean: float(mean[0])), heaps, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found[1], known[20:].mean(0, keepdims=True), rtol=1e-3, atol=1e-3)


def test_members_who_stand_out_are_no_points_of_their_own() -> None:
    """Twelve rows near 0, four near 10, one at 100: the one goes to the four, which are five then."""
    rows = np.concatenate([np.linspace(-0.1, 0.1, 12), np.full(4, 10.0), [100.0]]).astype(np.float32)[:, None]
    clusters = np.repeat([0, 1, 2], [12, 4, 1])
    np.testing.assert_allclose(means_of_several(rows, clusters), [[0], [28]], atol=1e-5)
    alone = means_of_several(rows[:3], np.array([0, 1, 2]))
    np.testing.assert_allclose(alone, rows[:3].mean(0, keepdims=True), atol=1e-6)
    rng = np.random.default_rng(0)
    found, number = rng.normal(size=(100, 3)).astype(np.float32), rng.integers(0, 30, 100)
    means = means_of_several(found, number)
    assert 1 < len(means) <= 20


def test_points_are_repeated_where_there_are_too_few() -> None:
    members = Images(np.random.default_rng(1).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8), np.zeros(10, np.int64))
    members.pixels[0] = 255
    found = barycentres(network("convnet"), members, {0: 2}, 0, "cpu")[0]
    assert found.shape[0] == 2
    known = features(network("convnet"), members)
    assert np.abs(known[:, None] - found).max(axis=2).min() > 1e-3  # no point is a single member


def test_barycentres_of_nearly_single_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class 0 has 6.*Set images_per_class to 1 or less"):
        made(SMALL.model_copy(update={"features_weight": 1.0}), images(24), tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"average": 0.8},
        {"crop": 0.3},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in (
                {"more_teachers": ("convnet", "convnet")},
                {"crop": 0.3, "crop_curriculum": False},
                {"competition": 10.0},
                {"features_weight": 10.0, "images_per_class": 1},
                {"statistics": "mix", "features_weight": 10.0, "images_per_class": 1},
            )
        ),
    ],
    ids=lambda changes: " ".join(changes),
)
def test_every_option_changes_what_is_made_and_is_repeatable(changes: dict[str, Any], tmp_path: Path) -> None:
    members = images(24)
    engine = SMALL.model_copy(update=changes)
    plain = SMALL.model_copy(
        update={name: changes[name] for name in changes if name in ("images_per_class", "statistics")}
    )
    first, again = made(engine, members, tmp_path / "a"), made(engine, members, tmp_path / "b", workers=2)
    assert np.array_equal(first.images.pixels, again.images.pixels)
    assert not np.array_equal(first.images.pixels, made(plain, members, tmp_path / "c").images.pixels)
    assert first.images.labels.tolist() == sorted(first.images.labels.tolist()) or "statistics" in changes


def test_teachers_of_one_network_differ() -> None:
    engine = SMALL.model_copy(update={"more_teachers": ("convnet", "resnet20")})
    first, second, third = engine._teachers(images(24), context())
    assert second.architecture == first.architecture
    assert third.architecture.name == "resnet20"
    assert not np.array_equal(logits(first, images(4)), logits(second, images(4)))


def test_mistakes_are_told_before_anything_is_done() -> None:
    members = images(24)
    with pytest.raises(InputError, match=r"no network 'nonsense'"):
        BNMatching(more_teachers=("nonsense",)).shards(members)
    assert BNMatching.model_validate({"more_teachers": "convnet"}).more_teachers == ("convnet",)
    with pytest.raises(InputError, match="needs two images"):
        BNMatching(competition=1.0, images_per_class=1).shards(members.take(np.flatnonzero(members.labels == 0)))
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        BNMatching(crop=2.0)


def test_teachers_of_one_run_are_not_those_of_the_next() -> None:
    engine = SMALL.model_copy(update={"more_teachers": ("convnet",)})
    second = engine._teachers(images(24), context(seed=0))[1]
    next_first = engine._teachers(images(24), context(seed=1))[0]
    assert not np.array_equal(logits(second, images(4)), logits(next_first, images(4)))


def test_views_are_published_with_their_soft_labels(tmp_path: Path) -> None:
    members = images(24)
    engine = SMALL.model_copy(update={"soft_labels": True, "views": 5, "flip": True})
    release = made(engine, members, tmp_path)
    assert release.views is not None
    assert release.soft_labels is not None
    assert release.views.shape == (5, 8)
    assert release.soft_labels.shape == (8, 5, 4)
    plain = made(engine.model_copy(update={"views": 1}), members, tmp_path)
    assert plain.views is None
    assert plain.soft_labels is not None
    assert np.array_equal(plain.images.pixels, release.images.pixels)
    np.testing.assert_allclose(release.soft_labels[:, 0], plain.soft_labels, atol=1e-3)
    with pytest.raises(ValidationError, match="set soft_labels too"):
        BNMatching(views=5)


def test_classes_without_members_have_columns_in_the_soft_labels_of_views(tmp_path: Path) -> None:
    engine = SMALL.model_copy(update={"soft_labels": True, "views": 3})
    release = made(engine, images(24), tmp_path, classes=6)
    assert release.soft_labels is not None
    assert release.soft_labels.shape == (8, 3, 6)
    assert not release.soft_labels[..., 4:].any()


def test_soft_labels_that_nobody_could_hold_are_refused() -> None:
    engine = SMALL.model_copy(update={"soft_labels": True, "views": 4096, "images_per_class": 1_000_000})
    with pytest.raises(InputError, match=r"take 244 GiB of memory, .*Choose 134 views or fewer"):
        engine.shards(images(24))
    huge = engine.model_copy(update={"images_per_class": 2**30})
    with pytest.raises(InputError, match="Choose fewer images, or leave soft_labels out"):
        huge.shards(images(24))
