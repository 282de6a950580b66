"""An engine of the tests as an installed package would bring it."""

from __future__ import annotations

from pathlib import Path


def install_engine(folder: Path, name: str, target: str) -> str:
    """Write what an installed package leaves for its entry points; returns the PYTHONPATH that finds the engine.

    name: of the engine. target: its module, which lies beside this one, and its class.
    """
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[privaudit.synthesizers]\n{name} = {target}\n")
    return f"{folder}:{Path(__file__).parent}"
