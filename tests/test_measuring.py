"""Similarity and utility in an audit: every candidate has its own, and what cannot be measured stops nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_examples import DEMO, candidate, digits, hurry, install_fakes, plan_for

from privaudit import measuring
from privaudit.audit import collect
from privaudit.errors import IncompleteError, InputError
from privaudit.forecast import Speeds
from privaudit.plan import Plan
from privaudit.record import without_paths
from privaudit.store import Arrays, Store

FAST: dict[str, dict[str, Any]] = {"distance": {}}
POLICY = DEMO.model_copy(update={"required_attacks": ("distance",), "required_plants": ("mirrored",)})


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    install_fakes(monkeypatch)
    hurry(monkeypatch)


def plan(**changes: Any) -> Plan:
    return plan_for(digits().unseen.images, FAST, measure=("similarity",), **changes)


def refused(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise InputError("Usefulness needs two classes, not those in '/home/jane doe/data'.")


def crashed(arguments: Mapping[str, Any], inputs: Mapping[str, Arrays]) -> Arrays:
    raise RuntimeError("out of ideas")


def test_candidates_of_the_same_images_are_all_measured(tmp_path: Path) -> None:
    """The same place under two names, or an engine that made the same twice."""
    twins = [candidate(digits().unseen.images, name) for name in ("one", "two")]
    other = candidate(digits().unseen.images.take(np.arange(200)), "other")
    found = collect(plan(candidates=[*twins, other]), POLICY, Store(tmp_path)).facts.releases
    assert [release.name for release in found] == ["one", "two", "other"]
    assert found[0].similarity["ssim"] is not None
    assert found[0].similarity == found[1].similarity != found[2].similarity


def test_what_is_measured_and_what_is_not(tmp_path: Path) -> None:
    release = collect(plan(weights=tmp_path / "no weights"), POLICY, Store(tmp_path / "store")).facts.releases[0]
    ssim, psnr, lpips = (release.similarity[name] for name in ("ssim", "psnr", "lpips"))
    assert ssim is not None
    assert psnr is not None
    assert lpips is None
    assert ssim.name.startswith("ssim (kernel 11")
    assert ssim.place.low <= ssim.place.estimate <= ssim.place.high
    assert set(ssim.release) == set(ssim.controls) >= {"median", "p95", "max"}
    assert release.utility is None
    assert [note.partition(":")[0] for note in release.not_assessed[2:]] == ["utility", "LPIPS"]
    assert "privaudit weights add FILE" in release.not_assessed[-1]


def test_nothing_is_measured_without_controls(tmp_path: Path) -> None:
    release = collect(plan(controls=None, fresh=None, reference=None), POLICY, Store(tmp_path)).facts.releases[0]
    assert release.similarity == {}
    assert any("similarity and utility: not measured" in note for note in release.not_assessed)


def test_what_the_data_do_not_allow_is_noted_without_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "_UTILITY", f"{__name__}:refused")
    evidence = collect(replace(plan(), measure=("utility", "similarity")), POLICY, Store(tmp_path))
    release = evidence.facts.releases[0]
    assert "utility: Usefulness needs two classes, not those in (a path)." in release.not_assessed
    assert release.utility is None
    assert release.similarity["psnr"] is not None
    assert evidence.scores, "the attacks' results are kept"


def test_one_class_is_audited_without_utility(tmp_path: Path) -> None:
    data = digits()
    parts = {
        name: replace(part, images=replace(part.images, labels=part.images.labels * 0), class_names=("all",))
        for name in ("members", "controls", "fresh", "reference", "unseen")
        for part in (getattr(data, name),)
    }
    unseen = parts.pop("unseen").images
    changes: dict[str, Any] = dict(parts)
    found = collect(plan_for(unseen, FAST, measure=("utility",), **changes), POLICY, Store(tmp_path)).facts.releases[0]
    assert found.utility is None
    assert any(note.startswith("utility: ") and "two classes" in note for note in found.not_assessed)


def test_a_crash_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "_SIMILARITY", f"{__name__}:crashed")
    with pytest.raises(IncompleteError, match=r"RuntimeError: out of ideas\. .*--skip similarity") as error:
        collect(plan(), POLICY, Store(tmp_path))
    assert "test_measuring.py" in error.value.__notes__[0]


def test_damaged_weights_are_met(tmp_path: Path) -> None:
    (tmp_path / "squeezenet1_1-features.safetensors").write_bytes(b"cut")
    (tmp_path / "squeezenet1_1-features.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="damaged"):
        collect(plan(weights=tmp_path), POLICY, Store(tmp_path / "store"))


def test_speeds_of_measurements_are_learned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("privaudit.forecast._SHORT", 0.0)
    collect(plan(), POLICY, Store(tmp_path))
    assert "similarity" in json.loads((tmp_path / "speeds.json").read_text())
    learned = Speeds(Store(tmp_path)).seconds("similarity", 1e9)
    collect(plan(), POLICY, Store(tmp_path))
    assert Speeds(Store(tmp_path)).seconds("similarity", 1e9) == learned


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("No such file: '/home/jane doe/x.png'", "No such file: (a path)"),
        ('No such file: "data/p 1/x.png"', "No such file: (a path)"),
        ("cannot open /home/jane/x.png now", "cannot open (a path) now"),
        (r"cannot open C:\Users\jane\x.png", "cannot open (a path)"),
        (r"\\host\share\x is gone", "(a path) is gone"),
        ("~/data/x is gone", "(a path) is gone"),
        ("3/4 of them, 'quoted', and/or not", "3/4 of them, 'quoted', and/or not"),
    ],
)
def test_no_path_is_shared(text: str, shown: str) -> None:
    assert without_paths(text) == shown
