"""The cross-implementation score pack of references/attacks.md, section 7: (members, controls) by name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = tuple[NDArray[np.float64], NDArray[np.float64]]


def score_pack() -> dict[str, Scores]:
    rng = np.random.default_rng(7)
    members, controls = rng.standard_normal(1000), rng.standard_normal(1000)
    exposed = members.copy()
    exposed[:10] += 20
    swapped = members + 20
    swapped[0] = -20
    return {
        "null": (members, controls),
        "shift 1 sd": (members + 1, controls),
        "1 % exposed": (exposed, controls),
        "perfect separation": (members + 20, controls),
        "99.9 % separation": (swapped, controls),
        "three levels": (rng.integers(0, 3, 1000).astype(float), rng.integers(0, 3, 1000).astype(float)),
        "zero or one": ((rng.random(1000) < 0.6).astype(float), (rng.random(1000) < 0.5).astype(float)),
        "saturated": (np.minimum(members + 0.3, 0.5), np.minimum(controls, 0.5)),
        "reversed": (-members - 1, controls),
        "fewer members": (rng.standard_normal(300) + 0.2, rng.standard_normal(900)),
        "fewer controls": (rng.standard_normal(900) + 0.2, rng.standard_normal(300)),
        "unequal and tied": (rng.integers(0, 3, 300).astype(float), rng.integers(0, 3, 900).astype(float)),
    }


PACK = score_pack()
TIED = {"three levels", "zero or one", "saturated", "unequal and tied"}
