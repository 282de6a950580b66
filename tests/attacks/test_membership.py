"""Membership attacks: planted leaks are found, strangers are not; every attacker sees what he declares and no more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import engine_examples
import numpy as np
import pytest
from scipy import special

from privaudit import seeds
from privaudit.artifacts import lacking
from privaudit.attack import Attack, Context, Seen, Sight, trains
from privaudit.attacks.membership import Membership, PipelineShadows, SoftLabelMembership, TeacherMembership, pipeline
from privaudit.attacks.membership.label_only import views
from privaudit.attacks.membership.networks import attacker_recipe, class_count
from privaudit.attacks.membership.soft_labels import targets_of
from privaudit.attacks.membership.teacher import gradient_confidence
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Network, logits, train
from privaudit.plugins import make_attack
from privaudit.release import Release

MEMBERS = 150
ATTACKS: list[Attack] = [
    Membership(),
    TeacherMembership(),
    SoftLabelMembership(),
    PipelineShadows(engine="bn-matching"),
]


def small(images: Images) -> Images:
    """8 x 8: every second pixel."""
    return Images(np.ascontiguousarray(images.pixels[:, ::2, ::2]), images.labels)


def wrongly_labelled(images: Images, seed: int) -> Images:
    rng = np.random.default_rng(seed)
    return Images(images.pixels, (images.labels + rng.integers(1, 10, len(images))) % 10)


class World:
    """Digits: members and controls with wrong labels, which a network can only know by heart; the attacker's own and
    others with right ones.
    """

    def __init__(self) -> None:
        images = small(load("digits").images)
        order = np.random.default_rng(0).permutation(len(images))
        parts = np.split(order[:900], [MEMBERS, 2 * MEMBERS, 600])
        members, controls, self.strangers, self.reference = (images.take(rows) for rows in parts)
        self.members, self.controls = wrongly_labelled(members, 1), wrongly_labelled(controls, 2)
        self.pile = concatenate([self.members, self.controls])

    def scores(self, attack: Attack, release: Release, seed: int = 0) -> np.ndarray:
        seen = attack.expose(release, Context(seeds.generator(seed, "expose"), seed=seed, effort="quick"))
        own = Context(seeds.generator(seed, "attack"), seed=seed, effort="quick", reference=self.reference)
        found = attack.attack(Seen(seen.arrays), self.pile, own).scores
        assert found is not None
        assert found.dtype == np.float64
        assert np.isfinite(found).all()
        return found


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def teachers(world: World) -> dict[str, Network]:
    """One that knows the members by heart, and one that never saw them."""
    fed = {"members": world.members, "strangers": world.strangers}
    return {name: train(attacker_recipe(images, 700), images, 10, 5) for name, images in fed.items()}


def auc(scores: np.ndarray) -> float:
    members, controls = scores[:MEMBERS], scores[MEMBERS:]
    return float((members[:, None] > controls).mean() + (members[:, None] == controls).mean() / 2)


CHANCE = pytest.approx(0.5, abs=0.13)  # four standard errors


@pytest.mark.parametrize("score", ["student-t", pytest.param("label-only", marks=pytest.mark.slow)])
def test_members_in_the_release_are_found_and_strangers_are_not(world: World, score: Any) -> None:
    assert auc(world.scores(Membership(score=score, steps=400), Release(world.members))) > 0.85
    assert auc(world.scores(Membership(score=score, steps=200), Release(world.strangers))) == CHANCE


@pytest.mark.parametrize("signal", ["logits", "gradient"])
def test_a_teacher_of_the_members_is_found(world: World, teachers: dict[str, Network], signal: Any) -> None:
    attack = TeacherMembership(signal=signal, steps=100)
    found = {
        name: auc(world.scores(attack, Release(world.strangers, teacher=teacher))) for name, teacher in teachers.items()
    }
    assert found["members"] > 0.9
    assert found["strangers"] == CHANCE


def test_soft_labels_that_name_members_are_found(world: World) -> None:
    """The limit: released are the members' images with answers that know them by heart, under labels that are right."""
    truth = world.members
    soft = np.full((len(truth), 10), 0.02, np.float32)
    soft[np.arange(len(truth)), truth.labels] = 0.82
    plain = Images(truth.pixels, np.zeros(len(truth), np.int64))
    for against in ("class-means", "reference"):
        attack = SoftLabelMembership(against=against, steps=300)
        assert auc(world.scores(attack, Release(plain, soft_labels=soft))) > 0.85
    soft = np.full((len(world.strangers), 10), 0.1, np.float32)
    assert auc(world.scores(SoftLabelMembership(steps=100), Release(world.strangers, soft_labels=soft))) == CHANCE


