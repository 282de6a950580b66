"""Pairs for the evidence edition: the surest members, what each rests on, and a few at random."""

from __future__ import annotations

import numpy as np
from audit_examples import random_images

from privaudit.images import Images
from privaudit.pairs import DRAWN, WORST, choose

MEMBERS, CONTROLS, RELEASED = (random_images(count, seed) for count, seed in ((40, 1), (30, 2), (25, 3)))
SCORES = np.arange(40.0), np.full(30, 35.5)


def chosen(nearest: np.ndarray | None = None, released: Images = RELEASED) -> dict[str, np.ndarray]:
    return dict(choose(released, MEMBERS, CONTROLS, SCORES, nearest, np.random.default_rng(0)))


def test_the_surest_first_then_others_at_random() -> None:
    found = chosen()
    assert found["member row"][:WORST].tolist() == list(range(39, 27, -1))
    assert found["drawn"].tolist() == [False] * WORST + [True] * DRAWN
    assert len({*found["member row"].tolist()}) == WORST + DRAWN
    assert (found["member"] == MEMBERS.pixels[found["member row"]]).all()


def test_ranks_by_hand() -> None:
    """Members 36 to 39 beat all controls; member 35 comes behind the thirty of them."""
    assert chosen()["rank"][:5].tolist() == [1, 2, 3, 4, 35]


def test_the_attack_tells_the_released_image_or_the_nearest_in_pixels_is_taken() -> None:
    told = np.full(40, -1)
    told[39] = 7
    copies = Images(np.concatenate([RELEASED.pixels, MEMBERS.pixels[37:39]]), np.zeros(27, np.int64))
    found = chosen(told, copies)
    assert found["released row"][:3].tolist() == [7, 26, 25]
    assert found["told"][:3].tolist() == [True, False, False]
    assert (found["released"] == copies.pixels[found["released row"]]).all()


def test_the_control_is_the_nearest_to_the_released_image() -> None:
    found = chosen()
    for picture, control in zip(found["released"], found["control"], strict=True):
        distance = ((CONTROLS.pixels.astype(int) - picture.astype(int)) ** 2).sum(axis=(1, 2, 3))
        assert (control == CONTROLS.pixels[distance.argmin()]).all()


def test_fewer_members_than_are_shown() -> None:
    few = choose(
        RELEASED,
        MEMBERS.take(slice(0, 3)),
        CONTROLS,
        (np.array([np.nan, 1.0, 2.0]), SCORES[1]),
        None,
        np.random.default_rng(0),
    )
    assert few["member row"].tolist() == [2, 1, 0]
    assert not few["drawn"].any()
    assert few["rank"].tolist() == [31, 32, 33]
