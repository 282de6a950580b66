"""How students are trained, and on what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from utility_examples import digits, recipe

from privaudit.arms import class_counts
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.release import Release
from privaudit.utility import student_recipe
from privaudit.utility.recipes import MOST_EPOCHS, as_many_steps, in_words
from privaudit.utility.students import check_soft_labels, correct, plan


def blank(count: int, side: int = 16, height: int | None = None) -> Images:
    return Images(np.zeros((count, height or side, side, 1), dtype=np.uint8), np.zeros(count, dtype=np.int64))


@pytest.mark.parametrize(
    ("count", "epochs", "steps"),
    [(20, 300, 300), (450, 100, 1500), (1500, 32, 1504), (2000, 32, 2016), (10_000, 10, 3130), (200_000, 1, 6250)],
)
def test_default_recipes_take_enough_steps_and_not_too_many(count: int, epochs: int, steps: int) -> None:
    found = student_recipe(blank(count, side=1))
    assert found.epochs == epochs <= MOST_EPOCHS
    assert found.epochs * math.ceil(count / found.batch_size) == steps


def test_default_recipes_shift_by_an_eighth() -> None:
    assert [student_recipe(blank(2, side)).crop for side in (4, 16, 32, 224)] == [1, 2, 4, 28]
    assert student_recipe(blank(2, 32, height=64)).crop == 4
    assert not student_recipe(blank(2)).flip


def test_a_recipe_in_words() -> None:
    assert in_words(student_recipe(blank(450))) == (
        "convnet, adamw 0.003, weight decay 0.01, 100 epochs in batches of 32, shifts up to 2 px, not mirrored"
    )
    other = recipe(3).model_copy(update={"crop": 0, "flip": True, "ema": 0.99, "label_smoothing": 0.1})
    assert in_words(other).endswith("no shifts, mirrored, label smoothing 0.1, moving average 0.99")
    more = student_recipe(blank(450)).model_copy(update={"cutmix": True, "decay": 2.0})
    assert in_words(more).endswith("not mirrored, boxes of other images, a cosine 2 times as long")


def test_equal_steps_whatever_the_number_of_images() -> None:
    found = recipe(10)
    assert as_many_steps(found, 320, 320) == found
    assert as_many_steps(found, 320, 80).epochs == 33  # 3 steps each, for 100
    assert as_many_steps(found, 320, 3200).epochs == 1
    assert as_many_steps(found, 320, 32_000).epochs == 1


def test_members_are_drawn_like_the_release_and_by_seed() -> None:
    members, released = digits(0, 600), digits(600, 720)
    found = plan(Release(released), members, 10, recipe(2), 3, seed=5)
    assert found.n_real == 120
    assert len(found.trainings) == 7
    for synthetic, real in zip(found.synthetic, found.real, strict=True):
        assert synthetic.images is released
        assert class_counts(real.images) == class_counts(released)
        assert set(real.images.image_digests()) <= set(members.image_digests())
        assert real.seed == synthetic.seed
        assert real.recipe == synthetic.recipe
    assert len({real.images.digest for real in found.real}) == 3
    assert len({real.seed for real in found.real}) == 3
    assert found.witness.images is members
    again, other = (plan(Release(released), members, 10, recipe(2), 3, seed=seed) for seed in (5, 6))
    assert [one.images.digest for one in again.trainings] == [one.images.digest for one in found.trainings]
    assert [one.seed for one in again.trainings] == [one.seed for one in found.trainings]
    assert not {one.seed for one in other.trainings} & {one.seed for one in found.trainings}


def test_too_few_members_are_all_used_in_as_many_steps() -> None:
    members, released = digits(0, 100), digits(100, 1000)
    found = plan(Release(released), members, 10, recipe(2), 3, seed=0)
    assert 80 <= found.n_real <= 100
    steps = {one.recipe.epochs * math.ceil(len(one.images) / one.recipe.batch_size) for one in found.trainings}
    assert steps <= {56, 57, 58, 59, 60}


def test_members_without_the_classes_of_the_release_are_refused() -> None:
    members = blank(10)
    released = Images(members.pixels, np.ones(10, dtype=np.int64))
    with pytest.raises(InputError, match="at least two members of the release's classes; found 0"):
        plan(Release(released), members, 2, recipe(1), 3, seed=0)


def test_soft_labels_must_be_probabilities() -> None:
    images = blank(4)
    good = np.full((4, 5), 0.2, dtype=np.float32)
    check_soft_labels(Release(images), 5)
    check_soft_labels(Release(images, soft_labels=good), 5)
    with pytest.raises(InputError, match=r"must be \[4, 6\]; found \[4, 5\]"):
        check_soft_labels(Release(images, soft_labels=good), 6)
    for bad in (good * 2, good - 0.3, np.full((4, 5), np.nan, dtype=np.float32)):
        with pytest.raises(InputError, match="must be probabilities"):
            check_soft_labels(Release(images, soft_labels=bad), 5)


def test_answers_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit.learning import accuracy, train
    from privaudit.utility import students

    images = digits(0, 100)
    network = train(recipe(2), images, 10, 0)
    whole = correct(network, images, "cpu")
    assert whole.mean() == pytest.approx(accuracy(network, images))
    monkeypatch.setattr(students, "_BLOCK_BYTES", 16 * 16 * 7)
    np.testing.assert_array_equal(correct(network, images, "cpu"), whole)
