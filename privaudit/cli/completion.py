"""Names that the shell completes. Nothing heavy is imported: the shell waits after each press of a key."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path

import privaudit

ATTACKS, SYNTHESIZERS = "privaudit.attacks", "privaudit.synthesizers"
"""The groups of entry points, as in `privaudit.plugins`, which is too slow to import here."""

MEASURES = ("similarity", "utility")
"""As in `privaudit.plan`."""

KINDS_OF_CANARIES = ("mislabelled", "out-of-distribution", "plain")
"""As in `privaudit.canaries`."""


def attacks(incomplete: str) -> list[str]:
    """Names of installed attacks; in a list with commas, the last one."""
    return _last(incomplete, _installed(ATTACKS))


def engines(incomplete: str) -> list[str]:
    """Names of installed synthesizers."""
    return _starting(incomplete, _installed(SYNTHESIZERS))


def skippable(incomplete: str) -> list[str]:
    """What --skip takes; in a list with commas, the last one."""
    return _last(incomplete, MEASURES)


def kinds_of_canaries(incomplete: str) -> list[str]:
    """How canaries are changed; in a list with commas, the last one."""
    return _last(incomplete, KINDS_OF_CANARIES)


def policies(incomplete: str) -> list[str]:
    """Names of shipped policies, and policy files in the folder that is typed."""
    return _starting(incomplete, _shipped()) + _files(incomplete, (".yaml", ".yml"))


def configurations(incomplete: str) -> list[str]:
    """Configuration files in the folder that is typed."""
    return _files(incomplete, (".yaml", ".yml"))


def explained(incomplete: str) -> list[str]:
    """Everything that `privaudit explain` knows."""
    from privaudit.cli.explain import known_names

    return _starting(incomplete, (name for name in known_names() if " " not in name))


def _installed(group: str) -> set[str]:
    return {point.name for point in entry_points(group=group)}


def _shipped() -> list[str]:
    return [path.stem for path in (Path(privaudit.__file__).parent / "policies").glob("*.yaml")]


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _last(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    left = set(names) - set(before.split(","))
    return [f"{before}{comma}{name}" for name in _starting(last, left)]


def _files(incomplete: str, suffixes: tuple[str, ...]) -> list[str]:
    """Files of these kinds, and folders with a stroke at the end, that begin as typed."""
    folder, stroke, name = incomplete.rpartition("/")
    found = []
    try:
        for path in Path(f"{folder}{stroke}" or ".").iterdir():
            if path.name.startswith(name) and not (path.name.startswith(".") and not name):
                if path.is_dir():
                    found.append(f"{folder}{stroke}{path.name}/")
                elif path.suffix in suffixes:
                    found.append(f"{folder}{stroke}{path.name}")
    except OSError:
        return []
    return sorted(found)
