"""Accuracies, their ratio and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from simulated_students import students

from privaudit.errors import InputError
from privaudit.utility.intervals import accuracies
from privaudit.utility.record import Measured


def width(found: Measured | None) -> float:
    assert found is not None
    assert found.low <= found.estimate <= found.high
    return found.high - found.low


def test_estimates_by_hand() -> None:
    synthetic = np.array([[1, 1, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=bool)
    real = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], dtype=bool)
    found = accuracies(synthetic, real)
    assert found.synthetic.estimate == pytest.approx(3 / 10)
    assert found.real.estimate == pytest.approx(7 / 10)
    assert found.ratio is not None
    assert found.ratio.estimate == pytest.approx(3 / 7)
    assert {one.n for one in (found.synthetic, found.real, found.ratio)} == {5}
    assert "2 students" in found.real.method
    assert "log scale" in found.ratio.method


def test_with_equal_students_the_accuracy_has_the_interval_of_agresti_and_coull() -> None:
    from statsmodels.stats.proportion import proportion_confint

    right = np.zeros((3, 2000), dtype=bool)
    right[:, :700] = True
    found = accuracies(right, right).real
    low, high = proportion_confint(700, 2000, method="agresti_coull")
    assert (found.low, found.high) == pytest.approx((low, high), abs=2e-4)


def test_more_students_do_not_make_more_test_images() -> None:
    one = students(np.random.default_rng(0), 1, 500, (0.6, 0.9), 0.0)
    three, thirty = (accuracies(*(np.repeat(side, count, axis=0) for side in one)) for count in (3, 30))
    for name in ("synthetic", "real", "ratio"):
        assert width(getattr(three, name)) == pytest.approx(width(getattr(thirty, name)))


def test_more_test_images_do_not_make_more_students() -> None:
    rng = np.random.default_rng(0)
    small, large = (accuracies(*students(rng, 3, count, (0.6, 0.9), 0.05)) for count in (10_000, 100_000))
    assert width(large.synthetic) > 0.05
    assert width(small.synthetic) > 0.05


def test_both_sides_are_compared_on_the_same_images() -> None:
    """Students that err on the same images have nearly no noise in their ratio; shuffled, they have."""
    right = students(np.random.default_rng(1), 3, 1000, (0.7, 0.7), 0.0, shared=(0.98, 0.01))
    mixed = right[0][:, np.random.default_rng(2).permutation(1000)]
    assert width(accuracies(*right).ratio) < 0.6 * width(accuracies(mixed, right[1]).ratio)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_agreement_of_all_is_no_certainty(share: float) -> None:
    right = np.full((3, 300), share == 1)
    perfect = np.ones((3, 300), dtype=bool)
    found = accuracies(right, perfect)
    assert found.synthetic.estimate == share
    assert 0.005 < width(found.synthetic) < 0.05
    assert 0.005 < width(found.ratio) < 0.06


def test_without_a_right_answer_on_the_real_side_there_is_no_ratio() -> None:
    wrong = np.zeros((3, 50), dtype=bool)
    found = accuracies(~wrong, wrong)
    assert found.ratio is None
    assert found.real.estimate == 0 < found.real.high < 0.15


def test_images_of_one_person_count_once() -> None:
    """Every image four times, under its person: the interval is that of the images once."""
    rng = np.random.default_rng(0)
    once = students(rng, 3, 200, (0.6, 0.9), 0.0, shared=(0.5, 0.45))
    four = tuple(np.repeat(side, 4, axis=1) for side in once)
    persons = np.char.add("person ", np.repeat(np.arange(200), 4).astype(str))
    order = rng.permutation(800)
    found = accuracies(four[0][:, order], four[1][:, order], persons[order])
    plain, single = accuracies(*four), accuracies(*once)
    for name in ("synthetic", "real", "ratio"):
        assert width(getattr(found, name)) == pytest.approx(width(getattr(single, name)))
        assert width(getattr(found, name)) > 1.4 * width(getattr(plain, name))
    assert found.real.n == 800
    assert "200 persons" in found.real.method
    assert accuracies(*once, np.arange(200)).real.low == single.real.low


def test_unusable_answers_are_refused() -> None:
    right = np.ones((3, 10), dtype=bool)
    for first, second in ((right[:1], right), (right, right[:, :9]), (right[0], right)):
        with pytest.raises(InputError, match="at least two students"):
            accuracies(first, second)
    with pytest.raises(InputError, match="one unit per test image"):
        accuracies(right, right, np.arange(9))
    for units in (None, np.zeros(1)):
        with pytest.raises(InputError, match="at least two test images"):
            accuracies(right[:, :1], right[:, :1], units)
    with pytest.raises(InputError, match="found 1"):
        accuracies(right, right, np.zeros(10))
