"""Limits of control groups, in files as Linux writes them."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from privaudit import machine
from privaudit.machine import Limits, cores, limits, memory_in_use


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def files(root: Path, own: str, found: dict[str, str]) -> tuple[Path, Path]:
    """A /proc and a /sys/fs/cgroup. own: content of /proc/self/cgroup. found: files below the groups."""
    write(root / "proc" / "self" / "cgroup", own)
    for name, text in found.items():
        write(root / "groups" / name, text)
    return root / "proc", root / "groups"


V2 = "0::/slice/job\n"
V1 = "4:memory:/slice/job\n3:cpu,cpuacct:/slice/job\n2:cpuset:/\n"


@pytest.mark.parametrize(
    ("own", "found", "expected"),
    [
        (V2, {}, Limits(None, None)),
        (V2, {"slice/job/cpu.max": "max 100000\n", "slice/job/memory.max": "max\n"}, Limits(None, None)),
        (V2, {"slice/job/cpu.max": "150000 100000\n", "slice/job/memory.max": "1000000\n"}, Limits(1.5, 1000000)),
        (V2, {"slice/job/cpu.max": "400000 100000", "slice/cpu.max": "200000 100000"}, Limits(2.0, None)),
        (V2, {"cpu.max": "100000 100000", "memory.max": "4096"}, Limits(1.0, 4096)),
        (V1, {"cpu,cpuacct/slice/job/cpu.cfs_quota_us": "-1"}, Limits(None, None)),
        (
            V1,
            {
                "cpu/slice/job/cpu.cfs_quota_us": "50000",
                "cpu/slice/job/cpu.cfs_period_us": "100000",
                "memory/slice/job/memory.limit_in_bytes": "9223372036854771712",
                "memory/slice/memory.limit_in_bytes": "2048",
            },
            Limits(0.5, 2048),
        ),
        ("0::/../outside\n", {"cpu.max": "300000 100000"}, Limits(3.0, None)),
        (V2, {"slice/job/cpu.max": "garbage", "slice/job/memory.max": ""}, Limits(None, None)),
    ],
)
def test_limits(tmp_path: Path, own: str, found: dict[str, str], expected: Limits) -> None:
    assert limits(*files(tmp_path, own, found)) == expected


def test_elsewhere_nothing_is_limited(tmp_path: Path) -> None:
    assert limits(tmp_path / "none", tmp_path / "none") == Limits(None, None)


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (0.5, 1), (1.5, 1), (2.0, 2), (100.0, 8)])
def test_cores(monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int) -> None:
    monkeypatch.setattr(machine, "limits", lambda: Limits(quota, None))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores() == count


def test_memory_of_this_process_and_its_children(tmp_path: Path) -> None:
    """100 kB here and 30 kB in a child; another's child, and what is mapped from files, are not counted."""
    mine = os.getpid()
    status = "Name:\tx\nVmRSS:\t999 kB\nRssAnon:\t{} kB\nRssFile:\t500 kB\nRssShmem:\t10 kB\n"
    write(tmp_path / str(mine) / "status", status.format(90))
    write(tmp_path / str(mine) / "stat", f"{mine} (python) S 1 1")
    write(tmp_path / "1000001" / "status", status.format(20))
    write(tmp_path / "1000001" / "stat", f"1000001 (a name) with) S {mine} 1")
    write(tmp_path / "1000002" / "status", status.format(70))
    write(tmp_path / "1000002" / "stat", "1000002 (python) S 1 1")
    assert memory_in_use(tmp_path) == 1024 * 130
    assert memory_in_use(tmp_path / "none") is None


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_grows_with_what_is_held() -> None:
    before = memory_in_use()
    held = mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held[:: mmap.PAGESIZE] = b"1" * len(range(0, 50_000_000, mmap.PAGESIZE))
    after = memory_in_use()
    assert before is not None
    assert after is not None
    assert after - before > 40_000_000
    held.close()
