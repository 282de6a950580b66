"""`privaudit doctor`: what is missing, what that costs, and what gets it; and when no audit can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import run

from privaudit import diagnosis, machine
from privaudit.diagnosis import Check
from privaudit.machine import Limits


def test_what_it_tells(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", extra={"CXX": "no-such-compiler", "PRIVAUDIT_WEIGHTS": "none"})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert any(line.startswith("- compiler ") and "two thirds of the speed" in line for line in lines)
    assert any(line.startswith("- weights ") and "LPIPS is not assessed" in line for line in lines)
    assert "what to do: privaudit weights add FILE" in done.stdout
    for name in ("cores", "memory", "disk", "precision", "datasets", "dicom", "attacks", "synthesizers"):
        assert any(line[2:].startswith(f"{name} ") for line in lines), name
    assert lines[-1].startswith("Ready.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_json(tmp_path: Path) -> None:
    done = run(tmp_path, "doctor", "--json")
    found = json.loads(done.stdout)
    assert found["ready"] is True
    assert {"torch", "memory", "network"} <= {check["name"] for check in found["checks"]}
    assert {check["state"] for check in found["checks"]} <= {"fine", "missing", "broken"}


@pytest.mark.slow
def test_damaged_weights_stop_an_audit(tmp_path: Path) -> None:
    for name in ("safetensors", "json"):
        (tmp_path / f"squeezenet1_1-features.{name}").write_bytes(b"cut")
    done = run(tmp_path, "doctor", "--weights", ".")
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "Not ready. First mend: weights."


@pytest.mark.parametrize(
    ("version", "state"),
    [("1.0", "broken"), ("2.10.9", "broken"), ("2.11", "fine"), ("2.13.5+cpu", "fine"), ("2.14.0", "missing")],
)
def test_versions(monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
    """2.11 is needed, 2.13 is the newest that was tested; 2.13.5 is one of these."""
    monkeypatch.setattr("privaudit.manifest.versions", lambda: {"torch": version})
    monkeypatch.setattr(diagnosis, "_oldest", lambda: {"torch": "2.11"})
    monkeypatch.setattr(diagnosis, "NEWEST_TESTED", {"torch": "2.13"})
    check = next(check for check in diagnosis._versions() if check.name == "torch")
    assert check.state == state
    assert bool(check.costs and check.remedy) == (state != "fine")


def test_the_oldest_versions_are_those_of_the_package() -> None:
    assert diagnosis._oldest()["torch"] == "2.11"
    assert "pyarrow" not in diagnosis._oldest(), "an extra"


def test_an_attack_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    point = EntryPoint("lost", "no_such_module:Lost", "privaudit.attacks")
    monkeypatch.setattr("privaudit.plugins.installed", lambda group: {"lost": point})
    attacks, engines = diagnosis._plugins()
    assert (attacks.state, engines.state) == ("broken", "missing")
    assert "'lost' cannot be loaded" in attacks.found


def test_an_extra_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "EXTRAS", {"special": ("no_such_package", "special files cannot be read")})
    (check,) = diagnosis._extras()
    assert check == Check(
        "special",
        "missing",
        "not installed",
        "special files cannot be read",
        "python -m pip install 'privaudit[special]'",
    )


def test_weights_that_are_damaged(tmp_path: Path) -> None:
    for name in ("safetensors", "json"):
        (tmp_path / f"squeezenet1_1-features.{name}").write_bytes(b"cut")
    assert diagnosis._weights(tmp_path).state == "broken"


def test_limits_of_a_control_group_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (machine, diagnosis):
        monkeypatch.setattr(place, "limits", lambda: Limits(1.5, 10**9))
    *_, cores = diagnosis._cores()
    assert cores.found == "1 usable (the control group pays for 1.5): one task at a time"
    assert diagnosis._memory().found == "1.0 GB (limit of the control group)"
    assert diagnosis._memory().state == "missing"
