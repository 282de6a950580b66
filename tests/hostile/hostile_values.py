"""Arrays that are whole, but hold what no dataset, no soft labels and no statistics can be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hostile_cases import GREY, PIXELS, Case, Content, file_of, npy_of, npz, zipped

TWO = np.stack([PIXELS, PIXELS])

DATASETS: dict[str, dict[str, Any]] = {
    "floats": {"images": TWO / np.float32(255)},
    "NaN": {"images": np.full((2, 8, 8), np.nan, np.float32)},
    "infinity": {"images": np.full((2, 8, 8), np.inf)},
    "16 bits": {"images": TWO.astype(np.uint16)},
    "signed bytes": {"images": TWO.astype(np.int8)},
    "switches": {"images": TWO > 9},
    "complex numbers": {"images": TWO.astype(np.complex64)},
    "texts": {"images": np.array(["a", "b"])},
    "one number": {"images": np.uint8(1)},
    "five dimensions": {"images": TWO[None]},
    "two channels": {"images": TWO[:, :, :, :2]},
    "four channels": {"images": np.zeros((2, 8, 8, 4), np.uint8)},
    "channels first": {"images": np.zeros((2, 3, 8, 8), np.uint8)},
    "no images": {"images": TWO[:0], "labels": np.zeros(0, int)},
    "images of no pixels": {"images": TWO[:, :0]},
    "images of no channels": {"images": TWO[:, :, :, :0]},
    "no array of labels": {"labels": None},
    "no array of images": {"images": None},
    "too few labels": {"labels": np.array([0])},
    "labels in two columns": {"labels": np.zeros((2, 1), int)},
    "labels of floats": {"labels": np.array([0.0, 1.0])},
    "labels of NaN": {"labels": np.array([0, np.nan])},
    "a negative label": {"labels": np.array([0, -1])},
    "a label of 2^63": {"labels": np.array([0, 2**63], np.uint64)},
    "a label of 2^62": {"labels": np.array([0, 2**62])},
    "labels of texts": {"labels": np.array(["0", "1"])},
    "no names": {"class_names": np.array([], str)},
    "too few names": {"class_names": np.array(["a"])},
    "names in two columns": {"class_names": np.array([["a", "b"]])},
    "one name twice": {"class_names": np.array(["a", "a"])},
    "an empty name": {"class_names": np.array(["a", ""])},
    "names of floats": {"class_names": np.array([0.5, 1.5])},
    "names of bytes that are no UTF-8": {"class_names": np.array([b"\xff\xfe", b"a"])},
    "names with escapes": {"class_names": np.array(["\x1b[31mred", "b"])},
    "names with line breaks": {"class_names": np.array(["a\nerror: all is well.", "b"])},
    "names that run backwards": {"class_names": np.array(["\u202egnp.exe", "b"])},
    "names with NUL": {"class_names": np.array(["a\0b", "c"])},
    "names with half a character": {"class_names": np.array(["\ud800", "b"])},
    "names of 900 letters": {"class_names": np.array(["a" * 900, "b"])},
    "names of 2,000 letters": {"class_names": np.array(["a" * 2000, "b"])},
    "groups for one image": {"groups": np.array(["p"])},
    "groups with escapes": {"groups": np.array(["p\x1b[2J", "q"])},
    "groups of floats": {"groups": np.array([0.5, 0.25])},
}

HALVES = np.full((3, 2), 0.5)
SOFT_LABELS: dict[str, Any] = {
    "NaN": np.where(HALVES == 0.5, np.nan, 0),
    "infinity": HALVES + np.inf,
    "logits": np.array([[4.0, -4.0]] * 3),
    "percent": HALVES * 100,
    "negative": np.array([[1.5, -0.5]] * 3),
    "sums that overflow": np.full((3, 2), np.finfo(np.float64).max),
    "whole numbers": np.eye(3, 2, dtype=int),
    "texts": np.array([["0.5", "0.5"]] * 3),
    "one column too deep": HALVES[:, None],
    "no classes": HALVES[:, :0],
    "no rows": HALVES[:0],
    "one number": np.float64(0.5),
    "complex numbers": HALVES + 0j,
}

GOOD: dict[str, Any] = {"images": np.array([3, 2]), "mean pixels": HALVES[:2], "variance pixels": HALVES[:2]}
STATISTICS: dict[str, dict[str, Any]] = {
    "nothing": dict.fromkeys(GOOD),
    "no variance": {"variance pixels": None},
    "no counts": {"images": None},
    "NaN": {"mean pixels": HALVES[:2] * np.nan},
    "infinity": {"variance pixels": HALVES[:2] + np.inf},
    "a negative variance": {"variance pixels": -HALVES[:2]},
    "negative counts": {"images": np.array([-1, 2])},
    "counts of 2^64 - 1": {"images": np.array([2**64 - 1, 1], np.uint64)},
    "counts of floats": {"images": np.array([0.5, 2])},
    "three classes": {"images": np.array([1, 2, 3])},
    "whole numbers": {"mean pixels": np.zeros((2, 2), int)},
    "other shapes": {"mean pixels": np.zeros((2, 3))},
    "five dimensions": {"mean pixels": np.zeros((2, 1, 1, 1, 1)), "variance pixels": np.zeros((2, 1, 1, 1, 1))},
    "a layer of escapes": {"mean \x1b[31mx": np.zeros(2), "variance \x1b[31mx": np.zeros(2)},
    "a further array of escapes": {"\x1b]0;x\x07": np.zeros(2)},
    "a further array with a long name": {"x" * 9_000: np.zeros(2)},
}


def _file(changes: dict[str, Any]) -> Content:
    chosen = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return lambda: zipped({f"{name}.npy": npy_of(value) for name, value in chosen.items()})


def statistics() -> bytes:
    """Statistics that are good."""
    return _file({})()


def _named(*names: str) -> Callable[[Any], bool]:
    return lambda dataset: bool(dataset.class_names == names)


MARKUP = ("<script>alert(1)</script>", "=cmd|' /C calc'!A0")
CONVERTED: dict[str, tuple[dict[str, Any], Callable[[Any], bool]]] = {
    "names of markup and formulas, as they are": ({"class_names": np.array(MARKUP)}, _named(*MARKUP)),
    "names of bytes in UTF-8": ({"class_names": np.array(["ä".encode(), b"b"])}, _named("ä", "b")),
    "names of numbers": ({"class_names": np.array([7, 8])}, _named("7", "8")),
    "grey images without channels": (
        {"images": np.stack([GREY[:, :, 0]] * 2)},
        lambda dataset: dataset.images.size == (10, 12, 1),
    ),
    "images in the other order of bytes": (
        {"labels": np.array([1, 0], ">i4")},
        lambda dataset: dataset.images.labels.tolist() == [1, 0],
    ),
}

CASES = (
    *(Case(f"npz of {name}", "dataset", file_of("x.npz", partial(npz, **c))) for name, c in DATASETS.items()),
    *(Case(f"of {name}", "soft_labels", file_of("s.npy", partial(npy_of, v))) for name, v in SOFT_LABELS.items()),
    *(Case(f"of {name}", "statistics", file_of("s.npz", _file(changes))) for name, changes in STATISTICS.items()),
    *(
        Case(f"npz of {name}", "dataset", file_of("x.npz", partial(npz, **c)), "converted", expected)
        for name, (c, expected) in CONVERTED.items()
    ),
)
