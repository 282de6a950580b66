"""The verdict rule of one attack on one arm, as a function of the tally."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privaudit.statistics.detection import Detection, detect
from privaudit.statistics.exposure import list_depths, tpr_high, tpr_low
from privaudit.statistics.tally import Tally

ALPHA_FAIL = 0.01
ALPHA_INCONCLUSIVE = 0.05


@dataclass(frozen=True)
class Rule:
    """What the verdict depends on beside the tally.

    tpr_limit: largest TPR at 1 % FPR that the policy accepts. family: number of attacks with a verdict.
    list_q: false discovery rate of the suspected list before it is shared among the family.
    """

    tpr_limit: float
    family: int
    list_q: float = 0.1

    @property
    def q(self) -> float:
        """False discovery rate of this attack's list."""
        return self.list_q / self.family


@dataclass(frozen=True, eq=False)
class Reasons:
    """Which clauses of the rule hold, for each of D draws."""

    detected: NDArray[np.bool_]
    listed: NDArray[np.bool_]
    above_limit: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    on_top: NDArray[np.bool_]
    not_below_limit: NDArray[np.bool_]

    @property
    def fail(self) -> NDArray[np.bool_]:
        """p at or below .01 after Holm, or a list that is not empty, or a lower TPR bound above the limit."""
        return self.detected | self.listed | self.above_limit

    @property
    def inconclusive(self) -> NDArray[np.bool_]:
        """No fail, but p at or below .05, or R0's own p at or below .05, or an upper TPR bound above the limit."""
        return ~self.fail & (self.doubtful | self.on_top | self.not_below_limit)


def apply_rule(
    counts: Tally, rule: Rule, detection: Detection | None = None, p_holm: NDArray[np.float64] | None = None
) -> Reasons:
    """The clauses for each draw. Without `p_holm` every other attack of the family is taken to be silent."""
    found = detect(counts) if detection is None else detection
    adjusted = np.minimum(1.0, rule.family * found.p) if p_holm is None else p_holm
    return Reasons(
        detected=adjusted <= ALPHA_FAIL,
        listed=list_depths(counts, rule.q) >= 0,
        above_limit=tpr_low(counts) > rule.tpr_limit,
        doubtful=adjusted <= ALPHA_INCONCLUSIVE,
        on_top=found.r0_p <= ALPHA_INCONCLUSIVE,
        not_below_limit=tpr_high(counts) > rule.tpr_limit,
    )