def test_copies_are_not_pinned_on_soft_labels_that_tell_nothing(world: World) -> None:
    """Released are the members with their labels; the soft labels are those of the classes, with noise."""
    members = world.members
    answers = 4 * np.eye(10)[members.labels] + np.random.default_rng(4).normal(0, 0.3, (len(members), 10))
    release = Release(members, soft_labels=special.softmax(answers, axis=1).astype(np.float32))
    assert auc(world.scores(SoftLabelMembership(against="reference", steps=300), release)) > 0.85
    assert auc(world.scores(SoftLabelMembership(steps=300), release)) == CHANCE


def test_equal_seeds_give_equal_bits_and_places_do_not_matter(world: World) -> None:
    attack, release = Membership(steps=20), Release(world.strangers)
    first = world.scores(attack, release)
    np.testing.assert_array_equal(world.scores(attack, release), first)
    order = np.random.default_rng(3).permutation(len(first))
    other = World()
    other.pile = world.pile.take(order)
    np.testing.assert_allclose(other.scores(attack, release), first[order], rtol=1e-4, atol=1e-4)
    assert not np.array_equal(world.scores(attack, release, seed=1), first)


def test_a_release_that_lacks_classes_and_one_with_a_class_of_its_own(world: World) -> None:
    few = world.strangers.take(world.strangers.labels < 2)
    world.scores(Membership(steps=5), Release(few))
    odd = Images(few.pixels, few.labels + 12)
    world.scores(Membership(steps=5), Release(odd))
    assert class_count(few) == 2
    assert class_count(Images(few.pixels, np.zeros(len(few), np.int64))) == 2


@pytest.mark.parametrize(
    "attack", [*ATTACKS[:2], SoftLabelMembership(against="reference")], ids=lambda attack: attack.name
)
def test_an_attacker_needs_images_of_his_own(world: World, teachers: dict[str, Network], attack: Attack) -> None:
    soft = np.full((len(world.strangers), 10), 0.1, np.float32)
    release = Release(world.strangers, soft_labels=soft, teacher=teachers["strangers"])
    seen = attack.expose(release, Context(np.random.default_rng(0)))
    for reference in (None, world.reference.take(slice(0, 1))):
        with pytest.raises(InputError, match="--reference"):
            attack.attack(seen, world.pile, Context(np.random.default_rng(0), reference=reference))


@pytest.mark.parametrize(
    ("attack", "lacks"), [(TeacherMembership(), "teacher"), (SoftLabelMembership(), "soft labels")]
)
def test_what_was_not_published_is_not_attacked(world: World, attack: Attack, lacks: str) -> None:
    assert lacking(attack, Release(world.strangers)) is not None
    with pytest.raises(InputError, match=f"looks at .*{lacks}"):
        attack.expose(Release(world.strangers), Context(np.random.default_rng(0)))


