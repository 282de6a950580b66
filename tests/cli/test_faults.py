"""Nothing that was finished is lost, nothing wrong is believed, and nothing is left running."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from processes import AUDIT, assert_one_sentence, run, start, write_small_audit

SHARED = ("audit.json", "metrics.json", "junit.xml", "summary.md", "report.html")
_SECONDS = re.compile(rb'"seconds": [0-9.e-]+|\btime="[0-9.]+"|[0-9.]+ (s|seconds)\b|[0-9a-f]{40}(\+changes)?')

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def shared(out: Path) -> dict[str, bytes]:
    """The shareable files, apart from seconds and from the commit of the checkout under test."""
    return {name: _SECONDS.sub(b"", (out / "share" / name).read_bytes()) for name in SHARED}


def work(store: Path) -> dict[str, int]:
    """The files of a store with their times."""
    files = [path for part in ("entries", "blobs") for path in (store / part).rglob("*") if path.is_file()]
    return {path.relative_to(store).as_posix(): path.stat().st_mtime_ns for path in files}


def processes_of_group(group: int) -> list[int]:
    """Processes that are alive in a process group."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, found_group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(found_group) == group and state != "Z":
            found.append(int(folder.name))
    return found


def wait_until_gone(group: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while processes_of_group(group):
        assert time.monotonic() < end, f"still there: {processes_of_group(group)}"
        time.sleep(0.2)


@contextmanager
def started(folder: Path, *arguments: str, until: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """A running privaudit, after it has said `until`; nothing of it is left behind."""
    with start(folder, *arguments) as process:
        try:
            if until is not None:
                assert process.stderr is not None
                said = []
                for line in process.stderr:
                    said.append(line)
                    if until in line:
                        break
                else:
                    pytest.fail("".join(said))
            yield process
        finally:
            if processes_of_group(process.pid):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small audit that ran undisturbed."""
    folder = tmp_path_factory.mktemp("finished")
    write_small_audit(folder)
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0")
    assert done.returncode in (0, 1, 4), done.stderr
    assert "Traceback" not in done.stderr
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished audit, to be disturbed."""
    return shutil.copytree(finished, tmp_path / "copy")


def test_second_run_computes_nothing(folder: Path) -> None:
    before, share = work(folder / ".privaudit"), {name: (folder / "run/share" / name).read_bytes() for name in SHARED}
    assert before
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0")
    assert "Traceback" not in done.stderr
    assert work(folder / ".privaudit") == before
    assert {name: (folder / "run/share" / name).read_bytes() for name in SHARED} == share


def test_damaged_store_is_mended(folder: Path) -> None:
    before, store = shared(folder / "run"), folder / ".privaudit"
    entries, blobs = sorted(store.glob("entries/*/*")), sorted(store.glob("blobs/*/*"))
    for place, path in enumerate([*entries[:3], *blobs[::2]]):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if place % 2 else content[:-1] + b"\xff")
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0")
    assert done.returncode in (0, 1, 4), done.stderr
    assert shared(folder / "run") == before


def test_two_runs_on_one_folder(folder: Path) -> None:
    with (folder / "run/private/lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock.write("process 123 on here\n")
        lock.flush()
        done = run(folder, *AUDIT, "--out", "run", "--workers", "0")
    assert done.returncode == 2
    assert "in use by process 123 on here" in assert_one_sentence(done)


def test_another_audit_in_the_folder(folder: Path) -> None:
    before = shared(folder / "run")
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0", "--seed", "1")
    assert done.returncode == 2
    assert "holds another audit" in assert_one_sentence(done)
    assert shared(folder / "run") == before


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("private/evidence/evidence.json", b""),
        ("private/evidence/evidence.json", b"\xff\xfe"),
        ("private/evidence/evidence.json", b'{"releases": 3}'),
        ("private/evidence/scores-00-nearest-copy.npz", b""),
        ("private/evidence/scores-00-nearest-copy.npz", b"PK\x05\x06" + bytes(18)),
        ("private/evidence/scores-00-nearest-copy.npz", b"\x93NUMPY\x01\x00"),
        ("private/policy.json", b"[]"),
        ("private/policy.json", b'{"schema": 1'),
    ],
)
def test_damaged_run_is_refused(folder: Path, name: str, content: bytes) -> None:
    (folder / "run" / name).write_bytes(content)
    done = run(folder, "check", "run")
    assert done.returncode == 2
    assert assert_one_sentence(done)


