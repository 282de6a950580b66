"""Who may import whom, and what no module does: read from the sources, and from what a started process loads."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"privaudit": "privaudit", "attacks": "privaudit.attacks", "synth": "privaudit.synth"}
PLUGINS = ("privaudit.attacks", "privaudit.synth")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
LONGEST = 400
HEAVY = ("torch", "torchvision", "sklearn", "matplotlib", "scipy.sparse")
_LEGACY_RANDOM = re.compile(
    r"\bnp\.random\.(?!default_rng\b|Generator\b|SeedSequence\b|PCG64\b|BitGenerator\b)"
    r"|\btorch\.(cuda\.)?(manual_seed|seed)\b"
)


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_source = pytest.mark.parametrize("path", SOURCES, ids=_relative)


def module_of(path: Path) -> str:
    """The dotted name under which a source file is installed."""
    folder, *rest = path.relative_to(ROOT).with_suffix("").parts
    return ".".join([FOLDERS[folder], *rest]).removesuffix(".__init__")


def imports(path: Path) -> Iterator[str]:
    """Everything that a file imports anywhere in it, as absolute dotted names ('from a import b' gives a and a.b)."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_names_are_resolved() -> None:
    """The helper above, on a file that is known."""
    path = ROOT / "attacks" / "nearest_copy" / "blocks.py"
    assert module_of(path) == "privaudit.attacks.nearest_copy.blocks"
    assert module_of(path.parent / "__init__.py") == "privaudit.attacks.nearest_copy"
    assert {"torch", "privaudit.attacks.nearest_copy.views.as_floats"} <= set(imports(path))


@each_source
def test_import_rules(path: Path) -> None:
    """The core knows no plugin; a plugin knows the core and its own folder; nobody uses the bare folder names."""
    module = module_of(path)
    bare = [name for name in imports(path) if name.split(".")[0] in ("attacks", "synth", "benchmarks", "tests")]
    assert not bare, f"{module} imports {bare}"
    home = next((plugin for plugin in PLUGINS if within(module, plugin)), None)
    own = ".".join(module.split(".")[:3])  # the plugin's own file or folder
    foreign = [
        name
        for name in imports(path)
        if any(within(name, plugin) for plugin in PLUGINS) and (home is None or not within(name, own))
    ]
    assert not foreign, f"{module} imports {foreign}"


@each_source
def test_only_the_command_line_talks_to_the_terminal(path: Path) -> None:
    if within(module_of(path), "privaudit.cli"):
        return
    found = [name for name in imports(path) if name.split(".")[0] in ("typer", "rich", "click")]
    assert not found
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "input")
    ]
    assert not calls, f"print or input in lines {calls}"


@each_source
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@each_source
def test_nothing_hidden_moves_a_number_or_runs_code(path: Path) -> None:
    """No global randomness, no generator shared by a module, no pickle, no unsafe YAML."""
    text = path.read_text(encoding="utf-8")
    assert not _LEGACY_RANDOM.search(text)
    loaded = {name.split(".")[0] for name in imports(path)}
    assert not loaded & {"random", "pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
    assert not re.search(r"\ballow_pickle\s*=\s*True", text)
    assert not re.search(r"\bweights_only\s*=\s*False", text)
    assert not re.search(r"\byaml\.(load|load_all|unsafe_load|full_load)\(", text)
    assert not re.search(r"\btorch\.load\((?![^)]*weights_only=True)", text)
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.Expr):
            assert "default_rng" not in ast.dump(node), f"a module-level generator in line {node.lineno}"


@each_source
def test_modules_are_documented(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("arguments", [["--help"], ["audit", "--help"], ["check", "--help"], ["compare", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        f"import sys\nsys.argv = ['privaudit', *{arguments!r}]\n"
        "from privaudit.cli import main\n"
        "try:\n    main()\nexcept SystemExit as leaving:\n    assert not leaving.code, leaving.code\n"
        f"print('loaded:', *(name for name in {HEAVY!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
