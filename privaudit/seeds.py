"""Randomness is passed down: child generators are derived from the run's seed by name."""

from __future__ import annotations

import hashlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """An independent generator for this seed and these names; the same on every machine."""
    text = "\x1f".join(str(name) for name in names)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "big")])


def repeated(seed: int, repeat: int) -> int:
    """The seed of the same settings once more from other random numbers; repeat 0: the seed itself."""
    return seed if repeat == 0 else int(generator(seed, "repeat", repeat).integers(2**31))
