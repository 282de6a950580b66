"""Files and values changed at random: only refusals in plain words come out, and soon.

PRIVAUDIT_FUZZ_SECONDS: how many seconds each of the tests goes on; without it, one round of examples.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_networks
import hostile_records
import hostile_texts
import numpy as np
import pytest
import yaml
from hostile_cases import GREY, Kind, encoded, json_of, npy_of, npz
from hostile_reading import fault_of, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from privaudit.errors import PrivauditError

GIVEN = os.environ.get("PRIVAUDIT_FUZZ_SECONDS")
SECONDS = float(GIVEN or 0)
SLOWEST = 10.0

Place = tuple[Kind, str, Callable[[], bytes]]
FILES: dict[str, Place] = {
    "png": ("dataset", "data/a/0.png", lambda: encoded("png")),
    "grey png": ("dataset", "data/a/0.png", lambda: encoded("png", GREY)),
    "jpg": ("dataset", "data/a/0.jpg", lambda: encoded("jpeg")),
    "progressive jpg": ("dataset", "data/a/0.jpg", lambda: encoded("jpeg", progressive=True)),
    "tif": ("dataset", "data/a/0.tif", lambda: encoded("tiff", compression="tiff_lzw")),
    "gif": ("dataset", "data/a/0.gif", lambda: encoded("gif")),
    "bmp": ("dataset", "data/a/0.bmp", lambda: encoded("bmp")),
    "webp": ("dataset", "data/a/0.webp", lambda: encoded("webp", lossless=True)),
    "npz": ("dataset", "x.npz", lambda: npz(class_names=np.array(["a", "b"]), groups=np.array(["p", "q"]))),
    "npy": ("soft_labels", "s.npy", lambda: npy_of(np.full((3, 2), 0.5))),
    "csv": ("dataset", "data/x.csv", lambda: b'file,label,group\na/0.png,cat,"p"\n'),
    "groups": ("dataset", "data/groups.csv", lambda: b"file,group\na/0.png,p\n"),
    "safetensors": ("weights", "w/x.safetensors", lambda: save(hostile_networks.teacher())[:4_000]),
    "teacher": ("teacher", "x.safetensors", lambda: save(hostile_networks.teacher())),
    "release": ("release", "r/release.json", lambda: json_of({"class_names": ["a"], "images": 1, "views": []})),
    "manifest": ("manifest", "manifest.json", lambda: hostile_records.manifest()),
    **{kind: (kind, "x.yaml", hostile_texts.GOOD[kind].encode) for kind in hostile_texts.KINDS},
}


def repeated(test: Callable[[], None]) -> None:
    """One round, and more of them as long as the given time lasts."""
    started = time.monotonic()
    test()
    while time.monotonic() < started + SECONDS:
        test()


def judge(kind: Kind, path: Path) -> None:
    """Read it; whatever else than a refusal comes out goes on, and fails the test."""
    started = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read(kind, path)
    except PrivauditError as error:
        message = str(error)
    else:
        message = "It was taken."
    assert fault_of(message, path) == "", message
    assert time.monotonic() - started < SLOWEST


FUZZED = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
HITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 3)), min_size=1, max_size=5)


@pytest.mark.parametrize("name", FILES)
def test_changed_bytes(name: str, tmp_path: Path) -> None:
    """hits: where bytes are put, which ones, and how many they replace."""
    kind, place, make = FILES[name]
    whole, path = make(), tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if name in ("csv", "groups"):
        (path.parent / "a").mkdir()
        (path.parent / "a" / "0.png").write_bytes(encoded("png"))
    elif kind == "release":
        (path.parent / "images" / "00000").mkdir(parents=True)
        (path.parent / "images" / "00000" / "000000000.png").write_bytes(encoded("png"))
    folders = {"data": tmp_path / "data", "r": tmp_path / "r"}
    read_at = path if name == "csv" else folders.get(place.partition("/")[0], path)

    @FUZZED
    @given(hits=HITS, cut=st.none() | st.floats(0, 1))
    def one(hits: list[tuple[float, bytes, int]], cut: float | None) -> None:
        content = bytearray(whole)
        for at, junk, replaced in hits:
            start = int(at * len(content))
            content[start : start + replaced] = junk
        path.write_bytes(content if cut is None else content[: int(cut * len(content))])
        judge(kind, read_at)

    repeated(one)


WORDS = (
    *("data", "members", "controls", "source", "split", "candidates", "name", "release", "synthesizer", "settings"),
    *("attacks", "policy", "effort", "seed", "skip", "rules", "id", "metric", "side", "at_most", "at_least", "waiver"),
    *("until", "schema", "teacher", "claim", "seeds", "common", "baseline", "epsilon", "mechanism", "unknown", "1", ""),
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.text(max_size=8),
    st.sampled_from(("tpr_at_1pct_fpr", "upper", "fail", "2027-02-30", "../x", "\x1b[2J", "a\0b", "default", "digits")),
)
KEYS = st.sampled_from(WORDS) | st.text(max_size=4) | st.integers() | st.none()
VALUES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=12
)


@pytest.mark.parametrize("kind", hostile_texts.KINDS)
def test_changed_values(kind: Kind, tmp_path: Path) -> None:
    """Keys and values over those of a good file, and one within a place chosen at random."""
    path = tmp_path / "x.yaml"

    @FUZZED
    @given(changes=st.dictionaries(KEYS, VALUES, max_size=4), within=VALUES, choice=st.integers(0, 10**6))
    def one(changes: dict[Any, Any], within: Any, choice: int) -> None:
        values = yaml.safe_load(hostile_texts.GOOD[kind])
        place: Any = values
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = keys[choice % len(keys)]
            choice //= len(keys)
            if choice % 3 == 0 or not isinstance(place[key], dict | list):
                place[key] = within
                break
            place = place[key]
        path.write_text(yaml.safe_dump(values | changes), encoding="utf-8", errors="replace")
        judge(kind, path)

    repeated(one)
