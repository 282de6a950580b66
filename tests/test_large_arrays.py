"""Arrays beyond memory: the same values as numpy's, in a file without a name, and a sentence where there is no room."""

from __future__ import annotations

import errno
import io
import os
import struct
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from privaudit import large_arrays
from privaudit.data.loading import load
from privaudit.data.npy import open_npz
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.store import Store


@pytest.fixture
def tiny_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """All but the smallest arrays lie in files of this folder, and are copied in small parts."""
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 100)
    monkeypatch.setattr(large_arrays, "_CHUNK", 64)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def is_mapped(array: NDArray[Any]) -> bool:
    base: object = array
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return False


def images(count: int, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    return Images(rng.integers(0, 256, (count, 3, 5, 3), dtype=np.uint8), rng.integers(0, 4, count))


def test_small_arrays_are_ordinary_ones() -> None:
    assert not is_mapped(large_arrays.empty((large_arrays.IN_MEMORY // 1024, 4), np.uint8))
    assert not is_mapped(images(10).take(np.arange(5)).pixels)


@pytest.mark.usefixtures("tiny_memory")
@given(st.lists(st.integers(0, 29), max_size=60), st.lists(st.integers(0, 40), min_size=1, max_size=4))
@settings(deadline=None, max_examples=40)
def test_rows_and_joints_are_those_of_numpy(rows: list[int], lengths: list[int]) -> None:
    some, chosen = images(30), np.array(rows, dtype=np.int64)
    np.testing.assert_array_equal(some.take(chosen).pixels, some.pixels[chosen])
    mask = np.isin(np.arange(30), chosen)
    np.testing.assert_array_equal(some.take(mask).pixels, some.pixels[mask])
    parts = [images(length, seed) for seed, length in enumerate(lengths)]
    together = concatenate(parts)
    np.testing.assert_array_equal(together.pixels, np.concatenate([part.pixels for part in parts]))
    np.testing.assert_array_equal(together.labels, np.concatenate([part.labels for part in parts]))


def test_a_large_array_lies_in_a_file_without_a_name(tiny_memory: Path) -> None:
    """And its place on the disk is free again when nobody holds it."""
    found = large_arrays.empty((50, 7), np.float32)
    found[:] = 1.5
    assert is_mapped(found)
    assert found.sum() == 525
    assert list(tiny_memory.iterdir()) == []


@pytest.mark.usefixtures("tiny_memory")
def test_datasets_are_the_same_from_file_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loaded, joined, taken from, and kept in the store."""
    some = images(40)
    np.savez(tmp_path / "one.npz", images=some.pixels, labels=some.labels)
    shards = tmp_path / "shards"
    shards.mkdir()
    for number, part in enumerate((slice(0, 11), slice(11, 40))):
        np.savez(shards / f"{number}.npz", images=some.pixels[part], labels=some.labels[part])
    mapped = [load(tmp_path / "one.npz"), load(shards)]
    assert all(is_mapped(data.images.pixels) for data in mapped)
    store = Store(tmp_path / "store")
    assert {store.put_array(data.images.pixels) for data in mapped} == {store.put_array(some.pixels)}
    monkeypatch.setattr(large_arrays, "IN_MEMORY", 2**30)
    assert {data.images.digest for data in mapped} == {load(shards).images.digest}


def test_too_little_room_is_told_before_anything_is_written(tiny_memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"do not fit in memory.*TMPDIR.*--size") as told:
        large_arrays.empty((2**20, 4), np.uint8)
    assert str(tiny_memory) in str(told.value)


def test_room_is_really_reserved(tiny_memory: Path) -> None:
    """A file of more than the disk holds is refused by the system itself."""
    with pytest.raises(InputError, match="no temporary file could be made"):
        large_arrays.empty((2**45,), np.uint8)
    assert list(tiny_memory.iterdir()) == []


@pytest.mark.usefixtures("tiny_memory")
@pytest.mark.parametrize("answer", [errno.EOPNOTSUPP, errno.EINVAL])
def test_where_blocks_cannot_be_reserved_the_free_space_is_asked_for(
    answer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise OSError(answer, "not here")

    monkeypatch.setattr(os, "posix_fallocate", unknown)
    assert large_arrays.empty((50, 7), np.float32).shape == (50, 7)
    with pytest.raises(InputError, match="No space left"):
        large_arrays.empty((2**45,), np.uint8)


@pytest.mark.usefixtures("tiny_memory")
def test_a_missing_temporary_folder_is_no_damaged_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = images(40)
    np.savez(tmp_path / "one.npz", images=some.pixels, labels=some.labels)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"nowhere.*TMPDIR"):
        load(tmp_path / "one.npz")


@pytest.mark.usefixtures("tiny_memory")
def test_images_in_the_order_of_fortran_and_images_without_pixels(tmp_path: Path) -> None:
    some = images(40)
    np.savez(tmp_path / "one.npz", images=np.asfortranarray(some.pixels), labels=some.labels)
    found = load(tmp_path / "one.npz").images
    np.testing.assert_array_equal(found.pixels, some.pixels)
    assert is_mapped(found.pixels)
    assert found.pixels.flags.c_contiguous
    nothing = np.zeros((3, 0, 5, 1), np.uint8)
    assert large_arrays.joined([nothing, nothing]).shape == (6, 0, 5, 1)


def test_a_zip_that_claims_more_than_its_file_holds_reserves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A central directory of some hundred bytes may say 30 GiB, both stored and unpacked."""
    path, declared = tmp_path / "bomb.npz", 30 * 2**30
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (declared,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", header.getvalue() + bytes(100))
        told, start = archive.getinfo("images.npy"), archive.start_dir
    size, name = declared + len(header.getvalue()), b"images.npy"
    further = struct.pack("<HHQQ", 1, 16, size, size)
    entry = struct.pack("<4s6H", b"PK\1\2", 45, 45, 0, 0, 0, 33) + struct.pack("<3L", told.CRC, 2**32 - 1, 2**32 - 1)
    entry += struct.pack("<5H2L", len(name), len(further), 0, 0, 0, 0, 0) + name + further
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), start, 0)
    path.write_bytes(path.read_bytes()[:start] + entry + end)
    asked: list[object] = []

    def noted(shape: tuple[int, ...], dtype: object) -> NDArray[Any]:
        asked.append(shape)
        return np.empty(1, np.uint8)

    monkeypatch.setattr(large_arrays, "empty", noted)
    with pytest.raises(InputError, match="zip bomb"), open_npz(path, path.name) as file:
        file.read("images")
    assert asked == []
