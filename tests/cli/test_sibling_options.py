"""Persons and statistics on the command line: siblings that are given, siblings that a split sets aside, a file of
statistics.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from person_examples import named, persons
from processes import SMALL_POLICY, assert_one_sentence, run

from privaudit.cli.inputs import Parts, load_parts
from privaudit.configuration import Data, Split
from privaudit.images import Dataset
from privaudit.released_statistics import class_statistics

BASE = (
    *("audit", "--members", "members.npz", "--controls", "controls.npz", "--fresh", "fresh.npz"),
    *("--reference", "reference.npz", "--release", "release.npz", "--policy", "small.yaml", "--effort", "quick"),
    *("--skip", "utility,similarity", "--no-fail", "--workers", "0"),
)
MEMBERS = persons(named("m", 40), 1, 1)


def save(folder: Path, name: str, data: Dataset, groups: bool = True) -> None:
    extra: dict[str, Any] = {"groups": data.groups} if groups and data.groups is not None else {}
    np.savez(folder / f"{name}.npz", images=data.images.pixels, labels=data.images.labels, **extra)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("persons")
    save(found, "members", MEMBERS)
    save(found, "siblings", persons(named("m", 30), 1, 2))
    save(found, "unknown", persons(named("m", 30), 1, 2), groups=False)
    save(found, "others", persons(named("o", 30), 1, 2))
    save(found, "controls", persons(named("c", 40), 2, 3))
    save(found, "fresh", persons(named("f", 25), 2, 4))
    save(found, "reference", persons(named("r", 30), 2, 5))
    save(found, "release", MEMBERS, groups=False)
    (found / "small.yaml").write_text(SMALL_POLICY)
    statistics = class_statistics(MEMBERS.images, 2, ["pixels"])
    np.savez(found / "statistics.npz", **statistics)  # type: ignore[arg-type]
    np.savez(found / "wrong.npz", images=np.array([1, 2]))
    return found


def test_given_siblings_are_linked_and_statistics_are_attacked(folder: Path) -> None:
    options = ("--siblings", "siblings.npz", "--statistics", "statistics.npz", "--out", "run")
    done = run(folder, *BASE, "--attacks", "linkage,statistics-matching", *options)
    assert done.returncode == 0, done.stderr
    record = json.loads((folder / "run/share/audit.json").read_text())
    (release,) = record["releases"]
    by_name = {attack["name"]: attack for attack in release["attacks"]}
    assert by_name["linkage"]["ranks"] == "siblings"
    assert by_name["linkage"]["verdict"] == "fail"
    assert by_name["linkage"]["informs"] == ["linkability"]
    assert record["data"]["linked_members"] == 30
    assert record["data"]["linked_controls"] == 65
    assert release["artifacts"][0]["name"] == "statistics"
    assert release["artifacts"][0]["attacks"] == ["statistics-matching"]
    assert "beside the images: Statistics: looked at by statistics-matching" in done.stdout
    page = (folder / "run/share/report.html").read_text()
    assert "looked for 30 persons of the members by another image of theirs" in page.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--siblings", "unknown.npz"), "the siblings have no groups"),
        (("--siblings", "others.npz"), "The siblings show no person who is in the members"),
        (("--siblings", "members.npz"), "The members and the siblings have 40 images in common"),
        (("--statistics", "wrong.npz"), "Statistics need the arrays 'images'"),
        (("--statistics", "missing.npz"), "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_sentence(folder: Path, options: tuple[str, str], said: str) -> None:
    done = run(folder, *BASE, "--attacks", "linkage", *options, "--out", "bad")
    assert done.returncode == 2
    assert_one_sentence(done)
    assert said in " ".join(done.stderr.split())


class _Silent:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, *_: object) -> None:
        """Hear no progress."""

    def note(self, text: str) -> None:
        self.notes.append(text)


def split_parts(folder: Path, images: int, linked: bool) -> tuple[Parts, list[str]]:
    save(folder, f"source{images}", persons(named("p", 130), images, 7))
    parts = Split(members=40 * images, controls=40 * images, fresh=20 * images, reference=20 * images, test=0)
    heard: Any = _Silent()
    data = Data(source=str(folder / f"source{images}.npz"), split=parts)
    return load_parts(data, 0, heard, linked=lambda: linked), heard.notes


def test_a_split_sets_one_image_of_each_person_aside(folder: Path) -> None:
    parts, notes = split_parts(folder, 2, True)
    assert parts.siblings is not None
    assert parts.controls is not None
    assert parts.fresh is not None
    for part in (parts.members, parts.controls, parts.fresh):
        assert len(part) == len(set(part.units))  # one of two images is left of everybody
    assert len(parts.siblings) == sum(len(part) for part in (parts.members, parts.controls, parts.fresh))
    assert any("were set aside and are fed to no engine" in note for note in notes)
    assert any("set aside" in note for note in parts.notes)


@pytest.mark.parametrize(("images", "linked"), [(2, False), (1, True)])
def test_nothing_is_set_aside_without_an_attack_that_links_or_second_images(
    folder: Path, images: int, linked: bool
) -> None:
    parts, _ = split_parts(folder, images, linked)
    assert parts.siblings is None
    assert parts.notes == parts.members.notes
