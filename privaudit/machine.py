"""What this machine lets the program use: cores and memory, within the limits of its control group; memory in use."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PARSING = threading.Lock()
"""Held by whoever lets Python parse source, as numpy does with an array's header and traceback with its lines: the
parser of Python 3.11 raises SystemError now and then where two threads use it at once.
"""

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"),
    "VECLIB_MAXIMUM_THREADS": "1",
}
"""Environment variables that numerical libraries read when they are loaded: work is shared out among processes, and
sums of several threads differ in their last bits.
"""

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")
_OWN = ("RssAnon:", "RssShmem:")


@dataclass(frozen=True)
class Limits:
    """Limits of the control group. cores: processors' worth of time. memory: bytes. None: not limited."""

    cores: float | None
    memory: int | None


def limits(proc: Path = _PROC, groups: Path = _GROUPS) -> Limits:
    """The smallest limits that hold for this process, those of the groups around its own included.

    Versions 1 and 2 of Linux's control groups are read; elsewhere nothing is limited.
    """
    cores, memory = list[float](), list[int]()
    for controllers, group in _groups(proc):
        for folder in _upwards(groups, group, controllers, "cpu"):
            cores += _quota(folder)
        for folder in _upwards(groups, group, controllers, "memory"):
            memory += _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
    real = _real_memory()
    below = [size for size in memory if real is None or size < real]  # version 1 writes 'no limit' as a huge number
    return Limits(min(cores, default=None), min(below, default=None))


def cores() -> int:
    """How many cores this process may use: those it may run on, and no more than its control group pays for."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = limits().cores
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def memory() -> int | None:
    """Bytes of memory that this process may use; None: not known."""
    limit = limits().memory
    return _real_memory() if limit is None else limit


def memory_in_use(proc: Path = _PROC) -> int | None:
    """Bytes that this process and its children hold for themselves, files that they map not counted; None: not known.

    That is what a machine runs out of: the store's files in memory are dropped when space is needed.
    """
    mine = os.getpid()
    children = list(_children(proc, mine))
    sizes = [_held(proc / str(number) / "status") for number in (mine, *children)]
    return None if sizes[0] is None else sum(size for size in sizes if size is not None)


def _groups(proc: Path) -> Iterator[tuple[str, str]]:
    """Controllers (none named in version 2) and path of each group that this process is in."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        yield controllers, path


def _upwards(groups: Path, group: str, controllers: str, controller: str) -> Iterator[Path]:
    """Folders of a group and of those around it. Inside a container only the outermost may be seen."""
    if controllers and controller not in controllers.split(","):
        return
    root = groups
    if controllers:
        root = next((groups / name for name in (controllers, controller) if (groups / name).is_dir()), groups)
    below = Path(group.lstrip("/"))
    for place in (below, *below.parents):
        if ".." not in place.parts:
            yield root / place


def _quota(folder: Path) -> list[float]:
    """Processors' worth of time: version 2 writes quota and period into one file, version 1 into two."""
    both = _numbers(folder / "cpu.max")
    if not both:
        both = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
    return [both[0] / both[1]] if len(both) == 2 and both[0] > 0 and both[1] > 0 else []


def _numbers(file: Path) -> list[int]:
    """The numbers in a file; none where it is missing or says 'max'."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []


def _real_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None


def _children(proc: Path, parent: int) -> Iterator[int]:
    for file in proc.glob("[0-9]*/stat"):
        try:
            after_name = file.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if len(after_name) > 1 and after_name[1] == str(parent):
            yield int(file.parent.name)


def _held(status: Path) -> int | None:
    try:
        lines = status.read_text(errors="replace").splitlines()
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in lines if line.startswith(_OWN)]
    return 1024 * sum(sizes) if sizes else None
