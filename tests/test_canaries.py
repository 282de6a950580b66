"""Canaries: who is drawn, how they are changed, and fair coins."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import random_images
from canary_examples import CLASSES, KIND_NAMES, MEMBERS, RARE
from scipy import stats

from privaudit.canaries import KINDS, draw, fed
from privaudit.errors import InputError
from privaudit.images import Images, concatenate


def test_how_many() -> None:
    """A tenth, at least 20, at most 500; kinds in equal shares; each picture once."""
    assert len(draw(MEMBERS, KIND_NAMES, 0)) == 30
    assert len(draw(MEMBERS.take(slice(0, 100)), KIND_NAMES, 0)) == 20
    assert len(draw(random_images(5100, seed=1, side=4), KIND_NAMES, 0)) == 500
    drawn = draw(MEMBERS, KIND_NAMES, 0, 64)
    assert {kind: int(drawn.of_kind(kind).sum()) for kind in KINDS} == dict(zip(KINDS, (22, 21, 21), strict=True))
    assert len(set(drawn.rows.tolist())) == 64
    assert sorted(drawn.ties.tolist()) == list(range(64))


def test_coins_are_fair() -> None:
    """Over seeds: as many fall on either side as of fair coins, and each canary's is its own."""
    coins = np.stack([draw(MEMBERS, KIND_NAMES, seed, 40).inside for seed in range(150)])
    low, high = stats.binom.ppf([RARE, 1 - RARE], coins.size, 0.5)
    assert low <= coins.sum() <= high
    assert len(np.unique(coins, axis=0)) == len(coins)
    agree = np.sum(coins[:, ::2] == coins[:, 1::2])
    low, high = stats.binom.ppf([RARE, 1 - RARE], coins.size // 2, 0.5)
    assert low <= agree <= high
    # Halves of a fixed size would vary less than coins do.
    assert coins.sum(axis=1).std() == pytest.approx(np.sqrt(40) / 2, rel=0.25)


def test_the_order_of_the_members_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(MEMBERS))
    first, moved = draw(MEMBERS, KIND_NAMES, 3), draw(MEMBERS.take(order), KIND_NAMES, 3)
    np.testing.assert_array_equal(order[moved.rows], first.rows)
    assert moved.images.digest == first.images.digest
    for name in ("kinds", "inside", "ties"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(first, name))
    assert draw(MEMBERS, KIND_NAMES, 4).images.digest != first.images.digest


def test_wrong_labels_always_differ_and_are_uniform() -> None:
    drawn = draw(MEMBERS, ["mislabelled"], 0, 300)
    before = MEMBERS.labels[drawn.rows]
    assert np.all(drawn.images.labels != before)
    shift = (drawn.images.labels - before) % CLASSES
    assert stats.binomtest(int(np.sum(shift == 1)), 300, 0.5).pvalue > RARE
    np.testing.assert_array_equal(drawn.images.pixels, MEMBERS.pixels[drawn.rows])


def test_wrong_labels_are_those_of_classes_with_images() -> None:
    """Class 1 of three has no members: no canary is given its label."""
    labels = np.where(MEMBERS.labels == 1, 2, MEMBERS.labels)
    drawn = draw(Images(MEMBERS.pixels, labels), ["mislabelled"], 0, 100)
    assert set(drawn.images.labels.tolist()) == {0, 2}


def test_pictures_unlike_the_others() -> None:
    """Strips of a ramp keep together: every value is there once more, inverted, and neighbours within a strip stay."""
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    noise = random_images(30, seed=2, classes=2).pixels[:, :8, :8]
    members = Images(np.concatenate([ramp, noise]), np.arange(31, dtype=np.int64) % 2)
    drawn = draw(members, ["out-of-distribution"], 0, 31)
    changed = 255 - drawn.images.pixels[np.flatnonzero(drawn.rows == 0)[0], :, :, 0]
    assert sorted(changed.ravel().tolist()) == list(range(64))
    across, down = np.diff(changed.astype(int), axis=1), np.diff(changed.astype(int), axis=0)
    assert np.all(across[:, ::2] == 1)
    assert np.all(down[::2] == 8)
    np.testing.assert_array_equal(drawn.images.labels, members.labels[drawn.rows])
    assert not {image.tobytes() for image in drawn.images.pixels} & {image.tobytes() for image in members.pixels}


