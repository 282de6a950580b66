"""A third party's attack, installed as a package of its own, is found and used in exactly the same way."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent / "plugin_package"
README = Path(__file__).parents[1] / "README.md"

_SHARED = """
import numpy as np
from privaudit import cells, plugins
from privaudit.errors import InputError
"""

_USED_LIKE_A_BUILT_IN = (
    _SHARED
    + """
names = plugins.installed(plugins.ATTACKS)
assert {"nearest-copy", "density-ratio", "pixel-distance"} <= set(names), names
rng = np.random.default_rng(1)
def images(count):
    return {"pixels": rng.integers(0, 256, (count, 16, 16, 3), np.uint8), "labels": np.zeros(count, np.int64)}
suspects, release, reference = images(60), images(40), images(40)
release["pixels"][:5] = suspects["pixels"][20:25]
for name in ("nearest-copy", "pixel-distance"):
    arguments = {"attack": name, "settings": {}, "seed": 3, "device": "cpu", "effort": "quick"}
    seen = cells.expose(arguments, {"release": release})
    scores = cells.attack(arguments, {"seen": seen, "suspects": suspects, "reference": reference})["scores"]
    assert scores.dtype == np.float64 and scores.shape == (60,)
    assert set(np.argsort(-scores)[:5]) == set(range(20, 25)), (name, scores)
"""
)

_SETTINGS_ARE_CHECKED = (
    _SHARED
    + """
assert plugins.make_attack("pixel-distance", {"power": 2}).power == 2.0
for settings in ({"powr": 2}, {"power": -1}):
    try:
        plugins.make_attack("pixel-distance", settings)
    except InputError as error:
        print(error)
"""
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process in which the package is installed."""
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(folder / "installed")]
    subprocess.run([*pip, *options, str(source)], check=True, timeout=120)
    return os.environ | {"PYTHONPATH": str(folder / "installed"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def _run(environment: dict[str, str], *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False, timeout=180)


def test_is_listed_and_used_like_a_built_in(environment: dict[str, str]) -> None:
    done = _run(environment, "-c", _USED_LIKE_A_BUILT_IN)
    assert done.returncode == 0, done.stderr


def test_its_settings_are_checked_like_a_built_in_s(environment: dict[str, str]) -> None:
    done = _run(environment, "-c", _SETTINGS_ARE_CHECKED)
    assert done.returncode == 0, done.stderr
    assert "Did you mean 'power'?" in done.stdout
    assert "greater than 0" in done.stdout


def test_the_command_line_shows_it(environment: dict[str, str]) -> None:
    done = _run(environment, "-m", "privaudit", "plugins")
    assert done.returncode == 0, done.stderr
    assert "pixel-distance" in done.stdout
    assert "holds the released images and compares them pixel by pixel" in " ".join(done.stdout.split())


def test_an_audit_runs_it(environment: dict[str, str], tmp_path: Path) -> None:
    """The demo, whose candidate holds members unchanged: with the plugin alone, through worker processes."""
    arguments = ("audit", "--demo", "--attacks", "pixel-distance", "--out", str(tmp_path / "run"), "--workers", "1")
    options = ("--skip", "utility,similarity")
    done = _run(environment, "-m", "privaudit", *arguments, *options, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "pixel-distance" in (tmp_path / "run" / "share" / "audit.json").read_text()


def test_the_readme_shows_its_code() -> None:
    readme = README.read_text(encoding="utf-8")
    for file in ("pixel_distance.py", "pyproject.toml"):
        assert (PACKAGE / file).read_text(encoding="utf-8") in readme, file
