"""The store: results under the hash of everything that they depend on.

    <root>/blobs/ab/<hash>.npy     arrays under the hash of their content
    <root>/entries/ab/<key>.json   a finished task: its results, facts about it, and the tasks whose results it used
    <root>/unfinished/<key>        checkpoints of a task that is not finished; the task sees to it that they are whole

Everything is written to a temporary file and renamed, so that a killed run leaves whole entries or none; every array
is checked against its name when a process reads it first or its file was written again, and every entry against a hash
within it, so that a damaged one is computed again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
import time
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.errors import IncompleteError, InputError
from privaudit.machine import PARSING

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the errors that a full disk, or a used-up quota, raises."""

PARTIAL = ".partial-"
"""Beginning of the names of temporary files."""

_ABANDONED_SECONDS = 3600
_FORGOTTEN_SECONDS = 30 * 24 * 3600
_SETTLED_SECONDS = 2
"""Age from which on a file that is changed again shows another time."""

Arrays = Mapping[str, NDArray[Any]]

_DAMAGED = (OSError, ValueError, EOFError, TypeError, SyntaxError, OverflowError, MemoryError, tokenize.TokenError)
"""What numpy raises for a file that is not the array it was."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Hash of JSON-able facts, 32 hex digits."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def array_digest(array: NDArray[Any]) -> str:
    """Hash of an array's type, shape and bytes, 32 hex digits."""
    hasher = hashlib.blake2b(repr((array.dtype.str, array.shape)).encode(), digest_size=16)
    rows = max(1, 2**24 // max(1, array[:1].nbytes)) if array.ndim else 1
    for start in range(0, len(array) if array.ndim else 1, rows):
        part = array[start : start + rows] if array.ndim else array
        hasher.update(np.ascontiguousarray(part).tobytes())
    return hasher.hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path, replace: bool = True) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error.

    replace: whether it may take the place of a file that is there already; if not, that one stays.
    """
    partial = None
    try:
        handle, name = tempfile.mkstemp(prefix=PARTIAL, dir=path.parent)
        os.close(handle)
        partial = Path(name)
        yield partial
        if replace:
            os.replace(partial, path)
        else:
            _link(partial, path)
    except OSError as error:
        if error.errno in FULL:
            raise IncompleteError(
                "The disk is full. Everything computed so far is kept; free some space and start the same command "
                "again to go on."
            ) from error
        raise
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _link(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno in FULL:
            raise
        if not path.exists():  # a file system without links
            os.replace(partial, path)


@dataclass(frozen=True)
class Entry:
    """A finished task: the hashes of its arrays by name, and facts such as the seconds it took."""

    arrays: Mapping[str, str]
    facts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Hash of the results, 32 hex digits."""
        return key_of(self.arrays)


_Mark = tuple[int, int, int, int, int]

_checked: dict[Path, _Mark] = {}
"""Files that this process found whole, and what tells when they change: a large array is hashed once per process."""


def _mark(path: Path) -> _Mark | None:
    """What changes with a file; None for one that was written just now, for times are coarse."""
    status = path.stat()
    if time.time() - max(status.st_mtime, status.st_ctime) < _SETTLED_SECONDS:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Store:
    """Content-addressed arrays and finished tasks below one folder, readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        if root.exists() and not root.is_dir():
            raise InputError(f"'{root}' is a file; --store needs a folder. Choose another place with --store.")
        try:
            for folder in (root, root / "blobs", root / "entries"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in FULL:
                raise
            raise InputError(
                f"The store folder '{root}' cannot be made ({error.strerror}). Choose another one with --store."
            ) from error

    def sweep(self) -> None:
        """Remove what killed runs left: temporary files that nobody has touched for an hour, and unfinished work that
        nobody has gone on with for a month.
        """
        for pattern, seconds in ((f"**/{PARTIAL}*", _ABANDONED_SECONDS), ("unfinished/*", _FORGOTTEN_SECONDS)):
            for path in self.root.glob(pattern):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > seconds:
                        path.unlink()

    def _blob(self, digest: str) -> Path:
        return self.root / "blobs" / digest[:2] / f"{digest}.npy"

    def _entry(self, key: str) -> Path:
        return self.root / "entries" / key[:2] / f"{key}.json"

    def put_array(self, array: NDArray[Any]) -> str:
        """Keep an array; returns its hash. A damaged blob of that name is replaced."""
        digest = array_digest(array)
        path = self._blob(digest)
        if self.array(digest) is None:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            with atomic_file(path) as partial, partial.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        return digest

    def array(self, digest: str) -> NDArray[Any] | None:
        """The array of this hash as a read-only memory map; None where it is missing or damaged."""
        path = self._blob(digest)
        try:
            mark = _mark(path)
            with PARSING:
                array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except _DAMAGED:
            return None
        if mark is not None and _checked.get(path) == mark:
            return array
        if array_digest(array) != digest:
            return None
        if mark is not None:
            _checked[path] = mark
        return array

    def holds(self, digest: str) -> bool:
        """Whether the array of this hash is there, and whole."""
        return self.array(digest) is not None

    def unfinished(self, key: str) -> Path:
        """A file for the unfinished work of the task of this key."""
        folder = self.root / "unfinished"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / key

    def put(
        self, key: str, arrays: Arrays, facts: Mapping[str, Any], made_from: Mapping[str, str] | None = None
    ) -> None:
        """Keep the results of a task under its key. made_from: the entries that it used, digests by key.

        Where another run was first, its results stay: those of a task with secret noise are other ones each time, and
        what was made of the first must not meet the second.
        """
        if self.get(key) is not None:
            return
        record = {
            "arrays": {name: self.put_array(array) for name, array in arrays.items()},
            "facts": dict(facts),
            "made_from": dict(made_from or {}),
        }
        path = self._entry(key)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        damaged = path.exists()
        with atomic_file(path, replace=damaged) as partial:
            partial.write_text(json.dumps(record | {"check": key_of(record)}, sort_keys=True))

    def get(self, key: str) -> Entry | None:
        """The finished task of this key.

        None where it, one of its arrays or an entry that it was made from is missing or damaged, or the latter is
        another by now: what was made from one draw of secret noise never meets what is made from a second.
        """
        try:
            record = json.loads(self._entry(key).read_text())
            whole = record.pop("check") == key_of(record)
            entry = Entry(dict(record["arrays"]), dict(record["facts"]))
            sources = dict(record["made_from"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        if not whole or not all(self.holds(digest) for digest in entry.arrays.values()):
            return None
        for other, digest in sources.items():
            source = self.get(other)
            if source is None or source.digest != digest:
                return None
        return entry

    def load(self, arrays: Mapping[str, str]) -> dict[str, NDArray[Any]]:
        """Read arrays by their hashes. Raises IncompleteError for a missing or damaged one."""
        loaded = {}
        for name, digest in arrays.items():
            array = self.array(digest)
            if array is None:
                raise IncompleteError(
                    f"The store lost the array '{name}' while it was needed. Start the same command again: what is "
                    "missing is computed anew."
                )
            loaded[name] = array
        return loaded
