"""Pools: who is scored against whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from audit_examples import dataset, digits, random_images
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.errors import InputError
from privaudit.images import Dataset, Images, concatenate
from privaudit.pools import Pools, make_pools


def pools(members: Dataset, controls: Dataset, most: int = 10_000, seed: int = 0, **parts: Any) -> Pools:
    given_ = {"fresh": None, "reference": None} | parts
    return make_pools(members, controls, given_["fresh"], given_["reference"], max_suspects=most, seed=seed)


def persons(prefix: str, count: int, images_each: int, seed: int) -> Dataset:
    groups = np.repeat([f"{prefix}{number}" for number in range(count)], images_each)
    return dataset(random_images(count * images_each, seed), groups)


def test_controls_are_shared_out_once_by_seed() -> None:
    members, controls = dataset(random_images(50, 1)), dataset(random_images(100, 2))
    first, second, other = pools(members, controls), pools(members, controls), pools(members, controls, seed=1)
    assert [len(part) for part in (first.controls, first.fresh, first.reference)] == [60, 20, 20]
    names = [set(part.names) for part in (first.controls, first.fresh, first.reference)]
    assert len(set().union(*names)) == 100
    assert first.controls.names == second.controls.names != other.controls.names
    assert first.scored_members.tolist() == list(range(50))
    assert (first.count("members"), first.count("controls", "fresh"), first.unit) == (50, 80, "image")


def test_given_parts_are_left_whole() -> None:
    members, controls, fresh = (dataset(random_images(40, seed)) for seed in (1, 2, 3))
    found = pools(members, controls, fresh=fresh)
    assert found.fresh is fresh
    assert (len(found.controls), len(found.reference)) == (30, 10)
    own = dataset(random_images(40, 4))
    assert pools(members, controls, fresh=fresh, reference=own).controls is controls


def test_reference_images_that_are_nearly_a_suspect_are_dropped() -> None:
    members, controls, fresh, own = (random_images(40, seed) for seed in (1, 2, 3, 4))
    reference = concatenate([own, members.take(slice(0, 2)), controls.take(slice(0, 3))])
    found = pools(dataset(members), dataset(controls), fresh=dataset(fresh), reference=dataset(reference))
    assert found.reference.images.digest == own.digest
    assert len(found.scored_members) == len(found.scored_controls) == 40
    with pytest.raises(InputError, match="nearly the same as members or controls"):
        pools(dataset(members), dataset(controls), fresh=dataset(fresh), reference=dataset(members))


def test_a_random_split_by_privaudit_is_not_searched_again() -> None:
    images = random_images(60, 1)
    doubled = dataset(concatenate([images, images.take(slice(0, 5))]))
    found = make_pools(doubled, doubled, doubled, doubled, max_suspects=10_000, seed=0, random_split=True)
    assert found.near_duplicate_thresholds == (None, None)
    assert len(found.scored_members) == 65


def test_too_few_controls_are_refused() -> None:
    with pytest.raises(InputError, match="too few to be shared out"):
        pools(dataset(random_images(10, 1)), dataset(random_images(3, 2)))


def test_straddling_images_are_left_out_on_both_sides_and_counted() -> None:
    base = random_images(200, 1)
    members = dataset(base.take(slice(0, 100)))
    shared = base.take(slice(0, 3))
    controls = dataset(concatenate([base.take(slice(100, 160)), shared]))
    fresh = dataset(concatenate([base.take(slice(160, 180)), base.take(slice(5, 6))]))
    reference = dataset(base.take(slice(180, 200)))
    found = pools(members, controls, fresh=fresh, reference=reference)
    assert found.straddling_members.tolist() == [0, 1, 2, 5]
    assert found.left_out_controls == 4
    assert not set(found.scored_members.tolist()) & {0, 1, 2, 5}
    assert found.scored_controls.tolist() == list(range(60))
    assert found.scored_fresh.tolist() == list(range(20))


def test_the_same_data_twice_leaves_nothing_to_score() -> None:
    data = dataset(random_images(60, 1))
    fresh, own = dataset(random_images(20, 2)), dataset(random_images(20, 3))
    found = pools(data, data, fresh=fresh, reference=own)
    assert found.count("members") == found.count("controls") == 0


def test_persons_are_counted_not_images() -> None:
    members, controls = persons("a", 30, 3, 1), persons("b", 60, 2, 2)
    found = pools(members, controls)
    assert found.unit == "person"
    assert found.count("members") == 30
    assert found.count("controls", "fresh") == 48
    people = [set(part.groups) for part in (found.controls, found.fresh, found.reference) if part.groups is not None]
    assert not people[0] & people[1]
    assert not people[1] & people[2]


def test_a_person_on_both_sides_is_left_out_with_all_images() -> None:
    members, own = persons("a", 20, 3, 1), persons("r", 10, 2, 4)
    mixed = np.array(["a7", "a7", *(f"b{number}" for number in range(38))])
    controls = dataset(random_images(40, 2), mixed)
    found = pools(members, controls, fresh=persons("f", 20, 1, 3), reference=own)
    assert found.straddling_members.tolist() == [21, 22, 23]
    assert found.left_out_controls == 2
    assert found.count("members") == 19


def test_unknown_persons_are_units_of_their_own() -> None:
    groups = np.array(["", "", "p", "p", ""] * 8)
    members = dataset(random_images(40, 1), groups)
    controls = dataset(random_images(60, 2), np.array([""] * 60))
    assert pools(members, controls).count("members") == 25
    assert len(pools(members, controls).straddling_members) == 0


@pytest.mark.parametrize("whose", ["members", "controls", "fresh"])
def test_persons_on_one_side_only_are_refused(whose: str) -> None:
    """The best of many images of one person outscores single images: either a made-up leak or a hidden one."""
    data = {name: persons(name, 20, 2, seed) for seed, name in enumerate(("members", "controls", "fresh"))}
    data[whose] = replace(data[whose], groups=None)
    with pytest.raises(InputError, match="give groups for both"):
        pools(data["members"], data["controls"], fresh=data["fresh"])


def test_reference_of_another_size_is_refused() -> None:
    small = dataset(random_images(20, 3, side=4))
    with pytest.raises(InputError, match="give one size"):
        pools(dataset(random_images(40, 1)), dataset(random_images(40, 2)), reference=small)
    with pytest.raises(InputError, match="one size"):
        pools(dataset(random_images(40, 1)), dataset(random_images(40, 2, side=4)))


@given(most=st.integers(1, 130), seed=st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_sample_is_stratified_and_bounded(most: int, seed: int) -> None:
    labels = np.array([0] * 90 + [1] * 30, dtype=np.int64)
    images = random_images(120, 1)
    members = dataset(Images(images.pixels, labels))
    found = pools(members, dataset(random_images(60, 2)), most, seed)
    rows = found.scored_members
    assert len(rows) == min(most, 120)
    assert len(set(rows.tolist())) == len(rows)
    assert (np.diff(rows) > 0).all()
    assert abs((labels[rows] == 0).sum() - 0.75 * len(rows)) <= 2
    assert len(found.scored_controls) == min(most, 36)


def test_sample_takes_whole_persons() -> None:
    found = pools(persons("a", 40, 3, 1), persons("b", 60, 2, 2), 31)
    groups = found.members.groups
    assert groups is not None
    kept = groups[found.scored_members]
    assert len(kept) <= 31
    assert set(np.unique(kept, return_counts=True)[1].tolist()) == {3}
    assert found.count("members") == 10


def test_real_digits_dealt_at_random_keep_nearly_all() -> None:
    data = digits()
    found = pools(data.members, data.controls, fresh=data.fresh, reference=data.reference)
    assert found.count("members") >= 0.8 * len(data.members)
