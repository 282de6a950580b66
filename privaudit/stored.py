"""What a store holds: files that this program wrote, and nothing else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from privaudit.errors import InputError
from privaudit.store import PARTIAL
from privaudit.store_lock import LOCK

_WORK = ("blobs", "entries", "unfinished")
_KEPT = re.compile(rf"speeds\.json|{LOCK}|audits/[0-9a-f]{{32}}/[0-9a-f]{{32}}")
_OURS = re.compile(
    r"(?P<arrays>blobs/[0-9a-f]{2}/[0-9a-f]{32}\.npy)|(?P<tasks>entries/[0-9a-f]{2}/[0-9a-f]{32}\.json)"
    rf"|(?P<unfinished>unfinished/[0-9a-f]{{32}}[\w.-]*)|(?P<partial>(\w+/)*{re.escape(PARTIAL)}\w+)"
)


@dataclass(frozen=True)
class Contents:
    """files: finished and unfinished work, by path. bytes: its size. arrays, tasks, unfinished: how many of each.

    audits: candidates that were audited, and members: sets of members that they were made from. Only hashes of these
    are kept; later manifests count them, so they are no part of `files`.
    """

    files: tuple[Path, ...]
    bytes: int
    arrays: int
    tasks: int
    unfinished: int
    audits: int
    members: int


def contents(root: Path) -> Contents:
    """What the store in this folder holds. Raises InputError where the folder is no store, or holds anything else."""
    if not root.exists():
        raise InputError(f"There is no store '{root}'. Give the folder of a store with --store.")
    if root.is_symlink():
        raise InputError(f"'{root}' is a link. Give the folder that it leads to with --store. Nothing was done.")
    if not all((root / name).is_dir() for name in ("blobs", "entries")):
        raise InputError(
            f"'{root}' is no store of this program: it has no folders 'blobs' and 'entries'. Nothing was done."
        )
    files, counts = list[Path](), {"arrays": 0, "tasks": 0, "unfinished": 0, "partial": 0}
    audits, members = 0, set[str]()
    for path in _walk(root):
        place = path.relative_to(root).as_posix()
        found = _OURS.fullmatch(place)
        if path.is_symlink() or not (found or _KEPT.fullmatch(place)):
            raise InputError(
                f"The folder '{root}' holds '{place}', which no store of this program holds. Move it away, or give the "
                "folder of a store with --store. Nothing was done."
            )
        if found and found.lastgroup is not None:
            files.append(path)
            counts[found.lastgroup] += 1
        elif place.startswith("audits/"):
            audits += 1
            members.add(place.split("/")[1])
    size = sum(path.stat().st_size for path in files)
    return Contents(tuple(files), size, counts["arrays"], counts["tasks"], counts["unfinished"], audits, len(members))


def empty(root: Path, found: Contents) -> None:
    """Delete the work that was found, and the folders that it leaves empty."""
    for path in found.files:
        path.unlink(missing_ok=True)
    for name in _WORK:
        for folder in sorted((root / name).glob("*")):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _walk(root: Path) -> list[Path]:
    """All files and links below the folder; links are not followed."""
    found = []
    for folder, below, names in os.walk(root, followlinks=False):
        found += [Path(folder, name) for name in names]
        found += [Path(folder, name) for name in below if Path(folder, name).is_symlink()]
    return sorted(found)
