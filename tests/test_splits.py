"""Random splits by unit."""

from __future__ import annotations

import numpy as np
import pytest
from audit_examples import dataset, random_images
from hypothesis import given
from hypothesis import strategies as st

from privaudit.errors import InputError
from privaudit.images import concatenate
from privaudit.splits import random_split, share_out, split_rows


@given(
    sizes=st.lists(st.integers(1, 6), min_size=1, max_size=40),
    wanted=st.lists(st.integers(0, 30), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_whole_units_in_disjoint_parts(sizes: list[int], wanted: list[int], seed: int) -> None:
    units = np.repeat(np.arange(len(sizes)), sizes)
    units = np.random.default_rng(seed + 1).permutation(units)
    if sum(wanted) > len(units):
        with pytest.raises(InputError, match="needs"):
            split_rows(units, wanted, np.random.default_rng(seed))
        return
    parts = split_rows(units, wanted, np.random.default_rng(seed))
    everything = np.concatenate(parts)
    assert len(set(everything.tolist())) == len(everything)
    homes = [set(units[part].tolist()) for part in parts]
    assert sum(len(home) for home in homes) == len(set().union(*homes))
    for unit in set().union(*homes):
        assert (units == unit).sum() == sum((units[part] == unit).sum() for part in parts)
    left = len(units)
    for part, count in zip(parts, wanted, strict=True):
        if count == 0:
            assert len(part) == 0
        # A part is full, or nothing is left; it is over by less than its last unit.
        left -= len(part)
        assert len(part) >= count or left == 0
        assert len(part) < count + max(sizes)


def test_single_images_are_dealt_exactly() -> None:
    parts = split_rows(np.arange(10), [3, 0, 7], np.random.default_rng(0))
    assert [len(part) for part in parts] == [3, 0, 7]
    assert [len(part) for part in split_rows(np.arange(10), [0, 4], np.random.default_rng(0))] == [0, 4]


def test_every_unit_is_equally_likely_in_every_part() -> None:
    units = np.repeat(np.arange(20), 2)
    counts = np.zeros(20)
    for seed in range(400):
        counts[np.unique(units[split_rows(units, [20, 20], np.random.default_rng(seed))[0]])] += 1
    assert counts.sum() == 400 * 10
    assert counts.min() > 150
    assert counts.max() < 250


def test_persons_and_near_duplicates_stay_together() -> None:
    base = random_images(40, 1)
    images = concatenate([base, base.take(slice(0, 20))])
    groups = np.array([f"p{row // 2}" if row < 40 else "" for row in range(60)])
    for seed in range(5):
        parts = random_split(dataset(images, groups), [30, 30], np.random.default_rng(seed))
        assert sum(len(part) for part in parts) == 60
        people = [{group for group in part.groups if group} for part in parts if part.groups is not None]
        assert not people[0] & people[1]
        pixels = [set(part.images.image_digests()) for part in parts]
        assert not pixels[0] & pixels[1]


def test_shares_leave_nothing_but_rounding() -> None:
    parts = share_out(dataset(random_images(101, 2)), [0.6, 0.2, 0.2], np.random.default_rng(0))
    assert [len(part) for part in parts] == [60, 20, 20]
