"""What this machine and this installation can do: one check each, with what a missing piece costs and what gets it."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from privaudit.errors import InputError
from privaudit.machine import cores, limits, memory

State = Literal["fine", "missing", "broken"]

NEWEST_TESTED: Mapping[str, str] = {
    "python": "3.11",
    "numpy": "2.4",
    "scipy": "1.17",
    "scikit-learn": "1.9",
    "torch": "2.13",
    "torchvision": "0.28",
    "Pillow": "13.0",
}
"""The newest versions that the tests have run with, as far as they are written here."""

EXTRAS: Mapping[str, tuple[str, str]] = {
    "datasets": ("pyarrow", "folders written by save_to_disk cannot be read"),
    "dicom": ("pydicom", "DICOM images cannot be read"),
}
"""Optional extras: the package that each brings, and what is lost without it."""

_LITTLE_MEMORY, _LITTLE_DISK = 2e9, 1e9
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)\s*>=\s*(?P<version>[\d.]+)")


@dataclass(frozen=True)
class Check:
    """Something that was looked at.

    state: 'missing' costs something, told in `costs`; with 'broken' an audit by all attacks cannot run. remedy: what
    to do about it.
    """

    name: str
    state: State
    found: str
    costs: str = ""
    remedy: str = ""


def checks(store: Path, weights: Path) -> Iterator[Check]:
    """Everything, in the order in which it is told. It takes some seconds: kernels are timed, plugins are loaded."""
    yield from _versions()
    yield from _cores()
    yield _memory()
    yield _disk(store)
    device, check = _device()
    yield check
    yield _precision(device)
    yield _compiler(device)
    yield _torchvision()
    yield _weights(weights)
    yield from _extras()
    yield from _plugins()
    yield Check("network", "fine", "never used")


def _versions() -> Iterator[Check]:
    from privaudit.manifest import commit, versions

    oldest = _oldest()
    for name, version in versions().items():
        needed, newest = oldest.get(name.lower()), NEWEST_TESTED.get(name)
        if version == "not installed":
            yield Check(
                name, "broken", version, "no audit runs without it", f"python -m pip install '{name}>={needed}'"
            )
        elif needed is not None and _numbers(version) < _numbers(needed):
            remedy = f"python -m pip install --upgrade '{name}>={needed}'"
            yield Check(name, "broken", version, f"too old: {needed} or later is needed", remedy)
        elif newest is not None and _numbers(version)[: len(_numbers(newest))] > _numbers(newest):
            costs = f"newer than what the tests have run with ({newest}); it may work"
            yield Check(name, "missing", version, costs, "look at a known result first: privaudit audit --demo")
        else:
            yield Check(name, "fine", version)
    yield Check("commit", "fine", commit() or "installed, no checkout")


def _oldest() -> dict[str, str]:
    """The oldest allowed versions, by name in small letters, from the installed package's own requirements."""
    try:
        texts = metadata.requires("privaudit") or []
    except metadata.PackageNotFoundError:
        return {}
    found = (_REQUIREMENT.match(text) for text in texts if "extra ==" not in text)
    return {match["name"].lower(): match["version"] for match in found if match is not None}


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.13.0+cpu gives 2, 13, 0."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def _cores() -> Iterator[Check]:
    from privaudit.manifest import processor

    yield Check("processor", "fine", processor())
    quota, count = limits().cores, cores()
    why = f" (the control group pays for {quota:g})" if quota is not None else ""
    each = "one task at a time" if count == 1 else f"{count} tasks at a time, one thread each"
    yield Check("cores", "fine", f"{count} usable{why}: {each}")


def _memory() -> Check:
    found, limit = memory(), limits().memory
    if found is None:
        return Check("memory", "fine", "not known")
    text = f"{found / 1e9:.1f} GB" + (" (limit of the control group)" if limit is not None else "")
    if found < _LITTLE_MEMORY:
        costs = "little: an audit of many images may be killed"
        return Check("memory", "missing", text, costs, "audit with --workers 1, --size or --max-suspects")
    return Check("memory", "fine", text)


