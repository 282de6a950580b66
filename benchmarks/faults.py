"""Faults at random moments of a run: is anything lost, mixed, or silently wrong?

Each fault happens to a small run (a candidate is made, two attacks, two processes; some seconds) at a random moment.
Then what was harmed is put right (space on the disk, permissions), and the same command is started again, once more
where it says so. It must end with the same results as an undisturbed run, bit by bit; or say what is missing, and end
with them when that is done. Kinds that need rights to mount, to set attributes, or Ray are left out where these are
missing.

    python -m benchmarks.faults --faults 200 --log faults.jsonl

Every fault is a line of the log; those that are there are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.recording import write_result
from privaudit.reproduction import differences

CONFIGURATION = """
schema: 1
data: {members: members.npz, controls: controls.npz}
candidates: [{name: made, synthesizer: pixelise, settings: {cell: 3}}]
attacks: {nearest-copy: {}, density-ratio: {}}
policy: small.yaml
effort: quick
skip: [utility, similarity]
"""
POLICY = """
schema: 2
name: small
required_attacks: [nearest-copy]
rules:
  - {id: identical-copies, metric: identical_copies, at_most: 0, severity: fail, reason: proof}
  - {id: file-traces, metric: file_traces, at_most: 0, severity: fail, reason: links}
  - {id: left-out, metric: left_out_share, at_most: 0.1, severity: inconclusive, reason: test}
  - {id: exposed-share, metric: tpr_at_1pct_fpr, side: upper, at_most: 0.5, minimum_n: 20, severity: fail, reason: test}
"""
DONE = (0, 1, 4)
LONGEST = 300.0
Item = TypeVar("Item")
MIB = 2**20


def prepare(folder: Path) -> None:
    """Data, configuration and limits."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(20, 230, (200, 4, 4)).repeat(3, 1).repeat(3, 2)
    pixels = np.clip(coarse + rng.normal(0, 15, coarse.shape), 0, 255).astype(np.uint8)
    for name, rows in (("members", slice(0, 50)), ("controls", slice(50, 200))):
        np.savez(folder / f"{name}.npz", images=pixels[rows], labels=np.arange(len(pixels[rows])) % 2)
    (folder / "audit.yaml").write_text(CONFIGURATION)
    (folder / "small.yaml").write_text(POLICY)


@dataclass(frozen=True)
class Run:
    """A run in a folder of its own, `place` within it for what it writes."""

    folder: Path
    process: subprocess.Popen[str]

    @property
    def place(self) -> Path:
        return self.folder / "place"

    def files(self, pattern: str) -> list[Path]:
        """Files that the run has written."""
        return sorted(path for path in self.place.glob(pattern) if path.is_file())

    def workers(self) -> list[int]:
        """Processes that it has started."""
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent = int(status.read_text().rpartition(")")[2].split()[1])
                if parent == self.process.pid and b"spawn_main" in (status.parent / "cmdline").read_bytes():
                    found.append(int(status.parent.name))
        return found


def started(folder: Path, further: Sequence[str] = ()) -> Run:
    """Start the run, as the leader of a process group of its own."""
    places = ("--out", "place/run", "--store", "place/store", "--quiet", *further)
    command = [sys.executable, "-W", "error", "-m", "privaudit", "run", "audit.yaml", *places]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    return Run(folder, process)


def ended(run: Run) -> tuple[int, str]:
    """Its exit code and what it said on the way."""
    try:
        said = run.process.communicate(timeout=LONGEST)[1]
    except subprocess.TimeoutExpired:
        os.killpg(run.process.pid, signal.SIGKILL)
        return -99, "it did not end"
    return run.process.returncode, said


Harm = Callable[[Run, np.random.Generator], Callable[[], None] | None]
"""Does something to a run at this moment; gives what puts it right again."""


def _one(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]


def killed(run: Run, rng: np.random.Generator) -> None:
    os.killpg(run.process.pid, signal.SIGKILL)


def interrupted(run: Run, rng: np.random.Generator) -> None:
    os.killpg(run.process.pid, signal.SIGINT)


def terminated(run: Run, rng: np.random.Generator) -> None:
    run.process.terminate()


def worker_killed(run: Run, rng: np.random.Generator) -> None:
    if found := run.workers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(_one(found, rng), signal.SIGKILL)


def file_removed(run: Run, rng: np.random.Generator) -> None:
    if found := run.files("**/*"):
        _one(found, rng).unlink(missing_ok=True)


def store_damaged(run: Run, rng: np.random.Generator) -> None:
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


def right_revoked(run: Run, rng: np.random.Generator) -> Callable[[], None] | None:
    """A folder may not be written any more."""
    found = [path for path in (run.place, *run.place.glob("**/")) if path.is_dir()]
    if not found:
        return None
    chosen = _one(found, rng)
    if subprocess.run(["chattr", "+i", str(chosen)], capture_output=True, check=False).returncode:
        return None

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


def ray_worker_killed(run: Run, rng: np.random.Generator) -> None:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::"):
                found.append(int(path.parent.name))
    if found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(_one(found, rng), signal.SIGKILL)


