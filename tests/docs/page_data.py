"""The data that pages speak of, under the names that they use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

SHARED = Path(__file__).parents[3] / "shared"
CLASSES = ("a", "b")
SIDE = 16


def _images(count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grey images of coarse squares with noise."""
    coarse = rng.integers(20, 230, (count, 4, 4)).repeat(SIDE // 4, 1).repeat(SIDE // 4, 2)
    return np.clip(coarse + rng.normal(0, 15, (count, SIDE, SIDE)), 0, 255).astype(np.uint8)


def _write(folder: Path, count: int, rng: np.random.Generator, person: str | None = None) -> None:
    """Class folders with half of the images each. person: first letter of the groups, two images each."""
    lines = ["file,group"]
    for place, pixels in enumerate(_images(count, rng)):
        name, row = CLASSES[place * 2 // count], place % (count // 2)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{row:03d}.png")
        lines.append(f"{name}/{row:03d}.png,{person}{place // 2:02d}")
    if person is not None:
        (folder / "groups.csv").write_text("\n".join(lines) + "\n")


def folders(folder: Path) -> None:
    """Members and controls by person, a candidate with all that can be published beside it, and one source of all."""
    import torch

    from privaudit.images import Images
    from privaudit.learning import Recipe
    from privaudit.learning.training import new_network

    rng = np.random.default_rng(0)
    _write(folder / "private", 48, rng, "p")
    _write(folder / "held-out", 144, rng, "q")
    _write(folder / "everything", 460, rng)
    for name, count in (("candidate", 40), ("last-year", 30)):
        _write(folder / name, count, rng)
    np.save(folder / "soft.npy", np.full((40, 2), 0.5, dtype=np.float32))
    torch.manual_seed(0)
    images = Images(_images(4, rng)[..., None], np.array([0, 1, 0, 1]))
    new_network(Recipe(network="convnet"), images, 2, 0).save(folder / "teacher.safetensors")


def chest_x_rays(folder: Path) -> None:
    """The public X-rays of the tutorial."""
    source = SHARED / "data" / "chest_xray.npz"
    if not source.exists():
        pytest.skip("needs ../shared/data/chest_xray.npz beside the checkout")
    (folder / "chest_xray.npz").symlink_to(source)


def nothing(folder: Path) -> None:
    """Pages that bring all they need."""


PREPARE: Mapping[str, Callable[[Path], None]] = {
    "folders": folders,
    "chest-x-rays": chest_x_rays,
    "nothing": nothing,
    "plugin": nothing,
}
"""By the key `data` at the head of a page."""
