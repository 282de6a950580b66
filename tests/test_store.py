"""The store: what is read is what was written, or nothing."""

from __future__ import annotations

import errno
import gc
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from privaudit import store as store_module
from privaudit.errors import IncompleteError, InputError
from privaudit.store import Store, array_digest, atomic_file, key_of

ARRAY = np.arange(60, dtype=np.int64).reshape(5, 12)


def blob(store: Store, digest: str) -> Path:
    return store.root / "blobs" / digest[:2] / f"{digest}.npy"


@given(
    array=arrays.arrays(
        st.sampled_from([np.uint8, np.int64, np.float64, np.bool_]), arrays.array_shapes(min_dims=0, min_side=0)
    )
)
@settings(max_examples=50, deadline=None)
def test_round_trip(array: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    store = Store(tmp_path_factory.mktemp("store"))
    found = store.array(store.put_array(array))
    assert found is not None
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)
    assert not found.flags.writeable


def test_digest_sees_type_shape_and_content_but_not_layout() -> None:
    assert array_digest(ARRAY) == array_digest(np.asfortranarray(ARRAY))
    others: list[NDArray[Any]] = [
        ARRAY.astype(np.int32),
        ARRAY.reshape(12, 5),
        ARRAY + 1,
        ARRAY[:4],
        np.zeros((0, 12), np.int64),
    ]
    assert len({array_digest(array) for array in (ARRAY, *others)}) == 6


def test_digest_of_large_arrays_does_not_depend_on_the_blocks_it_is_read_in() -> None:
    large = np.random.default_rng(0).integers(0, 256, (18, 1024, 1024), dtype=np.uint8)
    assert array_digest(large) == array_digest(np.asfortranarray(large))
    changed = large.copy()
    changed[-1, -1, -1] ^= 1
    assert array_digest(large) != array_digest(changed)


def test_keys_depend_on_every_fact_and_not_on_order() -> None:
    assert key_of({"a": 1, "b": [1, 2]}) == key_of({"b": [1, 2], "a": 1})
    different: list[dict[str, Any]] = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"b": 1}, {"a": [1]}, {"a": {}}]
    assert len({key_of(facts) for facts in different}) == 6


def test_any_flipped_bit_makes_an_array_missing_and_it_can_be_put_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.put_array(ARRAY)
    path = blob(store, digest)
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        found = store.array(digest)
        assert found is None or np.array_equal(found, ARRAY)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert store.array(digest) is None
    store.put_array(ARRAY)
    assert np.array_equal(store.load({"x": digest})["x"], ARRAY)


@pytest.mark.parametrize("length", [0, 5, 64, 128, 200])
def test_truncated_array_is_missing_and_replaced(tmp_path: Path, length: int) -> None:
    store = Store(tmp_path)
    store.put("k" * 32, {"x": ARRAY}, {})
    path = blob(store, array_digest(ARRAY))
    path.write_bytes(path.read_bytes()[:length])
    assert store.get("k" * 32) is None
    with pytest.raises(IncompleteError, match="Start the same command again"):
        store.load({"x": array_digest(ARRAY)})
    store.put("k" * 32, {"x": ARRAY}, {})
    assert store.get("k" * 32) is not None


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{}", '{"arrays": 1, "facts": {}}', '{"arrays": {"x": "00"}'])
def test_damaged_entry_is_no_entry(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    store.put("k" * 32, {"x": ARRAY}, {"seconds": 1.0})
    entry = store.get("k" * 32)
    assert entry is not None
    assert entry.facts == {"seconds": 1.0}
    (tmp_path / "entries" / "kk" / ("k" * 32 + ".json")).write_text(text)
    assert store.get("k" * 32) is None


def test_entry_that_names_a_lost_array_is_no_entry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("k" * 32, {"x": ARRAY, "y": ARRAY + 1}, {})
    blob(store, array_digest(ARRAY + 1)).unlink()
    assert store.get("k" * 32) is None
    assert store.get("l" * 32) is None


def test_a_block_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(path) as partial:
            partial.write_text("half of the n")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("facts.json", "old")]


