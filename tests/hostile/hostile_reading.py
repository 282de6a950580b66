"""Feed a case to its loader in a process of its own, and judge what came of it."""

from __future__ import annotations

import gc
import json
import os
import re
import resource
import select
import shutil
import signal
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hostile_cases import MIB, Case, Kind

from privaudit.errors import PrivauditError

SECONDS = 10.0
"""Longest time that any input may take."""

MEMORY = 1024 * MIB
"""Most memory that any input may take beside what was taken before."""

_LARGEST_ADDRESS_SPACE = 4 * MEMORY
_LONGEST_MESSAGE = 6_000
LEFT = "store"
"""Where added weights are kept: the only folder that reading may write to."""

Outcome = Literal["refused", "converted", "wrong", "crashed", "hung", "memory", "executed", "unclear"]


@dataclass(frozen=True)
class Result:
    """What came of a case. message: the refusal, or what went wrong. bytes: memory taken beside that before."""

    outcome: Outcome
    message: str
    seconds: float
    bytes: int


def read(kind: Kind, path: Path) -> Any:
    """What the loader of this kind makes of a path."""
    if kind == "dataset":
        from privaudit.data.loading import load

        return load(path)
    if kind == "release":
        from privaudit.data.loading import load_release

        return load_release(path)[1]
    if kind in ("soft_labels", "statistics", "claim"):
        from privaudit.data.claim_file import read_claim
        from privaudit.data.soft_label_file import read_soft_labels
        from privaudit.data.statistics_file import read_statistics

        if kind == "claim":
            return read_claim(path)
        return read_soft_labels(path, 3) if kind == "soft_labels" else read_statistics(path, 2)
    if kind in ("teacher", "weights"):
        from privaudit import weights
        from privaudit.data.teacher_file import read_teacher

        if kind == "weights":
            return weights.add(path, path.parents[1] / LEFT)
        return read_teacher(path, "mlp", (12, 12, 1), 3)[1]
    return _read_text(kind, path)


def _read_text(kind: Kind, path: Path) -> Any:
    from privaudit.configuration import load_configuration
    from privaudit.grid.configuration import load_grid
    from privaudit.policy import load_policy
    from privaudit.reproduction import read_manifest
    from privaudit.runs import load_run

    if kind == "policy":
        return load_policy(str(path))
    if kind == "configuration":
        return load_configuration(path)
    if kind == "grid":
        return load_grid(path)
    return read_manifest(path) if kind == "manifest" else load_run(path)


def judged(case: Case, folder: Path) -> Result:
    """Build the case below a new folder, read it there, and look at all that changed."""
    inside, work = folder / "in", folder / "work"
    inside.mkdir(parents=True)
    work.mkdir()
    try:
        path = case.build(inside)
        before = _listed(folder)
        found = _in_a_process(case, path, work)
        new = sorted(name for name in _listed(folder) - before if name.partition("/")[0] != LEFT)
    finally:
        shutil.rmtree(folder)
    if new:
        return Result("executed", f"there is now {new[0]}", found.seconds, found.bytes)
    if found.outcome in ("refused", "converted") and found.bytes > MEMORY:
        return Result("memory", f"{found.bytes / MIB:.0f} MiB", found.seconds, found.bytes)
    if found.outcome == "refused" and (fault := fault_of(found.message, folder)):
        return Result("unclear", f"{fault}: {found.message[:500]!r}", found.seconds, found.bytes)
    return found


def fault_of(message: str, folder: Path) -> str:
    """What is wrong with a message for people; empty where nothing is."""
    if not message.strip() or not message.rstrip().endswith((".", "?")):
        return "no sentence"
    if len(message) > _LONGEST_MESSAGE:
        return f"{len(message):,} letters"
    if any(not (letter.isprintable() or letter == "\n") for letter in message):
        return "unprintable characters"
    if "Traceback" in message or re.search(r"\b[A-Za-z]+(Error|Exception)\b(?!\))", message):
        return "words of a programmer"
    return "a path more than once" if message.count(str(folder)) > 2 else ""


def _listed(folder: Path) -> set[str]:
    found = set()
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder / "in":
            folders[:] = []  # what is below was built, and can be thousands of folders deep
        found |= {os.path.relpath(os.path.join(parent, name), folder) for name in (*folders, *files)}
    return found


def _in_a_process(case: Case, path: Path, work: Path) -> Result:
    receiver, sender = os.pipe()
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads, of which none is used
        child = os.fork()
    if child == 0:
        _answer(case, path, work, sender)
    os.close(sender)
    answer = b""
    while (left := started + SECONDS - time.monotonic()) > 0:
        if not select.select([receiver], [], [], left)[0]:
            break
        if not (block := os.read(receiver, 65536)):
            break
        answer += block
    os.close(receiver)
    seconds = time.monotonic() - started
    if seconds >= SECONDS:
        os.kill(child, signal.SIGKILL)
    _, status, _ = os.wait4(child, 0)
    if seconds >= SECONDS:
        return Result("hung", f"over {SECONDS:.0f} s", seconds, 0)
    if not answer:
        return Result("crashed", f"the process ended with status {status}", seconds, 0)
    outcome, message, taken = json.loads(answer)
    return Result(outcome, message, seconds, taken)


def _answer(case: Case, path: Path, work: Path, sender: int) -> None:
    """What the child does: read, tell, and end without a word to what was forked with it."""
    try:
        gc.freeze()  # or collecting garbage would copy all that the parent holds
        os.chdir(work)
        space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (space + _LARGEST_ADDRESS_SPACE,) * 2)
        before = _most_memory()
        outcome, message = _attempt(case, path)
        answer = json.dumps([outcome, message, _most_memory() - before]).encode()
        while answer:
            answer = answer[os.write(sender, answer) :]
    finally:
        os._exit(0)


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _attempt(case: Case, path: Path) -> tuple[Outcome, str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read(case.kind, path)
        if case.expected is not None and case.expected(found):
            return "converted", ""
        return "wrong", f"taken as {found!r:.300}"
    except PrivauditError as error:
        return "refused", str(error)
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what the test is about
        return "crashed", f"{error!r:.300} {''.join(traceback.format_tb(error.__traceback__))[-600:]}"