def test_a_teacher_without_the_suspects_classes_is_refused(world: World) -> None:
    two = world.strangers.take(world.strangers.labels < 2)
    teacher = train(attacker_recipe(two, 3), two, 2, 0)
    with pytest.raises(InputError, match="tells 2 classes apart"):
        world.scores(TeacherMembership(), Release(two, teacher=teacher))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_all_of_them_train(attack: Attack) -> None:
    """So that they are not run on planted members, and support no pass."""
    assert trains(attack)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("membership", {"networks": 1}, "networks"),
        ("membership", {"score": "luck"}, "score"),
        ("teacher-membership", {"signal": "gradient", "score": "rmia"}, "rmia compares probabilities"),
        ("soft-label-membership", {"temperature": 0}, "temperature"),
        ("pipeline-shadows", {"runs": 5}, "runs"),
    ],
)
def test_settings_that_cannot_be(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_attack(name, settings)


def test_gradient_confidence_is_the_gradient_of_the_last_layer(world: World, teachers: dict[str, Network]) -> None:
    import torch
    from torch.nn import functional

    teacher, images = teachers["strangers"], world.controls.take(slice(0, 6))
    last = [module for module in teacher.modules() if isinstance(module, torch.nn.Linear)][-1]
    for place, found in enumerate(gradient_confidence(teacher, images, "cpu")):
        image = images.take(slice(place, place + 1))
        loss = functional.cross_entropy(teacher(next(image.batches(1))), torch.from_numpy(image.labels))
        (gradient,) = torch.autograd.grad(loss, last.weight)
        assert found == pytest.approx(-float(gradient.norm().log()), rel=1e-3, abs=1e-3)


def test_temperature_and_rows_without_soft_labels() -> None:
    """(.64, .36) to the power 1/2 is (.8, .6), over their sum; a row of NaN falls back to its label."""
    soft = np.array([[0.64, 0.36], [np.nan, np.nan]], np.float32)
    found = targets_of(soft, np.array([0, 2]), 2.0, 3)
    np.testing.assert_allclose(found, [[0.8 / 1.4, 0.6 / 1.4, 0.0], [0.0, 0.0, 1.0]], rtol=1e-6)


def test_class_means_are_of_logits_at_the_same_spread() -> None:
    """Logits (1, -1) and (3, -3) of one class, (-2, 2) of another: spread sqrt(28/6); means (2, -2), (-2, 2)."""
    logits = np.array([[1.0, -1.0], [3.0, -3.0], [-2.0, 2.0], [np.nan, np.nan]])
    soft = special.softmax(logits, axis=1).astype(np.float32)
    found = targets_of(soft, np.array([0, 0, 1, 1]), None, 2, class_means=True)
    means = special.softmax(np.array([[2.0, -2.0], [2.0, -2.0], [-2.0, 2.0]]) / math.sqrt(28 / 6), axis=1)
    np.testing.assert_allclose(found, [*means, [0.0, 1.0]], rtol=1e-4)


def test_without_a_temperature_the_published_one_does_not_matter() -> None:
    """Logits (2, 1, 0), less their mean 1, have a spread of sqrt(2/3): what is learned is their softmax over it."""
    logits = np.array([[2.0, 1.0, 0.0]])
    for temperature in (0.5, 1.0, 20.0):
        published = special.softmax(logits / temperature, axis=1).astype(np.float32)
        learned = targets_of(published, np.zeros(1, np.int64), None, 3)
        np.testing.assert_allclose(learned, special.softmax(logits * math.sqrt(1.5), axis=1), rtol=1e-4)


def test_published_zeros_and_even_rows_are_learned_too() -> None:
    """A zero counts as the smallest probability published, here .00005; rows without any difference stay even."""
    soft = np.array([[0.8, 0.19995, 0.00005, 0.0]], np.float32)
    found = targets_of(soft, np.zeros(1, np.int64), 1.0, 4)
    np.testing.assert_allclose(found, soft.clip(0.00005) / 1.00005, rtol=1e-5)
    even = np.full((2, 4), 0.25, np.float32)
    np.testing.assert_allclose(targets_of(even, np.zeros(2, np.int64), None, 4), even)


@pytest.mark.parametrize("published", [np.float16, np.float32, "4 digits", "one-hot"])
@pytest.mark.parametrize("temperature", [0.25, 1.0, 4.0, 20.0])
def test_rounded_soft_labels_rank_the_classes_as_published(published: Any, temperature: float) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 10))
    soft = special.softmax(logits / temperature, axis=1)
    if published == "one-hot":
        soft = np.eye(10)[soft.argmax(axis=1)]
    else:
        soft = soft.round(4) if published == "4 digits" else soft.astype(published)
    found = targets_of(soft.astype(np.float32), np.zeros(50, np.int64), None, 10)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    surest = soft.argmax(axis=1)
    assert (found[np.arange(50), surest] == found.max(axis=1)).all()
    assert np.median(found.max(axis=1) / np.median(found, axis=1)) > 2