def test_share_alone_is_no_run(folder: Path) -> None:
    shutil.rmtree(folder / "run/private")
    for command in ("check", "report"):
        done = run(folder, command, "run")
        assert done.returncode == 2
        assert "share/ half alone" in assert_one_sentence(done)


@linux
@pytest.mark.parametrize("until", ["reading the members", "starting the attacks", " done: "])
@pytest.mark.slow
def test_ctrl_c(finished: Path, tmp_path: Path, until: str) -> None:
    """The terminal sends it to all processes of the group at once."""
    folder = tmp_path
    write_small_audit(folder)
    with started(folder, *AUDIT, "--out", "run", "--workers", "2", until=until) as process:
        time.sleep(0.5 * (until == "starting the attacks"))
        os.killpg(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 130, rest
        assert "Traceback" not in rest
        told = [line for line in rest.splitlines() if "done: " not in line and not line.endswith("...")]
        assert [line for line in told if not line.startswith("note: members: ")] == [  # they may come before the signal
            "interrupted. What was finished is kept; start the same command again to go on."
        ]
        wait_until_gone(process.pid, 10)
    done = run(folder, *AUDIT, "--out", "run", "--workers", "0")
    assert done.returncode in (0, 1, 4), done.stderr
    assert shared(folder / "run") == shared(finished / "run")


@linux
@pytest.mark.slow
def test_workers_end_with_their_driver(tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    with started(tmp_path, *AUDIT, "--out", "run", "--workers", "2", until="1 of ") as process:
        assert len(processes_of_group(process.pid)) >= 3
        process.kill()
        process.wait()
        wait_until_gone(process.pid, 15)


@linux
@pytest.mark.slow
def test_killed_worker(finished: Path, tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    with started(tmp_path, *AUDIT, "--out", "run", "--workers", "2", until="1 of ") as process:
        workers = [
            number
            for number in processes_of_group(process.pid)
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes()
        ]
        os.kill(workers[0], signal.SIGKILL)
        _, rest = process.communicate(timeout=240)
        assert process.returncode in (0, 1, 4), rest
        assert "Traceback" not in rest
        assert "Warning" not in rest
    assert shared(tmp_path / "run") == shared(finished / "run")


@linux
@pytest.mark.slow
def test_killed_at_any_moment(tmp_path: Path) -> None:
    """The demo, killed with all its workers several times: it goes on, and ends as if nothing had happened."""
    for name in ("plain", "killed"):
        (tmp_path / name).mkdir()
    arguments = ("audit", "--demo", "--out", "run", "--skip", "utility")
    begun = time.monotonic()
    assert run(tmp_path / "plain", *arguments).returncode == 1
    whole = time.monotonic() - begun
    rng = random.Random(time.time_ns())  # a new moment every time; printed, so that a failure can be looked at
    for part in range(3):
        delay = whole * (part + rng.random()) / 4
        print(f"killed after {delay:.2f} s")
        with started(tmp_path / "killed", *arguments) as process:
            time.sleep(delay)
            os.killpg(process.pid, signal.SIGKILL)
    assert run(tmp_path / "killed", *arguments).returncode == 1
    assert shared(tmp_path / "killed/run") == shared(tmp_path / "plain/run")


@pytest.mark.slow
def test_full_disk(finished: Path, tmp_path: Path) -> None:
    write_small_audit(tmp_path)
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a small disk")
    try:
        arguments = (*AUDIT, "--out", "small/run", "--store", "small/store", "--workers", "0")
        done = run(tmp_path, *arguments)
        assert done.returncode == 3, done.stderr
        assert "disk is full" in assert_one_sentence(done)
        kept = work(small / "store")
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        done = run(tmp_path, *arguments)
        assert done.returncode in (0, 1, 4), done.stderr
        assert {name: work(small / "store")[name] for name in kept} == kept
        assert shared(small / "run") == shared(finished / "run")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_evidence_is_json_without_paths(finished: Path) -> None:
    """Not even the private facts name places: they are moved with the run."""
    facts = json.loads((finished / "run/private/evidence/evidence.json").read_text())
    assert str(finished) not in json.dumps(facts)
