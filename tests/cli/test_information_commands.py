"""Help, init, plugins and doctor: quick, readable, without side effects."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from processes import cost, environment, run

import privaudit
from privaudit.configuration import Configuration, Data, load_configuration
from privaudit.policy import Policy

COMMANDS = (
    "run",
    "synthesize",
    "canaries",
    "audit",
    "check",
    "compare",
    "report",
    "init",
    "plugins",
    "explain",
    "doctor",
    "clean",
)
SCRIPT = Path(sys.executable).with_name("privaudit")


def test_help_names_every_command(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for command in COMMANDS:
        line = next(line for line in done.stdout.splitlines() if line.split()[:1] == [command])
        assert line.endswith((".", "?")), "cut off"
    assert "privaudit run --demo" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for jargon in ("<str>", "<int range>", "TEXT", "INTEGER"):
        assert jargon not in done.stdout


def test_help_is_quick(tmp_path: Path) -> None:
    """Of the console script where it is installed."""
    command = [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "privaudit"]
    asked = [*command, "--help"]
    assert cost(lambda: subprocess.run(asked, cwd=tmp_path, check=True, stdout=subprocess.DEVNULL, timeout=60)) < 0.5


def test_without_a_command_it_helps(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr


def test_init_writes_a_policy_that_is_valid(tmp_path: Path) -> None:
    done = run(tmp_path, "init")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "next: " in done.stdout
    text = (tmp_path / "policy.yaml").read_text(encoding="utf-8")
    assert text.count("#") > 10
    assert Policy.model_validate(yaml.safe_load(text)).name == "default"
    configuration = load_configuration(tmp_path / "audit.yaml")
    assert configuration.candidates[0].synthesizer == "bn-matching"
    assert configuration.data.members == str(tmp_path / "private")
    described = (tmp_path / "audit.yaml").read_text(encoding="utf-8")
    assert all(f"{key}:" in described for key in (*Configuration.model_fields, *Data.model_fields) if key != "schema_")
    (tmp_path / "policy.yaml").write_text("changed")
    assert run(tmp_path, "init").returncode == 2
    assert (tmp_path / "policy.yaml").read_text() == "changed"
    assert run(tmp_path, "init", ".", "--force").returncode == 0
    assert (tmp_path / "policy.yaml").read_text(encoding="utf-8") == text


def test_plugins_lists_the_built_in_attacks(tmp_path: Path) -> None:
    done = run(tmp_path, "plugins")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in ("nearest-copy", "density-ratio", "bn-matching"):
        assert f"  {name} (version " in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_version(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"privaudit {privaudit.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("audit", "--effort", "fast"), "'fast' is not one of 'quick', 'standard', 'thorough'."),
        (("audit", "--seed", "x"), "Invalid value for '--seed': it must be a whole number."),
        (("audit", "--size", "2"), "Invalid value for '--size': it must be at least 8."),
        (("run", "--time-limit", "soon"), "Invalid value for '--time-limit': it must be a number."),
    ],
)
def test_wrong_use_is_told_in_plain_words(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(said)
    assert "Value error" not in done.stderr


def test_module_and_script_are_the_same(tmp_path: Path) -> None:
    if shutil.which(str(SCRIPT)) is None:
        pytest.skip("the console script is not installed beside this interpreter")
    done = subprocess.run(
        [str(SCRIPT), "--help"],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.replace("python -m privaudit", "privaudit") == run(tmp_path, "--help").stdout.replace(
        "python -m privaudit", "privaudit"
    )