def _disk(store: Path) -> Check:
    """Space where the store is, or would be made; nothing is made."""
    above = next(folder for folder in (store.absolute(), *store.absolute().parents) if folder.is_dir())
    try:
        free = shutil.disk_usage(above).free
    except OSError as error:
        return Check("disk", "missing", f"not known for '{store}' ({error.strerror})")
    text = f"{free / 1e9:.1f} GB free for the store '{store}'"
    if free < _LITTLE_DISK:
        costs = "little: a run stops when the disk is full, and goes on when there is space"
        return Check("disk", "missing", text, costs, "privaudit clean, or another place with --store")
    return Check("disk", "fine", text)


def _device() -> tuple[str, Check]:
    """The device that --device auto takes, and what there is."""
    import torch

    found = [f"cuda ({torch.cuda.get_device_name()})"] if torch.cuda.is_available() else []
    device = "cuda" if found else "cpu"
    found += ["mps"] if torch.backends.mps.is_available() else []
    return device, Check("devices", "fine", ", ".join(["cpu", *found]))


def _precision(device: str) -> Check:
    from privaudit.learning.networks import Architecture
    from privaudit.learning.precision import bfloat16_pays

    if bfloat16_pays(Architecture(name="resnet20", channels=3, classes=10, side=32), 64, device):
        return Check("precision", "fine", f"{device} computes in bfloat16, which engines use where it pays")
    costs = "engines take longer than on a processor that does"
    return Check("precision", "fine", f"{device} does not compute in bfloat16: {costs}")


def _compiler(device: str) -> Check:
    from privaudit.compiling import has_compiler

    if has_compiler(device):
        return Check("compiler", "fine", "found")
    costs = "bn-matching runs with plain kernels, at about two thirds of the speed; results differ in rounding only"
    what = "g++ and triton" if device == "cuda" else "g++"
    return Check("compiler", "missing", "none", costs, f"install {what} with the system's package manager, or set CXX")


def _torchvision() -> Check:
    from privaudit.torchvision_compat import import_torchvision, is_mended

    try:
        import_torchvision()
    except (ImportError, RuntimeError) as error:
        costs = "similarity is not measured (use --skip similarity), torchvision:NAME data cannot be read"
        found = f"torchvision does not load: {error}"
        return Check("operators", "missing", found, costs, "install a torchvision that fits torch")
    if is_mended():
        return Check("operators", "fine", "torchvision was built for another torch; mended here, nothing is lost")
    return Check("operators", "fine", "torchvision fits torch")


def _weights(folder: Path) -> Check:
    from privaudit.weights import KNOWN, stored

    try:
        kept = [name for name in KNOWN if stored(name, folder) is not None]
    except InputError as error:
        return Check(
            "weights", "broken", str(error), "an audit that measures similarity is refused", "--skip similarity"
        )
    if kept:
        return Check("weights", "fine", ", ".join(kept))
    return Check("weights", "missing", "none", "LPIPS is not assessed; SSIM and PSNR are", "privaudit weights add FILE")


def _extras() -> Iterator[Check]:
    for extra, (package, costs) in EXTRAS.items():
        if importlib.util.find_spec(package) is None:
            yield Check(extra, "missing", "not installed", costs, f"python -m pip install 'privaudit[{extra}]'")
        else:
            yield Check(extra, "fine", f"{package} {metadata.version(package)}")


def _plugins() -> Iterator[Check]:
    from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, synthesizer_class

    yield _loaded("attacks", ATTACKS, attack_class, "broken", "an audit by all attacks is refused")
    yield _loaded("synthesizers", SYNTHESIZERS, synthesizer_class, "missing", "it makes no candidates")


def _loaded(name: str, group: str, load: Callable[[str], Any], state: State, costs: str) -> Check:
    from privaudit.plugins import installed

    problems, points = list[str](), installed(group)
    for point in points:
        try:
            load(point)
        except InputError as error:
            problems.append(str(error))
    found = f"{len(points) - len(problems)} of {len(points)} load"
    if not points:
        return Check(name, state, "none installed", costs, "python -m pip install --force-reinstall privaudit")
    if problems:
        return Check(name, state, "; ".join([found, *problems]), costs, "uninstall what does not load, or mend it")
    return Check(name, "fine", found)
