"""From members to a release: shards as tasks, equal bits everywhere, nothing lost, nothing made twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import engine_examples
import numpy as np
import pytest
from audit_examples import random_images

from privaudit.errors import IncompleteError, InputError
from privaudit.forecast import Speeds
from privaudit.images import Images
from privaudit.plugins import make_synthesizer
from privaudit.release import Release
from privaudit.store import Store
from privaudit.synthesis import plan_shards, synthesize

CLASSES = 3
MEMBERS = random_images(60, seed=0, classes=CLASSES)


@pytest.fixture(autouse=True)
def python_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The engine is installed; worker processes inherit sys.path."""
    path = engine_examples.install(tmp_path / "installed")
    for folder in reversed(path.split(":")):
        monkeypatch.syspath_prepend(folder)
    return path


def made(root: Path, workers: int = 0, seed: int = 0, members: Images = MEMBERS, **settings: Any) -> Release:
    engine = make_synthesizer("toy", settings)
    said: list[tuple[str, int, int]] = []
    release = synthesize(
        engine,
        members,
        Store(root),
        seed=seed,
        effort="quick",
        device="cpu",
        workers=workers,
        announce=lambda *what: said.append(what),
    )
    assert [(done, total) for _, done, total in said if total] == [(done, CLASSES) for done in range(CLASSES + 1)]
    return release


def test_the_same_bits_in_this_process_and_in_two_others(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a"), made(tmp_path / "b", workers=2)
    assert first.images.digest == second.images.digest
    assert np.bincount(first.images.labels).tolist() == [4] * CLASSES
    assert first.provenance == {"engine": "toy"}


def test_each_seed_and_each_shard_has_its_own_randomness(tmp_path: Path) -> None:
    flat = Images(np.full((30, 8, 8, 1), 128, np.uint8), np.arange(30, dtype=np.int64) % CLASSES)
    release = made(tmp_path, members=flat)
    assert len(set(release.images.image_digests())) == len(release.images)
    assert made(tmp_path, members=flat, seed=1).images.digest != release.images.digest


def test_what_belongs_to_the_images_comes_back(tmp_path: Path) -> None:
    release = made(tmp_path, rich=True)
    assert release.soft_labels is not None
    np.testing.assert_array_equal(release.soft_labels.argmax(axis=1), release.images.labels)
    assert release.claim is not None
    assert (release.claim.epsilon, release.claim.mechanism) == (8.0, {"sigma": 1.5})
    assert release.provenance == {"engine": "toy", "steps": 3}


def test_nothing_is_made_twice(tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = made(tmp_path / "store", log=str(log))
    assert made(tmp_path / "store", log=str(log)).images.digest == first.images.digest
    assert sorted(log.read_text().splitlines()) == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_that_fails_leaves_the_others(tmp_path: Path, workers: int) -> None:
    log, broken = tmp_path / "log", tmp_path / "broken"
    broken.write_text("crash out of ideas")
    settings: dict[str, Any] = {"log": str(log), "broken": str(broken)}
    with pytest.raises(
        IncompleteError, match=r"'toy' failed: RuntimeError: out of ideas\. Finished parts are kept"
    ) as all_:
        synthesize(
            make_synthesizer("toy", settings),
            MEMBERS,
            Store(tmp_path / "store"),
            seed=0,
            effort="quick",
            device="cpu",
            workers=workers,
            announce=lambda *_: None,
        )
    assert "engine_examples.py" in all_.value.__notes__[0]
    broken.unlink()
    finished = log.read_text().splitlines()
    assert made(tmp_path / "store", **settings).images.digest == made(tmp_path / "new").images.digest
    made_later = log.read_text().splitlines()[len(finished) :]
    assert {*finished, *made_later} == {"class 0", "class 1", "class 2"}
    assert len(made_later) < CLASSES


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_given_wrongly_is_said_so(tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken").write_text("input The batch does not fit. The largest that fits is 7.")
    with pytest.raises(InputError, match=r"^The batch does not fit. The largest that fits is 7.$"):
        made(tmp_path / "store", workers, broken=str(tmp_path / "broken"))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ("few", "made 3 images instead of 4"),
        ("twins", "names of their own"),
        ("none", "names of their own; found none"),
        ("teacher", "releases statistics, which cannot be written yet"),
    ],
)
def test_engines_that_break_the_contract(tmp_path: Path, shape: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(tmp_path, shape=shape)


def test_without_members(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no members"):
        made(tmp_path, members=MEMBERS.take(slice(0, 0)))


def test_a_plan_stores_nothing_and_its_keys_are_those_of_the_work(tmp_path: Path) -> None:
    engine, store = make_synthesizer("toy", {}), Store(tmp_path / "store")
    before = plan_shards(engine, MEMBERS, seed=0, effort="quick", device="cpu")
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert all(store.get(task.key) is None for task in before)
    made(tmp_path / "store")
    assert all(store.get(task.key) is not None for task in before)
    others = [
        *plan_shards(engine, MEMBERS, seed=1, effort="quick", device="cpu"),
        *plan_shards(engine, MEMBERS, seed=0, effort="standard", device="cpu"),
        *plan_shards(engine, MEMBERS.take(slice(1, None)), seed=0, effort="quick", device="cpu"),
        *plan_shards(make_synthesizer("toy", {"each": 5}), MEMBERS, seed=0, effort="quick", device="cpu"),
    ]
    assert not {task.key for task in before} & {task.key for task in others}


def test_speed_is_learned_from_whole_work_only(tmp_path: Path) -> None:
    made(tmp_path, seconds=0.05)
    learned = Speeds(Store(tmp_path)).seconds("synthesizer toy", 3 * 4 * 64)
    assert learned is not None
    assert 0.15 < learned < 20
    made(tmp_path, seconds=0.05)  # from the store, in no time
    assert Speeds(Store(tmp_path)).seconds("synthesizer toy", 3 * 4 * 64) == learned


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process group")
def test_killed_and_gone_on_with(tmp_path: Path, python_path: str) -> None:
    log = tmp_path / "log"
    settings: dict[str, Any] = {"log": str(log), "seconds": 0.5}
    program = (
        "from pathlib import Path\nimport test_synthesis\n"
        f"test_synthesis.made(Path({str(tmp_path / 'store')!r}), **{settings!r})"
    )
    environment = os.environ | {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, start_new_session=True) as process:
        end = time.monotonic() + 60
        while not log.exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert 1 <= len(log.read_text().splitlines()) < CLASSES
    assert made(tmp_path / "store", **settings).images.digest == made(tmp_path / "new").images.digest
    assert len(log.read_text().splitlines()) <= CLASSES + 1  # one may have been made, and not kept
