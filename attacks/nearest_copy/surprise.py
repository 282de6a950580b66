"""How rare is a value among those of the attacker's own images?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def surprise(values: NDArray[np.float64], reference: NDArray[np.float64], smallest_slope: float) -> NDArray[np.float64]:
    """-log of the share of reference values at or above each value; an exponential tail beyond their top tenth.

    smallest_slope: the mean excess over that point is never taken for smaller (most reference values may be equal).
    """
    ordered = np.sort(reference)
    count = len(ordered)
    tail = min(count, max(10, count // 10))
    start = ordered[count - tail]
    excess = ordered[count - tail :] - start
    slope = max(float(excess.mean()), smallest_slope)
    at_or_above = count - np.searchsorted(ordered, values, side="left")
    body = -np.log((at_or_above + 1) / (count + 1))
    return np.where(values > start, -np.log((tail + 1) / (count + 1)) + (values - start) / slope, body)
