"""What a result depends on beside the data: versions, commit, hardware."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import privaudit

_PACKAGES = (
    *("numpy", "scipy", "scikit-learn", "torch", "torchvision", "Pillow"),
    *("opacus", "diffusers", "transformers", "opencv-python-headless"),
)


@lru_cache(maxsize=1)
def processor() -> str:
    """Model name of the processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


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
    return {"device": _name(device), "processor": processor(), "threads": 1, "versions": versions()}
