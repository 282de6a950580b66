"""Every hostile input is refused in plain words or converted loudly, and the judge of that is itself tried."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import hostile_arrays
import hostile_folders
import hostile_images
import hostile_networks
import hostile_pictures
import hostile_reading
import hostile_records
import hostile_tables
import hostile_texts
import hostile_values
import numpy as np
import pytest
from hostile_cases import CANARY, MIB, Case, file_of, good_dataset, npy_of, npz
from hostile_reading import fault_of, judged
from safetensors.torch import save

from privaudit.errors import InputError

CASES = (
    *hostile_images.CASES,
    *hostile_pictures.CASES,
    *hostile_arrays.CASES,
    *hostile_values.CASES,
    *hostile_folders.CASES,
    *hostile_tables.CASES,
    *hostile_texts.CASES,
    *hostile_records.CASES,
    *hostile_networks.CASES,
)


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """All that the loaders import, once for all processes that are forked."""
    from privaudit import grid, reproduction, runs, weights  # noqa: F401
    from privaudit.data import claim_file, loading, soft_label_file, statistics_file, teacher_file  # noqa: F401
    from privaudit.learning import networks  # noqa: F401


def _parameter(case: Case) -> Any:
    return pytest.param(case, id=f"{case.kind}: {case.name}", marks=[pytest.mark.slow] if case.slow else [])


@pytest.mark.parametrize("case", [_parameter(case) for case in CASES])
def test_it_is_refused_or_converted(case: Case, tmp_path: Path) -> None:
    """PRIVAUDIT_HOSTILE_MESSAGES: a file to which what is said is added (run in one process)."""
    result = judged(case, tmp_path / "case")
    if listing := os.environ.get("PRIVAUDIT_HOSTILE_MESSAGES"):
        said = " ".join(result.message.replace(str(tmp_path / "case"), "").split())
        said = re.sub(re.escape(str(tmp_path.parent)) + r"/[^/' ]*", "", said)  # cut names of long paths
        with Path(listing).open("a", encoding="utf-8") as file:
            file.write(f"{case.kind}: {case.name}: {result.outcome}{': ' + said if said else ''}\n")
    assert result.outcome == case.outcome, f"{result.outcome} in {result.seconds:.1f} s: {result.message}"


def test_the_list_of_messages_is_that_of_the_corpus() -> None:
    """`PRIVAUDIT_HOSTILE_MESSAGES=tests/hostile/messages.txt pytest tests/hostile/test_hostile_inputs.py` makes it."""
    lines = (Path(__file__).parent / "messages.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(CASES)
    for line, case in zip(lines, CASES, strict=True):
        assert line.startswith(f"{case.kind}: {case.name}: {case.outcome}")


def _holds(found: Any) -> bool:
    return found is not None


GOOD_ONES = (
    Case("npz", "dataset", file_of("x.npz", npz), "converted", _holds),
    Case("folder", "dataset", lambda folder: good_dataset(folder / "data"), "converted", _holds),
    Case("release", "release", hostile_records.good_release, "converted", _holds),
    Case("run", "run", hostile_records.good_run, "converted", _holds),
    Case("manifest", "manifest", hostile_records.good_manifest, "converted", _holds),
    Case("soft", "soft_labels", file_of("s.npy", lambda: npy_of(hostile_values.HALVES)), "converted", _holds),
    Case("statistics", "statistics", file_of("s.npz", hostile_values.statistics), "converted", _holds),
    Case("teacher", "teacher", file_of("x.st", lambda: save(hostile_networks.teacher())), "converted", _holds),
    Case("weights", "weights", file_of("x.st", lambda: save(hostile_networks.backbone())), "converted", _holds),
    *(
        Case(kind, kind, file_of("x.yaml", hostile_texts.GOOD[kind].encode), "converted", _holds)
        for kind in hostile_texts.KINDS
    ),
)


@pytest.mark.parametrize("case", GOOD_ONES, ids=lambda case: f"{case.kind}: {case.name}")
def test_what_cases_are_made_from_is_good(case: Case, tmp_path: Path) -> None:
    """Or they would be refused for another reason than the one that they are about."""
    result = judged(case, tmp_path / "case")
    assert result.outcome == "converted", result.message


def test_there_are_many_and_no_two_have_one_name() -> None:
    names = {(case.kind, case.name) for case in CASES}
    assert len(names) == len(CASES)
    assert sum(not case.slow for case in CASES) >= 200
    assert all((case.outcome == "converted") == (case.expected is not None) for case in CASES)


GOOD = Case("good", "dataset", file_of("x", lambda: b"x"), "converted", lambda found: found == "right")


def _hangs(kind: str, path: Path) -> None:
    time.sleep(60)


def _eats(kind: str, path: Path) -> Any:
    return np.ones(200 * MIB, np.uint8).sum() and "right"


def _raises(kind: str, path: Path) -> None:
    raise ZeroDivisionError("a fault")


def _ends(kind: str, path: Path) -> None:
    raise SystemExit(3)


def _executes(kind: str, path: Path) -> None:
    (path.parents[1] / CANARY).touch()
    raise InputError("It was refused, but too late. Start again.")


def _writes(kind: str, path: Path) -> str:
    Path("result.txt").touch()
    return "right"


def _mumbles(kind: str, path: Path) -> None:
    raise InputError("no")


@pytest.mark.parametrize(
    ("stand_in", "outcome"),
    [
        (_hangs, "hung"),
        (_eats, "memory"),
        (_raises, "crashed"),
        (_ends, "crashed"),
        (_executes, "executed"),
        (_writes, "executed"),
        (_mumbles, "unclear"),
        (lambda kind, path: "left", "wrong"),
        (lambda kind, path: "right", "converted"),
    ],
)
def test_the_judge_sees_what_goes_wrong(
    stand_in: Any, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostile_reading, "read", stand_in)
    monkeypatch.setattr(hostile_reading, "SECONDS", 1.0 if outcome == "hung" else 10.0)
    monkeypatch.setattr(hostile_reading, "MEMORY", 128 * MIB)
    assert judged(GOOD, tmp_path / "case").outcome == outcome


@pytest.mark.parametrize("message", ["", "no end", "ValueError: bad.", "a\tb.", "x" * 7000 + "."])
def test_messages_that_are_none(message: str, tmp_path: Path) -> None:
    assert fault_of(message, tmp_path)
