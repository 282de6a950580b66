"""Pairs for the evidence edition: the surest members, what each rests on, and a few at random."""

from __future__ import annotations

import numpy as np
from audit_examples import random_images

from privaudit.images import Images
from privaudit.pairs import DRAWN, WORST, choose, put_together
from privaudit.reporting.pair_gallery import pair_views

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


def test_what_was_put_together_stands_between_the_released_image_and_the_member() -> None:
    told = np.full(40, -1)
    told[39], told[38] = 7, 3
    found = chosen(told)
    pixels = np.full((2, *RELEASED.size), 9, np.uint8)
    pixels[1] = 200
    restored = put_together(pixels, np.array([3, 7]), found)
    assert (restored[0] == 200).all()  # of released image 7
    assert (restored[1] == 9).all()
    others = ~np.isin(found["released row"], [3, 7])
    assert others.sum() > 3
    assert (restored[others] == found["released"][others]).all()
    plain = pair_views(found)[0]
    shown = pair_views({**found, "assembled": restored})[0]
    assert len(plain.columns) == len(plain.rows[0]) == 5
    assert len(shown.columns) == len(shown.rows[0]) == 6
    assert shown.columns[:3] == ("Released", "Put together of its blocks", "Member")
    assert shown.rows[0][1].words.startswith("Put together of blocks, from ")
    assert shown.rows[0][3].data != plain.rows[0][2].data  # the difference is to what was put together