KINDS: dict[str, Harm] = {
    "killed": killed,
    "interrupted": interrupted,
    "terminated": terminated,
    "worker killed": worker_killed,
    "file removed": file_removed,
    "store damaged": store_damaged,
    "right revoked": right_revoked,
    "disk filled": disk_filled,
    "second run": second_run,
    "Ray worker killed": ray_worker_killed,
}
WEIGHTS = (3, 2, 1, 3, 3, 3, 2, 2, 1, 1)


@contextlib.contextmanager
def disk(folder: Path, small: bool) -> Iterator[None]:
    """The folder `place`, on a disk of 24 MiB where it is to be filled."""
    place = folder / "place"
    place.mkdir()
    if small:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        if small:
            subprocess.run(["umount", str(place)], check=True)


def results_of(folder: Path) -> dict[str, Any] | None:
    """What the run found, of its manifest; None where it has none."""
    try:
        found: dict[str, Any] = json.loads((folder / "place/run/private/manifest.json").read_text())["results"]
    except (OSError, ValueError):
        return None
    return found


def clear(folder: Path, said: str) -> bool:
    """Do what an error says is to be done with the folder of a run; False: it says nothing of the kind."""
    if not any(words in said for words in ("elete that folder", "Delete it, and start", "Choose another --out")):
        return False
    shutil.rmtree(folder / "place/run")
    return True


def fault(kind: str, seed: int, whole: float, right: dict[str, Any], further: Sequence[str]) -> dict[str, Any]:
    """One fault, and what became of the run."""
    rng = np.random.default_rng(seed)
    moment = float(rng.uniform(0.0, whole))
    found: dict[str, Any] = {"kind": kind, "seed": seed, "moment": round(moment, 2)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        with disk(folder, small=kind == "disk filled"):
            run = started(folder, further)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.process.wait(moment)
            found["still_running"] = run.process.poll() is None
            mend = KINDS[kind](run, rng) if found["still_running"] or kind not in SIGNALS else None
            code, said = ended(run)
            found |= {"first": code, "said": said.strip().replace(name, "")[-400:]}
            if mend is not None:
                mend()
            found["traceback"] = "Traceback" in said
            code, said = ended(started(folder, further))
            if code not in DONE and clear(folder, said):
                found |= {"traceback": found["traceback"] or "Traceback" in said, "cleared": said.strip()[-400:]}
                code, said = ended(started(folder, further))
            found |= {"traceback": found["traceback"] or "Traceback" in said, "last": code, "last_said": said[-400:]}
            now = results_of(folder)
            found["differences"] = ["no results"] if now is None else list(differences(right, now))[:5]
            left = list((folder / "place").rglob(".partial-*"))
            found["temporary_files"] = len(left)
    found["good"] = code in DONE and not found["differences"] and not found["traceback"]
    return found


SIGNALS = ("killed", "interrupted", "terminated", "worker killed", "second run", "Ray worker killed")


def usable(kind: str) -> bool:
    """Whether this machine lets the fault happen."""
    if kind in ("right revoked", "disk filled") and os.geteuid() != 0:
        return False
    return kind != "Ray worker killed" or importlib.util.find_spec("ray") is not None


def undisturbed() -> tuple[float, dict[str, Any]]:
    """Seconds and results of a run that nothing happens to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        (folder / "place").mkdir()
        begun = time.monotonic()
        code, said = ended(started(folder))
        seconds = time.monotonic() - begun
        found = results_of(folder)
        if code not in DONE or found is None:
            raise SystemExit(f"the undisturbed run: {code} {said}")
        return seconds, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if usable(kind)]
    weights = np.array([WEIGHTS[list(KINDS).index(kind)] for kind in kinds])
    chosen = np.random.default_rng(0).choice(kinds, options.faults, p=weights / weights.sum()).tolist()
    lines = options.log.read_text().splitlines() if options.log.exists() else []
    done = {line["seed"]: line for line in map(json.loads, lines)}
    whole, right = undisturbed()
    print(f"undisturbed: {whole:.1f} seconds", flush=True)
    for seed, kind in enumerate(chosen):
        if seed in done:
            continue
        with ray(kind) as further:
            found = fault(kind, seed, whole, right, further)
        done[seed] = found
        with options.log.open("a") as log:
            log.write(json.dumps(found) + "\n")
        print(seed, kind, "good" if found["good"] else found, flush=True)
    table = {
        kind: {"faults": count, "good": sum(line["good"] for line in done.values() if line["kind"] == kind)}
        for kind, count in Counter(line["kind"] for line in done.values()).items()
    }
    print(table)
    results = {"seconds_undisturbed": round(whole, 1), "table": table, "faults": [done[seed] for seed in sorted(done)]}
    print(write_result("faults", results, seeds=list(range(options.faults)), command="python -m benchmarks.faults"))


@contextlib.contextmanager
def ray(kind: str) -> Iterator[tuple[str, ...]]:
    """What to add to the command: the address of a cluster of two nodes, where a worker of one is to be lost."""
    if kind != "Ray worker killed":
        yield ("--workers", "2")
        return
    from benchmarks.cluster import nodes

    with nodes(2) as cluster:
        yield ("--cluster", cluster.address)


if __name__ == "__main__":
    main()
