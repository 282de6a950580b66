"""Statistics matching: images behind published statistics are told from others, the better the fewer there are."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import digits

from privaudit.attack import Context, Seen, Sight
from privaudit.attacks.statistics_matching import StatisticsMatching, Whitening, gain
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Architecture, Network
from privaudit.learning.training import seeded
from privaudit.plugins import make_attack
from privaudit.release import Release
from privaudit.released_statistics import class_statistics
from privaudit.statistics.tally import win_shares

LAYERS = ("body.blocks.1", "body.blocks.5")


def network() -> Network:
    with seeded(0):
        return Network(Architecture(name="convnet", channels=1, classes=10, side=16)).eval()


def of_each_class(images: Images, count: int) -> Images:
    rows = [np.flatnonzero(images.labels == label)[:count] for label in range(10)]
    return images.take(np.concatenate(rows))


def scores(
    behind: Images, suspects: Images, layers: tuple[str, ...] = ("pixels",), teacher: Network | None = None
) -> np.ndarray:
    statistics = class_statistics(behind, 10, layers, teacher)
    attack, rng = StatisticsMatching(), np.random.default_rng(0)
    seen = attack.expose(Release(behind.take(slice(0, 1)), statistics=statistics, teacher=teacher), Context(rng))
    found = attack.attack(Seen(seen.arrays), suspects, Context(rng, reference=digits().reference.images))
    assert found.scores is not None
    return found.scores


def auc(count: int, layers: tuple[str, ...] = ("pixels",), teacher: Network | None = None) -> float:
    members = of_each_class(digits().members.images, count)
    others = of_each_class(digits().controls.images, 40)
    found = scores(members, concatenate([members, others]), layers, teacher)
    return float(win_shares(found[: len(members)], found[len(members) :]).mean())


def test_a_single_image_of_a_class_shows() -> None:
    assert auc(1) > 0.97
    assert auc(1, LAYERS, network()) > 0.97


def test_more_images_hide_each_other() -> None:
    found = [auc(count) for count in (1, 5, 30)]
    assert found[0] > found[1] > found[2] > 0.55


def test_statistics_of_strangers_point_at_nobody() -> None:
    members, others = of_each_class(digits().members.images, 20), of_each_class(digits().controls.images, 20)
    found = scores(of_each_class(digits().unseen.images, 20), concatenate([members, others]))
    clean = float(win_shares(found[:200], found[200:]).mean())
    assert 0.41 < clean < 0.59  # three standard errors of chance with 200 and 200


def test_the_gain_by_hand() -> None:
    """Of two images the mean is (a + b) / 2. With a = 3 and b = 1 the mean lies at 2."""
    rows = np.array([[3.0], [1.0], [-3.0]])
    # (2 n m x - x^2) / (n - 1) with n = 2 and m = 2: 8 x - x^2
    np.testing.assert_allclose(gain(np.array([2.0]), rows, 2), [24.0 - 9, 8.0 - 1, -24.0 - 9])
    # alone, the mean is the image itself: the nearer to it the better
    alone = gain(np.array([2.0]), np.array([[2.0], [1.9], [2.1]]), 1)
    assert alone[0] > alone[1]
    assert alone[0] > alone[2]


def test_the_gain_is_that_of_normal_laws() -> None:
    from scipy.stats import norm

    count, mean = 5, 0.7
    rows = np.array([-1.0, 0.3, 2.0])
    spread = np.sqrt(count - 1) / count
    direct = 2 * (norm.logpdf(mean, rows / count, spread) - norm.logpdf(mean, 0, spread))
    np.testing.assert_allclose(gain(np.array([mean]), rows[:, None], count), direct)


def test_whitening_makes_the_own_images_round() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (4000, 3)) @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 0.3]])
    rows -= rows.mean(0)
    found = Whitening(rows, 1e-6)(rows)
    np.testing.assert_allclose(found.T @ found / len(rows), np.eye(3), atol=1e-3)


def test_a_class_without_statistics_gets_no_opinion() -> None:
    behind = of_each_class(digits().members.images, 3)
    found = scores(behind.take(np.flatnonzero(behind.labels != 4)), behind)
    assert np.isnan(found[behind.labels == 4]).all()
    assert np.isfinite(found[behind.labels != 4]).all()


def test_what_it_sees_and_what_it_needs() -> None:
    attack = make_attack("statistics-matching", {})
    assert attack.sees == {Sight.STATISTICS}
    rng = np.random.default_rng(0)
    images = digits().unseen.images.take(slice(0, 9))
    with pytest.raises(InputError, match="this release has none"):
        attack.expose(Release(images), Context(rng))
    layers = class_statistics(images, 10, LAYERS, network())
    with pytest.raises(InputError, match="network that the statistics were measured with is not published"):
        attack.expose(Release(images, statistics=layers), Context(rng))
    seen = attack.expose(Release(images, statistics=class_statistics(images, 10, ("pixels",))), Context(rng))
    assert not any(np.array_equal(array, images.pixels) for array in seen.arrays.values())
    with pytest.raises(InputError, match="needs images of the attacker's own"):
        attack.attack(seen, images, Context(rng))
    for floor in (0, -1, 101):
        with pytest.raises(InputError, match="floor"):
            make_attack("statistics-matching", {"floor": floor})
