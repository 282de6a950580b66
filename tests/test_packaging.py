"""What is built and installed is what is in git: wheel, source distribution and editable install."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import privaudit

ROOT = Path(__file__).parents[1]
FOLDERS = {"privaudit": "privaudit", "attacks": "privaudit/attacks", "synth": "privaudit/synth"}
BUILD_FILES = {"pyproject.toml", "setup.py", "README.md", "LICENSE"}
GROUPS = ("console_scripts", "privaudit.attacks")


def _run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _sources() -> list[str]:
    """Files that git knows, or would add: what a fresh clone holds once this is committed."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = _run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


@dataclass(frozen=True)
class Built:
    """A clean copy of the checkout, and what was built from it."""

    folder: Path
    sources: list[str]
    wheel: Path
    sdist: Path

    def wheel_files(self) -> set[str]:
        with zipfile.ZipFile(self.wheel) as file:
            return {name for name in file.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel is built from the unpacked source distribution, so that one holds all that building needs."""
    sources = _sources()
    folder = tmp_path_factory.mktemp("clean")
    for name in sources:
        target = folder / "checkout" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", cwd=folder / "checkout")
    (wheel,) = (folder / "dist").glob("*.whl")
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    return Built(folder, sources, wheel, sdist)


@pytest.fixture(scope="module")
def site(built: Built) -> Path:
    """The wheel, installed into a folder."""
    target = built.folder / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "--no-deps", "--no-index", "--target", target, built.wheel, cwd=built.folder)
    return target


def _python(program: str, site: Path) -> str:
    """Run a program beside an installed copy, outside the checkout; the copy goes before an editable install."""
    return _run(sys.executable, "-c", program, cwd=site.parent, PYTHONPATH=str(site)).strip()


def test_wheel_holds_exactly_what_git_holds(built: Built) -> None:
    expected = set()
    for name in built.sources:
        folder, _, rest = name.partition("/")
        if folder in FOLDERS:
            expected.add(f"{FOLDERS[folder]}/{rest}")
    found = {name for name in built.wheel_files() if not name.split("/")[0].endswith(".dist-info")}
    assert found == expected
    assert "privaudit/py.typed" in found
    assert {Path(name).suffix for name in found} >= {".py", ".yaml", ".html", ".css", ".typed"}


def test_wheel_installs_one_name_only(built: Built) -> None:
    """No top-level `attacks`, `synth`, `benchmarks` or `tests` lands in site-packages."""
    version = privaudit.__version__
    assert {name.split("/")[0] for name in built.wheel_files()} == {"privaudit", f"privaudit-{version}.dist-info"}
    with zipfile.ZipFile(built.wheel) as file:
        assert file.read(f"privaudit-{version}.dist-info/top_level.txt").decode().split() == ["privaudit"]
        metadata = file.read(f"privaudit-{version}.dist-info/METADATA").decode()
        points = file.read(f"privaudit-{version}.dist-info/entry_points.txt").decode()
    assert f"Version: {version}" in metadata
    assert "License-Expression: Apache-2.0" in metadata
    assert [f"[{group}]" in points for group in GROUPS] == [True] * len(GROUPS)
    assert "privaudit = privaudit.cli:main" in points


def test_sdist_is_complete(built: Built) -> None:
    with tarfile.open(built.sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    needed = BUILD_FILES | {name for name in built.sources if name.split("/")[0] in FOLDERS}
    assert needed <= names
    assert not [name for name in names if name.startswith(("benchmarks/", ".ci/"))]


def test_installed_wheel_works(site: Path) -> None:
    place = "import privaudit.attacks.nearest_copy as plugin; print(plugin.__file__)"
    assert Path(_python(place, site)).is_relative_to(site)
    assert _python("from privaudit.policy import load_policy; print(load_policy('default').name)", site) == "default"
    program = "import privaudit.attacks.density_ratio, privaudit.synth, privaudit.reporting.page, privaudit.runs"
    assert _python(program, site) == ""


def test_installed_command_answers(built: Built, site: Path) -> None:
    shown = _run(sys.executable, "-m", "privaudit", "--help", cwd=built.folder, PYTHONPATH=str(site))
    assert "audit" in shown
    program = "from privaudit.plugins import ATTACKS, installed; print(sorted(installed(ATTACKS)))"
    assert _python(program, site) == str(sorted(entry_points(group="privaudit.attacks").names))
    assert (site / "bin" / "privaudit").exists() or (site / "Scripts" / "privaudit.exe").exists()


@pytest.mark.parametrize("group", GROUPS)
def test_entry_points_lead_somewhere(group: str) -> None:
    points = [point for point in entry_points(group=group) if point.value.split(":")[0].startswith("privaudit.")]
    assert points
    for point in points:
        assert callable(point.load())


def test_editable_install_finds_the_mapped_folders(built: Built, tmp_path: Path) -> None:
    """In a virtual environment of its own that borrows the libraries of this one."""
    import venv

    environment = tmp_path / "venv"
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    program = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = Path(_run(python, "-c", program, cwd=tmp_path).strip())
    libraries = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (purelib / "borrowed.pth").write_text("\n".join(libraries) + "\n")
    checkout = shutil.copytree(built.folder / "checkout", tmp_path / "checkout")
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", "--prefix", environment)
    _run(*pip, *options, "--editable", checkout, cwd=tmp_path)
    found = _run(
        python,
        "-c",
        "import privaudit, privaudit.attacks.nearest_copy, privaudit.synth\n"
        "for module in (privaudit, privaudit.attacks.nearest_copy, privaudit.synth): print(module.__file__)",
        cwd=tmp_path,
    )
    places = [Path(line).resolve().relative_to(checkout.resolve()).parent.as_posix() for line in found.splitlines()]
    assert places == ["privaudit", "attacks/nearest_copy", "synth"]


def test_every_requirement_has_a_tested_version() -> None:
    """In its range; and nothing is pinned twice, or to what is not a release in a registry."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {canonicalize_name(name): Version(version) for name, _, version in (line.partition("==") for line in lines)}
    assert len(pins) == len(lines)
    assert all(version.local is None and not version.is_prerelease for version in pins.values())
    wanted = [*project["dependencies"], *(name for part in project["optional-dependencies"].values() for name in part)]
    for requirement in map(Requirement, wanted):
        name = canonicalize_name(requirement.name)
        if name != "setuptools":  # which pip leaves out of what it lists
            assert pins[name] in requirement.specifier, requirement
