"""Files and values changed at random: only refusals in plain words come out, and soon, and without much memory.

One fuzzer for each group of loaders. PRIVAUDIT_FUZZ_SECONDS: how many seconds each goes on; without it, one round of
examples. How many rounds that were is printed (`pytest -s`).
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
from hostile_cases import GREY, MIB, Kind, encoded, json_of, npy_of, npz
from hostile_reading import LEFT, MEMORY, fault_of, read
from hostile_reading import SECONDS as SLOWEST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from privaudit.errors import PrivauditError

GIVEN = os.environ.get("PRIVAUDIT_FUZZ_SECONDS")
SECONDS = float(GIVEN or 0)

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


GROUPS: dict[str, tuple[str, ...]] = {
    "pictures": ("png", "grey png", "jpg", "progressive jpg", "tif", "gif", "bmp", "webp"),
    "arrays": ("npz", "npy"),
    "tables": ("csv", "groups"),
    "networks": ("safetensors", "teacher"),
    "records": ("release", "manifest"),
    "configuration": hostile_texts.KINDS,
}


def repeated(test: Callable[[], None]) -> None:
    """One round, and more of them as long as the given time lasts."""
    started, rounds = time.monotonic(), 1
    test()
    while time.monotonic() < started + SECONDS:
        test()
        rounds += 1
    print(f"{rounds} rounds in {time.monotonic() - started:.0f} seconds")


def memory_peak(start_anew: bool = False) -> int:
    """Most memory of this process since the peak was forgotten, in bytes; 0 where the system does not tell."""
    try:
        with Path("/proc/self/clear_refs").open("w") as forget:
            forget.write("5" if start_anew else "")
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def listed(folder: Path) -> set[tuple[Path, int, int]]:
    """All files, with what changes when they are written."""
    found = [path for path in folder.rglob("*") if LEFT not in path.parts]
    return {(path, path.stat().st_size, path.stat().st_mtime_ns) for path in found if path.is_file()}


def judge(kind: Kind, path: Path, folder: Path) -> None:
    """Read it; whatever else than a refusal comes out goes on, and fails the test. folder: all that lies in it stays
    as it is, but for the store of weights.
    """
    there = listed(folder)
    memory, started = memory_peak(start_anew=True), time.monotonic()
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
    assert memory_peak() - memory < MEMORY
    assert listed(folder) == there, "files came, went or were changed"


def fuzzed(formats: int) -> settings:
    """Of a fuzzer of so many formats."""
    return settings(
        max_examples=60 * formats, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
    )


HITS = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 3)), min_size=1, max_size=5)


def prepared(name: str, folder: Path) -> tuple[Path, Path]:
    """Where the file of this format is to lie in a new folder, with all that goes with it; and what is read."""
    kind, place, _ = FILES[name]
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if name in ("csv", "groups"):
        (path.parent / "a").mkdir()
        (path.parent / "a" / "0.png").write_bytes(encoded("png"))
    elif kind == "release":
        (path.parent / "images" / "00000").mkdir(parents=True)
        (path.parent / "images" / "00000" / "000000000.png").write_bytes(encoded("png"))
    path.touch()
    folders = {"data": folder / "data", "r": folder / "r"}
    return path, path if name == "csv" else folders.get(place.partition("/")[0], path)


@pytest.mark.parametrize("loader", GROUPS)
def test_changed_bytes(loader: str, tmp_path: Path) -> None:
    """hits: where bytes are put, which ones, and how many they replace."""
    names = GROUPS[loader]
    made = {name: (FILES[name][2](), *prepared(name, tmp_path / name)) for name in names}

    @fuzzed(len(names))
    @given(name=st.sampled_from(names), hits=HITS, cut=st.none() | st.floats(0, 1))
    def one(name: str, hits: list[tuple[float, bytes, int]], cut: float | None) -> None:
        whole, path, read_at = made[name]
        content = bytearray(whole)
        for at, junk, replaced in hits:
            start = int(at * len(content))
            content[start : start + replaced] = junk
        path.write_bytes(content if cut is None else content[: int(cut * len(content))])
        judge(FILES[name][0], read_at, tmp_path)

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


def test_changed_values(tmp_path: Path) -> None:
    """Keys and values over those of a good file, and one within a place chosen at random."""
    path = tmp_path / "x.yaml"
    path.touch()

    @fuzzed(len(hostile_texts.KINDS))
    @given(
        kind=st.sampled_from(hostile_texts.KINDS),
        changes=st.dictionaries(KEYS, VALUES, max_size=4),
        within=VALUES,
        choice=st.integers(0, 10**6),
    )
    def one(kind: Kind, changes: dict[Any, Any], within: Any, choice: int) -> None:
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
        judge(kind, path, tmp_path)

    repeated(one)


def test_the_judge_sees_memory_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def eats(kind: str, path: Path) -> None:
        np.ones(10 * MIB)

    def writes(kind: str, path: Path) -> None:
        (tmp_path / "stray").touch()

    def removes(kind: str, path: Path) -> None:
        path.unlink()

    monkeypatch.setattr(f"{__name__}.MEMORY", 64 * MIB)
    for fault in (writes, removes, *([eats] if memory_peak() else [])):
        path = tmp_path / "x"
        path.touch()
        monkeypatch.setattr(f"{__name__}.read", fault)
        with pytest.raises(AssertionError):
            judge("dataset", path, tmp_path)