def test_plain_ones_are_unchanged() -> None:
    drawn = draw(MEMBERS, ["plain"], 0)
    assert drawn.images.digest == MEMBERS.take(drawn.rows).digest


def test_what_the_engine_is_fed() -> None:
    """All others in their places, canaries whose coin says so as changed, and no other canary in either form."""
    drawn = draw(MEMBERS, KIND_NAMES, 0, 60)
    feed = fed(MEMBERS, drawn)
    assert len(feed) == 300 - int(np.sum(~drawn.inside))
    others = np.setdiff1d(np.arange(300), drawn.rows)
    rows = np.sort(np.concatenate([others, drawn.rows[drawn.inside]]))
    places = np.searchsorted(rows, drawn.rows[drawn.inside])
    assert feed.take(places).digest == drawn.images.take(drawn.inside).digest
    assert feed.take(np.searchsorted(rows, others)).digest == MEMBERS.take(others).digest
    left_out = drawn.rows[~drawn.inside]
    assert not {MEMBERS.pixels[row].tobytes() for row in left_out} & {image.tobytes() for image in feed.pixels}


def test_pictures_that_occur_twice_are_not_drawn() -> None:
    members = concatenate([MEMBERS, MEMBERS.take(slice(0, 270))])
    assert set(draw(members, ["plain"], 0, 30).rows.tolist()) == set(range(270, 300))
    with pytest.raises(InputError, match="31 canaries need as many different pictures; the members have 30"):
        draw(members, ["plain"], 0, 31)


@pytest.mark.parametrize(
    ("count", "kinds", "members", "said"),
    [
        (19, KIND_NAMES, MEMBERS, "19 canaries are too few"),
        (301, KIND_NAMES, MEMBERS, "301 canaries need as many different pictures; the members have 300"),
        (None, KIND_NAMES, MEMBERS.take(slice(0, 12)), "20 canaries need .* have 12. Give more members.$"),
        (
            None,
            KIND_NAMES,
            Images(MEMBERS.pixels, np.zeros(300, np.int64)),
            r"with --kinds out-of-distribution,plain\.",
        ),
        (None, ["mislabeled"], MEMBERS, "Did you mean 'mislabelled'"),
        (None, ["plain", "plain"], MEMBERS, "each kind of canary once"),
        (None, [], MEMBERS, "each kind of canary once"),
    ],
)
def test_refused(count: int | None, kinds: list[str], members: Images, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw(members, kinds, 0, count)


def test_one_class_is_enough_without_wrong_labels() -> None:
    assert len(draw(Images(MEMBERS.pixels, np.zeros(300, np.int64)), KIND_NAMES[1:], 0)) == 30


def test_coins_hang_on_members_whom_no_attacker_holds() -> None:
    """Pictures that occur twice are not drawn: the canaries are the same here, and all that an attacker holds."""
    single = MEMBERS.take(slice(0, 40))
    first, second = (
        draw(concatenate([single, MEMBERS.take(np.array([row, row]))]), ["plain"], 0, 40) for row in (40, 41)
    )
    assert first.images.digest == second.images.digest
    assert not np.array_equal(first.inside, second.inside)
    assert not np.array_equal(first.ties, second.ties)


def test_other_attacks_throw_other_coins_and_their_order_does_not_matter() -> None:
    coins = [draw(MEMBERS, ["plain"], 0, 60, attacks).inside for attacks in (["a", "b"], ["b", "a"], ["a"])]
    np.testing.assert_array_equal(coins[0], coins[1])
    assert not np.array_equal(coins[0], coins[2])
