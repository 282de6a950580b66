"""What can happen to a run at a random moment, for `benchmarks.faults`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from benchmarks.cluster import processes_titled
from benchmarks.small_run import DONE, INPUTS, Run, ended, started

Item = TypeVar("Item")
MIB = 2**20

Harm = Callable[[Run, np.random.Generator], Callable[[], None] | bool]
"""Does something to a run at this moment; gives what puts it right again, or whether there was anything to do it to."""


def _one(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]


def _kill_one(processes: Sequence[int], rng: np.random.Generator) -> bool:
    with contextlib.suppress(ProcessLookupError):
        if processes:
            os.kill(_one(processes, rng), signal.SIGKILL)
            return True
    return False


def killed(run: Run, rng: np.random.Generator) -> bool:
    os.killpg(run.process.pid, signal.SIGKILL)
    return True


def interrupted(run: Run, rng: np.random.Generator) -> bool:
    os.killpg(run.process.pid, signal.SIGINT)
    return True


def terminated(run: Run, rng: np.random.Generator) -> bool:
    run.process.terminate()
    return True


def worker_killed(run: Run, rng: np.random.Generator) -> bool:
    return _kill_one(run.workers(), rng)


def file_removed(run: Run, rng: np.random.Generator) -> bool:
    found = run.files("**/*")
    if found:
        _one(found, rng).unlink(missing_ok=True)
    return bool(found)


def input_removed(run: Run, rng: np.random.Generator) -> Callable[[], None]:
    """An input is gone while the run works."""
    path = run.folder / _one(INPUTS, rng)
    away = path.with_suffix(".away")
    path.rename(away)

    def put_back() -> None:
        away.replace(path)

    return put_back


def store_damaged(run: Run, rng: np.random.Generator) -> bool:
    """A byte is turned over, or the end is cut off, in one or more files of the store."""
    found = run.files("store/[be]*/*/*")
    for row in rng.permutation(len(found))[: rng.integers(1, 4)]:
        path = found[row]
        with contextlib.suppress(OSError):
            content = bytearray(path.read_bytes())
            if rng.random() < 0.5:
                content = content[: rng.integers(len(content) + 1)]
            elif content:
                content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            path.write_bytes(content)
    return bool(found)


def right_revoked(run: Run, rng: np.random.Generator) -> Callable[[], None] | bool:
    """A folder may not be written any more."""
    found = [path for path in (run.place, *run.place.glob("**/")) if path.is_dir()]
    if not found:
        return False
    chosen = _one(found, rng)
    if subprocess.run(["chattr", "+i", str(chosen)], capture_output=True, check=False).returncode:
        return False

    def give_back() -> None:
        subprocess.run(["chattr", "-i", str(chosen)], check=True)

    return give_back


def disk_filled(run: Run, rng: np.random.Generator) -> Callable[[], None]:
    filler = run.place / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        for size in (MIB, 4096, 64):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
                    file.flush()
    return lambda: filler.unlink(missing_ok=True)


def second_run(run: Run, rng: np.random.Generator) -> Callable[[], None]:
    """The same command is started in the same folder while the first works."""
    other = started(run.folder)

    def wait() -> None:
        code, said = ended(other)
        if code not in (*DONE, 2) or "Traceback" in said:
            raise SystemExit(f"the second run: {code} {said}")

    return wait


def ray_worker_killed(run: Run, rng: np.random.Generator) -> bool:
    """One that is at work on a task; others are idle."""
    return _kill_one(processes_titled(b"ray::_work"), rng)


@dataclass(frozen=True)
class Kind:
    """What happens to a run.

    weight: how often, beside the others. running: whether it can only happen while the run works. rights: whether it
    needs those of an administrator.
    """

    harm: Harm
    weight: int
    running: bool = False
    rights: bool = False


RAY = "Ray worker killed"
KINDS = {
    "killed": Kind(killed, 3, running=True),
    "interrupted": Kind(interrupted, 2, running=True),
    "terminated": Kind(terminated, 1, running=True),
    "worker killed": Kind(worker_killed, 3, running=True),
    "file removed": Kind(file_removed, 3),
    "input removed": Kind(input_removed, 1, running=True),
    "store damaged": Kind(store_damaged, 3),
    "right revoked": Kind(right_revoked, 2, running=True, rights=True),
    "disk filled": Kind(disk_filled, 2, running=True, rights=True),
    "second run": Kind(second_run, 1, running=True),
    RAY: Kind(ray_worker_killed, 1, running=True),
}


def usable(kind: str) -> bool:
    """Whether this machine lets it happen."""
    if KINDS[kind].rights and os.geteuid() != 0:
        return False
    return kind != RAY or importlib.util.find_spec("ray") is not None
