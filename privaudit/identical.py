"""Verified identical copies: members whose decoded pixels are released unchanged. A proof, not a test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.images import Images

_FLAT_LEVELS = 2.0


@dataclass(frozen=True)
class Identical:
    """Pairs (member row, released row) of identical images, and how many released images prove nothing.

    common: released images equal to a member that are flat, or that equal an image outside the members too.
    """

    pairs: tuple[tuple[int, int], ...]
    common: int


def _is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether no channel varies: a plain colour is flat too."""
    return float(pixels.std(axis=(0, 1)).max()) < _FLAT_LEVELS


def identical_copies(members: Images, others: list[Images], release: Images) -> Identical:
    """Compare decoded pixels. others: controls and fresh images."""
    if members.size != release.size:
        return Identical((), 0)
    rows: dict[bytes, list[int]] = {}
    for row, digest in enumerate(members.image_digests()):
        rows.setdefault(digest, []).append(row)
    elsewhere = {digest for part in others if part.size == members.size for digest in part.image_digests()}
    pairs: list[tuple[int, int]] = []
    common = 0
    for released, digest in enumerate(release.image_digests()):
        if digest not in rows:
            continue
        if digest in elsewhere or _is_flat(release.pixels[released]):
            common += 1
        else:
            pairs += [(row, released) for row in rows[digest]]
    return Identical(tuple(sorted(pairs)), common)


def public_already(images: Images, public: Images | None) -> NDArray[np.bool_]:
    """Which images are public already, pixel by pixel. bool [N]."""
    if public is None or public.size != images.size:
        return np.zeros(len(images), dtype=bool)
    known = set(public.image_digests())
    return np.array([digest in known for digest in images.image_digests()], dtype=bool)