def test_full_disk_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(IncompleteError, match="disk is full"), atomic_file(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_reads_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.put_array(ARRAY)
    with atomic_file(store.unfinished("k" * 32)) as partial:
        partial.write_text("half")
    store.put("k" * 32, {"x": ARRAY}, {})
    for path in (store.root, *store.root.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert json.loads((store.root / "entries" / "kk" / ("k" * 32 + ".json")).read_text())["arrays"] == {"x": digest}


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--store"):
        Store(tmp_path / "file" / "store")


def test_sweep_removes_only_abandoned_partial_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = store.put_array(ARRAY)
    folder = blob(store, digest).parent
    old, new = folder / ".partial-old", folder / ".partial-new"
    for partial in (old, new):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.sweep()
    assert not old.exists()
    assert new.exists()
    assert store.array(digest) is not None


def test_only_whole_arrays_are_held(tmp_path: Path) -> None:
    store = Store(tmp_path)
    digest = array_digest(ARRAY)
    assert not store.holds(digest)
    store.put_array(ARRAY)
    assert store.holds(digest)
    blob(store, digest).write_bytes(blob(store, digest).read_bytes()[:-1])
    assert not store.holds(digest)


def test_unfinished_work_has_one_file_per_key(tmp_path: Path) -> None:
    first = Store(tmp_path).unfinished("a" * 32)
    first.write_text("half")
    assert Store(tmp_path).unfinished("a" * 32).read_text() == "half"
    assert not Store(tmp_path).unfinished("b" * 32).exists()


def test_sweep_removes_only_forgotten_checkpoints(tmp_path: Path) -> None:
    store, now, day = Store(tmp_path), time.time(), 24 * 3600
    for name, age in (("new", 0), ("week", 7), ("forgotten", 31)):
        store.unfinished(name).write_text("half")
        os.utime(store.unfinished(name), (now - age * day, now - age * day))
    store.unfinished(".partial-x").write_text("half")
    os.utime(store.unfinished(".partial-x"), (now - 7200, now - 7200))
    store.put("k" * 32, {"x": ARRAY}, {})
    for path in tmp_path.rglob("*.[nj]*"):
        os.utime(path, (0, 0))
    store.sweep()
    assert sorted(path.name for path in (tmp_path / "unfinished").iterdir()) == ["new", "week"]
    assert store.get("k" * 32) is not None


def test_threads_read_arrays_at_once(tmp_path: Path) -> None:
    """Without the lock every second run of it fails on Python 3.11: "AST constructor recursion depth mismatch"."""
    store = Store(tmp_path)
    digest = store.put_array(ARRAY)
    interval, threshold = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: _read_in_cycles(store, digest), range(4)))
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*threshold)
    assert found == [1500] * 4


class _Cycle:
    """Collected in the midst of whatever runs; its end lets other threads in."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(20):
            pass


def _read_in_cycles(store: Store, digest: str) -> int:
    whole = 0
    for _ in range(1500):
        _Cycle()
        whole += store.array(digest) is not None
    return whole


def test_an_entry_with_any_byte_changed_is_none(tmp_path: Path) -> None:
    """A name or a number that changed would otherwise be believed."""
    store = Store(tmp_path)
    store.put("k" * 32, {"scores": ARRAY, "nearest": ARRAY + 1}, {"seconds": 1.5, "label": "x"})
    (path,) = (tmp_path / "entries").glob("*/*.json")
    content = path.read_bytes()
    assert store.get("k" * 32) is not None
    for place in range(len(content)):
        for bit in (1, 4):
            changed = bytearray(content)
            changed[place] ^= bit
            path.write_bytes(bytes(changed))
            found = store.get("k" * 32)
            assert found is None, (place, chr(content[place]), chr(changed[place]))
    path.write_bytes(content)
    assert store.get("k" * 32) is not None


def test_a_large_array_is_hashed_once_and_again_when_its_file_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was written just now is not trusted: it could change within the same tick of the clock."""
    store, array = Store(tmp_path), np.arange(12.0)
    digest = store.put_array(array)
    hashed: list[str] = []

    def counted(given: NDArray[Any]) -> str:
        hashed.append(real(given))
        return hashed[-1]

    real = store_module.array_digest
    monkeypatch.setattr(store_module, "array_digest", counted)
    for _ in range(3):
        assert store.array(digest) is not None
    assert len(hashed) == 3
    path = next((tmp_path / "blobs").rglob("*.npy"))
    monkeypatch.setattr(time, "time", lambda: path.stat().st_ctime + 60)
    for _ in range(3):
        assert Store(tmp_path).array(digest) is not None
    assert len(hashed) == 4
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.array(digest) is None
    content[-1] ^= 1
    path.write_bytes(content)
    assert store.array(digest) is not None


def test_what_was_made_from_another_result_stands_and_falls_with_it(tmp_path: Path) -> None:
    store, model, part = Store(tmp_path), "a" * 32, "b" * 32
    store.put(model, {"x": ARRAY}, {})
    first = store.get(model)
    assert first is not None
    store.put(part, {"y": ARRAY + 1}, {}, made_from={model: first.digest})
    assert store.get(part) is not None
    blob(store, array_digest(ARRAY)).unlink()
    assert store.get(part) is None
    store.put(model, {"x": ARRAY + 2}, {})
    assert store.get(part) is None, "made from a model that is no more"
    second = store.get(model)
    assert second is not None
    store.put(part, {"y": ARRAY + 3}, {}, made_from={model: second.digest})
    found = store.get(part)
    assert found is not None
    assert np.array_equal(store.load(found.arrays)["y"], ARRAY + 3)
