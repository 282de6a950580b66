"""What a store holds; what else a folder may hold is never deleted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from privaudit.errors import InputError
from privaudit.store import PARTIAL, Store
from privaudit.stored import contents, empty

HASH = "0123456789abcdef" * 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = Store(tmp_path / "store")
    store.put(HASH, {"a": np.arange(3), "b": np.arange(4)}, {})
    store.unfinished(HASH).write_bytes(b"half")
    (store.root / "audits" / HASH).mkdir(parents=True)
    (store.root / "audits" / HASH / HASH).touch()
    (store.root / "speeds.json").write_text("{}")
    (store.root / f"{PARTIAL}abc").touch()
    return store.root


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() or path.is_symlink()}


def test_contents_and_emptying(root: Path) -> None:
    found = contents(root)
    assert (found.tasks, found.arrays, found.unfinished, found.audits, found.members) == (1, 2, 1, 1, 1)
    assert found.bytes == sum(path.stat().st_size for path in found.files) > 4
    empty(root, found)
    assert files(root) == {"speeds.json", f"audits/{HASH}/{HASH}"}
    assert contents(root).files == ()
    Store(root).put(HASH, {"a": np.arange(3)}, {})
    assert contents(root).tasks == 1


@pytest.mark.parametrize(
    "place", ["thesis.doc", "blobs/01/mine.npy", "entries/0123.json", f"audits/{HASH}/notes", "unfinished/x"]
)
def test_a_folder_with_anything_else_is_refused(root: Path, place: str) -> None:
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / place).write_text("precious")
    before = files(root)
    with pytest.raises(InputError, match="which no store of this program holds"):
        contents(root)
    assert files(root) == before


def test_links_and_folders_that_are_no_store(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / f"{HASH}.npy").write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(root)
    with pytest.raises(InputError, match="is a link"):
        contents(link)
    with pytest.raises(InputError, match="is no store"):
        contents(outside)
    with pytest.raises(InputError, match="There is no store"):
        contents(tmp_path / "none")
    (root / "blobs" / "ff").symlink_to(outside)
    with pytest.raises(InputError, match="which no store of this program holds"):
        contents(root)
