"""What a result depends on beside the data: versions, commit, hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import privaudit
from privaudit.compiling import has_compiler

_PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "torch", "torchvision", "Pillow"),
    *("opacus", "diffusers", "transformers", "opencv-python-headless"),
)


_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
"""Those by which numerical libraries choose their kernels, and so the last bits."""


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def instruction_sets() -> tuple[str, ...]:
    """What the processor can do beside the common instructions; empty where the system does not tell."""
    flags = set(_cpuinfo().get("flags", "").split())
    return tuple(name for name in _INSTRUCTION_SETS if name in flags)


def processor() -> str:
    """Model name of the processor, and what it can do: virtual machines of one name run on different ones."""
    name = _cpuinfo().get("model name") or platform.processor() or platform.machine()
    return " ".join([name, *(f"+{each}" for each in instruction_sets())])


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Versions of the interpreter, of this package and of those that move numbers."""
    found = {"python": platform.python_version(), "privaudit": privaudit.__version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Commit of the checkout this package is used from, '+changes' where it differs; None when installed."""
    folder = Path(privaudit.__file__).parent
    if not (folder.parent / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _name(device: str) -> str:
    """The device and, for a GPU, its model."""
    if device != "cuda":
        return device
    import torch

    return f"cuda {torch.cuda.get_device_name()}"


def result_facts(device: str) -> dict[str, Any]:
    """What results depend on bit by bit: part of every key in the store."""
    return {
        "device": _name(device),
        "processor": processor(),
        "threads": 1,
        "compiler": has_compiler(device),
        "versions": versions(),
    }
