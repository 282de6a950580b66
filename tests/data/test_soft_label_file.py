"""Soft labels in a file of their own: probabilities of the classes, row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_examples import dataset, random_images
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.data.soft_label_file import check_probabilities, matched_with, read_soft_labels
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.release import Release

ROWS = np.array([[0.25, 0.75], [1, 0], [0.5, 0.5]])


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", ">f4"])
def test_floats_of_any_width_are_read(tmp_path: Path, kind: str) -> None:
    np.save(tmp_path / "s.npy", ROWS.astype(kind))
    found = read_soft_labels(tmp_path / "s.npy", 3)
    assert found.dtype == np.float32
    assert found.tolist() == ROWS.tolist()


@given(st.integers(2, 1000), st.sampled_from([np.float16, np.float32, np.float64]), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_rounded_softmax_is_always_taken_and_its_logits_never(classes: int, kind: type, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 3, (4, classes))
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    assert check_probabilities((powers / powers.sum(axis=1, keepdims=True)).astype(kind), "x").shape == (4, classes)
    with pytest.raises(InputError, match="may be logits"):
        check_probabilities(values.astype(kind) - 5, "x")


WRONG: dict[str, tuple[np.ndarray, str]] = {
    "logits": (
        np.log(ROWS + 0.01),
        "row 0 is no row of probabilities.* may be logits: publish and audit their softmax",
    ),
    "percent": (100 * ROWS, "it sums to 100"),
    "negative": (np.array([[0.25, 0.75], [1.5, -0.5], [0.5, 0.5]]), "row 1 .* its smallest value is -0.5"),
    "not a number": (np.where(ROWS == 1, np.nan, ROWS), "row 1 holds a value that is no finite number"),
    "infinite": (np.where(ROWS == 1, np.inf, ROWS), "row 1 holds a value that is no finite number"),
    "too few rows": (ROWS[:2], r"of shape \(2, 2\); needed are floats of shape \(3, classes\)"),
    "one column": (ROWS[:, 0], "needed are floats"),
    "numbers of classes": (np.array([0, 1, 0]), "needed are floats"),
    "whole numbers": (ROWS.astype(np.int64), "holds int64"),
    "objects": (np.array([{}, {}, {}], dtype=object), "Python objects, which are never read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_other_arrays_are_refused(tmp_path: Path, case: str) -> None:
    values, said = WRONG[case]
    np.save(tmp_path / "s.npy", values, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        read_soft_labels(tmp_path / "s.npy", 3)


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", ROWS)
    whole = (tmp_path / "s.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "long.npy").write_bytes(whole + b"x")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "link.npy").symlink_to(tmp_path / "s.npy")
    (tmp_path / "folder.npy").mkdir()
    np.savez(tmp_path / "s.npz", ROWS)
    header = b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{"
    (tmp_path / "header.npy").write_bytes(header)
    claims = b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 100000000000)}\n"
    (tmp_path / "declares.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(claims).to_bytes(2, "little") + claims)
    for name, said in (
        ("cut.npy", "truncated"),
        ("long.npy", "truncated or damaged"),
        ("empty.npy", "0 bytes"),
        ("link.npy", "is a link"),
        ("folder.npy", "a folder or a device"),
        ("s.npz", "is no .npy file"),
        ("header.npy", "header of 2147483648 bytes"),
        ("declares.npy", "GiB"),
        ("none.npy", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            read_soft_labels(tmp_path / name, 3)


def named(labels: list[int], classes: tuple[str, ...]) -> Dataset:
    return dataset(Images(random_images(len(labels), 0).pixels, np.array(labels)), classes)


def test_columns_follow_the_classes_by_name() -> None:
    members = named([0, 1, 2], ("ant", "bee", "cat"))
    two = named([1, 0], ("cat", "ant"))
    soft = np.array([[0.9, 0.1], [0.3, 0.7]], np.float32)
    matched, data = matched_with(members, Release(two.images), two, soft)
    assert matched.soft_labels is not None
    assert data.images.labels.tolist() == [0, 2]
    np.testing.assert_allclose(matched.soft_labels, [[0.1, 0, 0.9], [0.7, 0, 0.3]])
    all_ = np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2]], np.float32)
    matched, _ = matched_with(members, Release(two.images), two, all_)
    np.testing.assert_array_equal(matched.soft_labels, all_)


def test_wrong_columns_two_sets_and_logits_in_the_release_are_refused() -> None:
    members = named([0, 1, 2], ("ant", "bee", "cat"))
    two = named([1, 0], ("cat", "ant"))
    soft = np.full((2, 2), 0.5, np.float32)
    with pytest.raises(InputError, match=r"4 columns; needed are 2 \(the release's classes\) or 3"):
        matched_with(members, Release(two.images), two, np.full((2, 4), 0.25, np.float32))
    with pytest.raises(InputError, match="brings soft labels of its own"):
        matched_with(members, Release(two.images, soft_labels=soft), two, soft)
    with pytest.raises(InputError, match=r"the release's soft labels: row 0 .* logits"):
        matched_with(members, Release(two.images, soft_labels=4 * soft), two, None)
    assert matched_with(members, Release(two.images), two, None)[0].soft_labels is None
