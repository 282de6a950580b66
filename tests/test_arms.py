"""Arms: as many images as the candidate, with its class counts, as far as the pool reaches."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privaudit.arms import class_counts, like
from privaudit.images import Images


def labelled(labels: list[int]) -> Images:
    return Images(np.zeros((len(labels), 2, 2, 1), np.uint8), np.array(labels, dtype=np.int64))


def test_class_counts() -> None:
    assert class_counts(labelled([2, 0, 2, 2])) == {0: 1, 2: 3}
    assert class_counts(labelled([])) == {}


@given(
    pool=st.lists(st.integers(0, 3), max_size=60),
    shape=st.dictionaries(st.integers(0, 4), st.integers(1, 30), max_size=5),
    seed=st.integers(0, 100),
)
def test_never_more_than_asked_for_and_never_twice(pool: list[int], shape: dict[int, int], seed: int) -> None:
    images = labelled(pool)
    rows = like(images, shape, np.random.default_rng(seed))
    assert len(set(rows.tolist())) == len(rows)
    counts, have, wanted = class_counts(images.take(rows)), class_counts(images), sum(shape.values())
    for label, count in shape.items():
        found = counts.get(label, 0)
        assert found <= count
        if wanted <= len(images):
            assert found == min(count, have.get(label, 0))
        elif have.get(label, 0):
            assert found >= min(have[label], max(1, int(count * len(images) / wanted)))
    assert set(counts) <= set(shape)
    assert rows.tolist() == like(images, shape, np.random.default_rng(seed)).tolist()


def test_smaller_pool_keeps_the_proportions() -> None:
    images = labelled([0] * 50 + [1] * 50)
    assert class_counts(images.take(like(images, {0: 900, 1: 300}, np.random.default_rng(0)))) == {0: 50, 1: 25}


def test_rows_are_shuffled() -> None:
    images = labelled([0] * 50 + [1] * 50)
    rows = like(images, {0: 50, 1: 50}, np.random.default_rng(0))
    assert sorted(rows.tolist()) == list(range(100))
    assert 10 < images.labels[rows][:50].sum() < 40
