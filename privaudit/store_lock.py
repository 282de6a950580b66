"""Who works with a store: many runs at a time, or one that empties it, never both.

The lock is that of the operating system on `<store>/lock`: it ends with its process, however that ends. Where the
system or the file system knows no such locks (Windows, some network drives), nothing is held.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from privaudit.errors import InputError

LOCK = "lock"


@contextlib.contextmanager
def in_use(root: Path) -> Iterator[None]:
    """Let nobody empty the store while the block runs. Waits while it is being emptied."""
    handle = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, alone=False)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Let nobody use the store while the block runs. Raises InputError where a run uses it."""
    handle = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(handle, alone=True):
            raise InputError(
                f"The store '{root}' is in use by a run, so nothing was deleted. Wait until the run has ended, or stop "
                "it with Ctrl-C, and start this command again."
            )
        yield
    finally:
        os.close(handle)


def _lock(handle: int, alone: bool) -> bool:
    """Whether the lock is held, or locks are not known here; False where others hold it."""
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
    except BlockingIOError:
        return False
    except OSError:  # the file system knows no locks
        return True
    return True
