"""Plants: which members, how many, changed how."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import digits, random_images
from hypothesis import given
from hypothesis import strategies as st

from privaudit.images import Images
from privaudit.plants import KINDS, LARGEST_SHARE_OF_RELEASE, PLANTED_UNITS, Planting, plan, planted


@given(
    n=st.integers(0, 900), n_release=st.integers(0, 2000), seed=st.integers(0, 50), n_kinds=st.integers(1, len(KINDS))
)
def test_plan(n: int, n_release: int, seed: int, n_kinds: int) -> None:
    candidates = [7 * row for row in range(n)]
    kinds = tuple(KINDS)[:n_kinds]
    plantings = plan(candidates, n_release, np.random.default_rng(seed), kinds)
    if n < 5:
        assert plantings == []
        return
    assert [kind for planting in plantings for kind in planting.rows] == list(kinds)
    room = max(1, int(LARGEST_SHARE_OF_RELEASE * n_release))
    for planting in plantings:
        rows = np.concatenate(list(planting.rows.values()))
        assert len(set(rows.tolist())) == len(rows), "a member is planted twice in one run"
        assert set(rows.tolist()) <= set(candidates)
        assert len(rows) <= room
        assert {len(own) for own in planting.rows.values()} == {min(PLANTED_UNITS, n // 5, room)}


def test_runs_are_as_few_as_room_allows() -> None:
    rng = np.random.default_rng(0)
    assert [list(p.rows) for p in plan(range(3000), 10_000, rng)] == [list(KINDS)]
    assert [len(p.rows) for p in plan(range(3000), 1000, rng, tuple(KINDS)[:7])] == [2, 2, 2, 1]


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize(("side", "channels"), [(1, 1), (2, 3), (16, 1), (33, 3)])
def test_every_kind_keeps_size_and_type_and_is_deterministic(kind: str, side: int, channels: int) -> None:
    images, strangers = random_images(2, 1, side, channels), random_images(3, 2, side, channels)
    before = images.pixels.copy()
    made = [KINDS[kind](images.pixels[0], strangers, np.random.default_rng(5)) for _ in range(2)]
    assert made[0].dtype == np.uint8
    assert made[0].shape == images.pixels[0].shape
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(images.pixels, before)
    if side > 2 and kind != "exact":
        assert (made[0] != images.pixels[0]).any(), "the hash would find it"


def test_non_square_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, 12, 20, 3), dtype=np.uint8)
    images = Images(pixels, np.zeros(1, np.int64))
    for change in KINDS.values():
        assert change(pixels[0], images, np.random.default_rng(1)).shape == (12, 20, 3)


def test_plants_look_like_their_members() -> None:
    data = digits()
    rng = np.random.default_rng(3)
    rows = np.arange(40)
    for kind in KINDS:
        found = planted(Planting({kind: rows}), data.members.images, data.reference.images, rng)
        np.testing.assert_array_equal(found.labels, data.members.images.labels[rows])
        if kind in ("turned", "mosaic"):  # looked at below
            continue
        shown = found.pixels[:, :, ::-1] if kind == "mirrored" else found.pixels
        pairs = zip(shown.reshape(40, -1), data.members.images.pixels[rows].reshape(40, -1), strict=True)
        like = np.array([np.corrcoef(a, b)[0, 1] for a, b in pairs])
        assert np.median(like) > 0.6, kind


def one_plant(kind: str, side: int, channels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plant, its member, and the only stranger there is."""
    member, stranger = (random_images(1, seed_, side, channels) for seed_ in (1, 2))
    made = KINDS[kind](member.pixels[0], stranger, np.random.default_rng(seed))
    return made, member.pixels[0], stranger.pixels[0]


def test_an_exact_plant_is_the_member_and_its_own_memory() -> None:
    made, member, _ = one_plant("exact", 8, 3)
    np.testing.assert_array_equal(made, member)
    assert not np.shares_memory(made, member)


def test_a_mosaic_holds_half_of_each_in_whole_blocks() -> None:
    made, member, stranger = one_plant("mosaic", 16, 3)
    mine, theirs = ((made == other).all(axis=2).reshape(4, 4, 4, 4).all(axis=(1, 3)) for other in (member, stranger))
    assert mine.sum() == theirs.sum() == 8
    assert (mine ^ theirs).all()


def test_a_mosaic_takes_a_stranger_of_the_same_class_where_there_is_one() -> None:
    member = Images(np.full((2, 8, 8, 1), 10, np.uint8), np.array([3, 4]))
    strangers = Images(np.repeat(np.array([50, 90], np.uint8), 64).reshape(2, 8, 8, 1), np.array([3, 7]))
    for seed in range(5):
        found = planted(Planting({"mosaic": np.array([0, 1])}), member, strangers, np.random.default_rng(seed))
        assert set(np.unique(found.pixels[0])) == {10, 50}
        assert set(np.unique(found.pixels[1])) < {10, 50, 90}


def test_quarter_turns_are_those_of_numpy() -> None:
    turns = set()
    for seed in range(20):
        made, member, _ = one_plant("turned", 9, 3, seed)
        turns |= {k for k in range(4) if np.array_equal(made, np.rot90(member, k))}
    assert turns == {1, 2, 3}


@pytest.mark.parametrize("channels", [1, 3])
def test_lettering_covers_what_it_says(channels: int) -> None:
    made, member, _ = one_plant("watermarked", 32, channels)
    rows, columns = np.nonzero((made != member).any(axis=2))
    assert np.ptp(rows) < 6
    assert np.ptp(columns) < 16
    assert set(np.unique(made[(made != member).any(axis=2)])) <= {0, 255} | set(np.unique(member))
    made, member, _ = one_plant("overlaid", 32, channels)
    covered = (made != member).any(axis=2)
    assert 0.2 < covered.mean() < 0.7
    np.testing.assert_array_equal(made[covered], np.rint(0.65 * member[covered] + 0.35 * 255))


def test_recolouring_keeps_grey_pixels_grey_but_for_the_gains() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    made = KINDS["recoloured"](grey, Images(grey[None], np.zeros(1, np.int64)), np.random.default_rng(0))
    assert ((made >= 80) & (made <= 120)).all()
    assert (made == made[0, 0]).all()
    dark = KINDS["recoloured"](grey[:, :, :1], Images(grey[None], np.zeros(1, np.int64)), np.random.default_rng(0))
    assert 255 * (100 / 255) ** 1.8 - 1 <= dark[0, 0, 0] <= 255 * (100 / 255) ** 1.3 + 1


def test_kinds_follow_each_other() -> None:
    data = digits()
    planting = Planting({"mirrored": np.array([3, 4]), "noise": np.array([9])})
    found = planted(planting, data.members.images, data.reference.images, np.random.default_rng(0))
    np.testing.assert_array_equal(found.labels, data.members.images.labels[[3, 4, 9]])
    np.testing.assert_array_equal(found.pixels[0], data.members.images.pixels[3][:, ::-1])
