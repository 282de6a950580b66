"""Codes that a network which runs backwards turns into images: the place of an image in its class, and the class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BASE = 3
_CLASS_WEIGHT = 3.0


def digits_for(count: int) -> int:
    """How many digits to the base 3 tell so many images apart; at least one."""
    digits = 1
    while _BASE**digits < count:
        digits += 1
    return digits


def gray(places: NDArray[np.int64], digits: int) -> NDArray[np.int64]:
    """Gray code to the base 3, int64 [N, digits], the lowest digit first: the codes of neighbours differ in one digit.

    Each digit of the place less the next higher one, modulo 3.
    """
    plain = places[:, None] // _BASE ** np.arange(digits + 1) % _BASE
    found: NDArray[np.int64] = (plain[:, :-1] - plain[:, 1:]) % _BASE
    return found


def code_length(classes: int, per_class: NDArray[np.int64]) -> int:
    """Numbers in a code: one for each class, more where the largest class has more images than these can tell apart."""
    return max(classes, digits_for(int(per_class.max(initial=1))))


def codes(per_class: NDArray[np.int64], length: int) -> NDArray[np.float32]:
    """Codes of all images, class by class, float32 [sum of per_class, length].

    per_class: int64 [classes], how many images each class has. The Gray code of an image's place within its class, with
    three added to the number of its class (Amit, Levy, Mirsky 2024, arXiv 2311.07389).
    """
    labels = labels_of_codes(per_class)
    places = np.arange(len(labels)) - np.repeat(np.cumsum(per_class) - per_class, per_class)
    found = gray(places, length).astype(np.float32)
    found[np.arange(len(labels)), labels] += _CLASS_WEIGHT
    return found


def labels_of_codes(per_class: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of each code, int64 [sum of per_class]."""
    return np.repeat(np.arange(len(per_class), dtype=np.int64), per_class)
