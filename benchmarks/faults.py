"""Faults at random moments of a run: is anything lost, mixed, or silently wrong?

Each fault happens to a small run (a candidate is made, two attacks, two processes; some seconds) at a random moment.
Then what was harmed is put right (space on the disk, permissions), and the same command is started again, once more
where it says so. It must end with the same results as an undisturbed run, bit by bit; or say what is missing, and end
with them when that is done. Kinds that need rights to mount, to set attributes, or Ray are left out where these are
missing. Faults that met nothing (no worker yet, the run had ended, Ctrl-C came too late) are told apart, and others
are made in their place.

    python -m benchmarks.faults --faults 200 --log faults.jsonl

Every fault is a line of the log; those that are there are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cluster import nodes
from benchmarks.fault_kinds import KINDS, RAY, usable
from benchmarks.recording import write_result
from benchmarks.small_run import DONE, INTERRUPTED, ended, prepare, started
from privaudit.reproduction import differences


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
            happens = found["still_running"] or not KINDS[kind].running
            mend = KINDS[kind].harm(run, rng) if happens else False
            code, said = ended(run)
            found |= {"first": code, "said": said.strip().replace(name, "")[-400:]}
            too_late = kind == "interrupted" and code in DONE
            found["met"] = mend is not False and not too_late
            told = kind != "interrupted" or too_late or code == INTERRUPTED
            if callable(mend):
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
    found["good"] = told and code in DONE and not found["differences"] and not found["traceback"]
    return found


def undisturbed(further: Sequence[str]) -> tuple[float, dict[str, Any]]:
    """Seconds and results of a run that nothing happens to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        (folder / "place").mkdir()
        begun = time.monotonic()
        code, said = ended(started(folder, further))
        seconds = time.monotonic() - begun
        found = results_of(folder)
        if code not in DONE or found is None:
            raise SystemExit(f"the undisturbed run: {code} {said}")
        return seconds, found


def undisturbed_with(kind: str) -> tuple[float, dict[str, Any]]:
    """The same where this kind of fault would happen."""
    with ray(kind) as further:
        found = undisturbed(further)
    print(f"undisturbed{', on a cluster' if kind == RAY else ''}: {found[0]:.1f} seconds", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    kinds = [kind for kind in KINDS if usable(kind)]
    weights = np.array([KINDS[kind].weight for kind in kinds])
    lines = options.log.read_text().splitlines() if options.log.exists() else []
    done = {line["seed"]: line for line in map(json.loads, lines)}
    plain = {name: undisturbed_with(name) for name in {RAY, "killed"} & set(kinds)}
    for seed in itertools.count():
        if sum(line["met"] for line in done.values()) >= options.faults:
            break
        if seed in done:
            continue
        kind = str(np.random.default_rng([0, seed]).choice(kinds, p=weights / weights.sum()))
        whole, right = plain[RAY if kind == RAY else "killed"]
        with ray(kind) as further:
            found = fault(kind, seed, whole, right, further)
        done[seed] = found
        with options.log.open("a") as log:
            log.write(json.dumps(found) + "\n")
        print(seed, kind, "good" if found["good"] else found, "" if found["met"] else "met nothing", flush=True)
    table = {
        kind: {
            "faults": sum(line["met"] for line in mine),
            "good": sum(line["met"] and line["good"] for line in mine),
            "met nothing": sum(not line["met"] for line in mine),
            "good then": sum(not line["met"] and line["good"] for line in mine),
        }
        for kind in kinds
        if (mine := [line for line in done.values() if line["kind"] == kind])
    }
    print(table)
    seconds = {kind: round(found[0], 1) for kind, found in plain.items()}
    results = {"seconds_undisturbed": seconds, "table": table, "faults": [done[seed] for seed in sorted(done)]}
    print(write_result("faults", results, seeds=sorted(done), command="python -m benchmarks.faults"))


@contextlib.contextmanager
def ray(kind: str) -> Iterator[tuple[str, ...]]:
    """What to add to the command: the address of a cluster of two nodes, where a worker of one is to be lost."""
    if kind != RAY:
        yield ("--workers", "2")
        return
    with nodes(2) as cluster:
        yield ("--cluster", cluster.address)


if __name__ == "__main__":
    main()
