"""Identical copies: proof, unless flat or also somewhere else."""

from __future__ import annotations

import numpy as np
from audit_examples import random_images
from hypothesis import given
from hypothesis import strategies as st

from privaudit.identical import identical_copies
from privaudit.images import Images, concatenate

MEMBERS, CONTROLS, UNSEEN = (random_images(20, seed) for seed in (1, 2, 3))


@given(copied=st.lists(st.integers(0, 19), max_size=10), seed=st.integers(0, 100))
def test_exactly_the_planted_pairs(copied: list[int], seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(UNSEEN) + len(copied))
    release = concatenate([UNSEEN, MEMBERS.take(np.array(copied, dtype=np.int64))]).take(order)
    found = identical_copies(MEMBERS, [CONTROLS], release)
    where = {int(source): place for place, source in enumerate(order)}
    assert set(found.pairs) == {(row, where[20 + number]) for number, row in enumerate(copied)}
    assert found.common == 0


def test_one_changed_level_is_no_identical_copy() -> None:
    changed = MEMBERS.pixels[:1].copy()
    changed[0, 0, 0, 0] ^= 1
    assert identical_copies(MEMBERS, [], Images(changed, MEMBERS.labels[:1])).pairs == ()
    assert identical_copies(MEMBERS, [], MEMBERS.take(slice(0, 1))).pairs == ((0, 0),)


def test_label_does_not_hide_a_copy_and_every_equal_member_is_named() -> None:
    twice = concatenate([MEMBERS, MEMBERS.take(slice(4, 5))])
    relabelled = Images(MEMBERS.pixels[4:5], MEMBERS.labels[4:5] + 7)
    assert identical_copies(twice, [CONTROLS], relabelled).pairs == ((4, 0), (20, 0))


def test_what_a_control_shows_too_is_common() -> None:
    controls = concatenate([CONTROLS, MEMBERS.take(slice(3, 4))])
    found = identical_copies(MEMBERS, [UNSEEN, controls], MEMBERS.take(np.array([3, 5])))
    assert found.pairs == ((5, 1),)
    assert found.common == 1


def test_flat_images_in_grey_and_colour_are_common() -> None:
    grey = Images(np.full((1, 8, 8, 1), 7, np.uint8), np.zeros(1, np.int64))
    red = Images(np.tile(np.array([200, 10, 10], np.uint8), (1, 8, 8, 1)), np.zeros(1, np.int64))
    for flat in (grey, red):
        assert identical_copies(flat, [], flat) == identical_copies(flat, [flat], flat)
        assert identical_copies(flat, [], flat).common == 1
    edge = red.pixels.copy()
    edge[:, :, :4] = 255 - edge[:, :, :4]
    textured = Images(edge, red.labels)
    assert identical_copies(textured, [], textured).pairs == ((0, 0),)


def test_other_sizes_are_not_compared() -> None:
    assert identical_copies(MEMBERS, [], random_images(3, 1, side=4)).pairs == ()