def test_views_keep_the_image_first_and_move_it_as_they_say() -> None:
    pixels = np.zeros((1, 16, 16, 1), np.uint8)
    pixels[0, 3, 5] = 255
    found = [view.pixels[0, :, :, 0] for view in views(Images(pixels, np.zeros(1, np.int64)), np.random.default_rng(0))]
    places = [np.argwhere(view == 255).tolist() for view in found[:10]]
    assert places[:5] == [[[3, 5]], [[4, 5]], [[2, 5]], [[3, 6]], [[3, 4]]]
    assert places[5:9] == [[[5, 5]], [[1, 5]], [[3, 7]], [[3, 3]]]
    assert places[9] == [[3, 10]]
    assert len(found) == 13


def test_label_only_reads_labels_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits in other units, with the same winner, change nothing."""
    from privaudit.attacks.membership import label_only

    attack, release = Membership(score="label-only", steps=20), Release(world.strangers)
    first = world.scores(attack, release)
    monkeypatch.setattr(label_only, "logits", lambda *given: 3 * logits(*given) + 7)
    np.testing.assert_array_equal(world.scores(attack, release), first)


# Pipeline shadows.


def test_every_image_is_in_half_of_the_runs_and_every_run_has_half_of_each_class(world: World) -> None:
    inside = pipeline.memberships(world.pile, 6, np.random.default_rng(0))
    assert (inside.sum(axis=1) == 3).all()
    for label in range(10):
        rows = world.pile.labels == label
        assert (np.abs(inside[rows].sum(axis=0) - rows.sum() / 2) <= 0.5).all()
    order = np.random.default_rng(1).permutation(len(world.pile))
    moved = pipeline.memberships(world.pile.take(order), 6, np.random.default_rng(0))
    np.testing.assert_array_equal(moved, inside[order])


def test_pipeline_shadows_find_what_an_engine_copies(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that publishes what it is fed; the real one was fed the members."""
    fed: list[int] = []

    def copies(engine: str, settings: Any, feeds: list[Images], *rest: Any) -> list[Images]:
        fed.extend(len(feed) for feed in feeds)
        return feeds

    monkeypatch.setattr(pipeline, "remade", copies)
    attack = PipelineShadows(engine="bn-matching", runs=6, steps=150)
    assert auc(world.scores(attack, Release(world.members))) > 0.85
    assert all(abs(count - len(world.pile) / 2) <= 5 for count in fed)
    assert auc(world.scores(attack, Release(world.strangers))) == CHANCE


def test_an_installed_engine_is_run_again(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `synthesize` would: the parts in their order, with labels, other images for other members and seeds."""
    monkeypatch.syspath_prepend(engine_examples.install(tmp_path).partition(":")[0])
    feeds = [world.members, world.controls, world.members]
    made = pipeline.remade("toy", {"each": 2}, feeds, 0, "quick", "cpu")
    assert [images.labels.tolist() for images in made] == [np.repeat(np.arange(10), 2).tolist()] * 3
    assert len({images.digest for images in made}) == 3
    again = pipeline.remade("toy", {"each": 2}, feeds, 0, "quick", "cpu")
    assert [images.digest for images in again] == [images.digest for images in made]


def test_without_an_engine_it_is_not_run(world: World) -> None:
    attack = PipelineShadows()
    assert "setting engine" in str(lacking(attack, Release(world.strangers)))
    with pytest.raises(InputError, match="engine: NAME"):
        world.scores(attack, Release(world.strangers))
    with pytest.raises(InputError, match="no synthesizer 'nothing'"):
        world.scores(PipelineShadows(engine="nothing"), Release(world.strangers))
    assert Sight.RELEASE in attack.sees
