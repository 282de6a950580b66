"""Paired comparison of two runs: by hand, against the unpaired AUC, and its rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from privaudit.statistics.paired import auc_change, changes, exposure_change

Scores = NDArray[np.float64]


def noisy(rng: np.random.Generator, n_members: int, n_controls: int, shift: float = 0.0) -> tuple[Scores, Scores]:
    return rng.normal(shift, 1, n_members), rng.normal(size=n_controls)


def test_mcnemar_by_hand() -> None:
    controls = np.arange(100.0)  # the threshold at 1 % is the second highest control, 98
    before = np.array([99.5, 99.5, 0, 0, 0, 0, 0, 0, 0, 0])
    after = np.array([99.5, 0, 99.5, 99.5, 99.5, 99.5, 99.5, 0, 0, 0])
    change = exposure_change((before, controls), (after, controls))
    assert (change.baseline, change.run) == (0.2, 0.6)
    assert change.metric == "tpr_at_1pct_fpr"
    # five members became exposed and one no longer is: at least 5 of 6 fair coins
    assert change.p_worse == pytest.approx(stats.binom.sf(4, 6, 0.5))
    assert change.p_better == pytest.approx(stats.binom.sf(0, 6, 0.5))
    assert change.low < 0.4 < change.high


def test_equal_runs_differ_in_nothing() -> None:
    sides = noisy(np.random.default_rng(0), 200, 2000)
    for change in changes(sides, sides):
        assert change.run == change.baseline
        assert (change.low, change.high) == (0, 0)
        assert min(change.p_worse, change.p_better) >= 0.5


def test_auc_change_is_the_difference_of_the_aucs_and_changes_sign_with_the_order() -> None:
    rng = np.random.default_rng(1)
    first, second = noisy(rng, 150, 250), noisy(rng, 150, 250, 0.5)
    truth = np.repeat([1, 0], [150, 250])
    change, reverse = auc_change(first, second), auc_change(second, first)
    assert change.baseline == pytest.approx(roc_auc_score(truth, np.concatenate(first)))
    assert change.run == pytest.approx(roc_auc_score(truth, np.concatenate(second)))
    assert change.p_worse == pytest.approx(reverse.p_better)
    assert (change.low, change.high) == pytest.approx((-reverse.high, -reverse.low))
    assert change.p_worse < 0.001 < change.p_better


def test_auc_interval_covers_and_false_alarms_keep_their_level() -> None:
    rng = np.random.default_rng(2)
    runs, misses, alarms = 400, 0, np.zeros(3)
    for _ in range(runs):
        common = rng.normal(size=300), rng.normal(size=1000)
        pair = [tuple(part + rng.normal(size=len(part)) for part in common) for _ in range(2)]
        found = changes((pair[0][0], pair[0][1]), (pair[1][0], pair[1][1]))
        misses += not found[0].low <= 0 <= found[0].high
        alarms += [change.p_worse <= 0.05 for change in found]
    allowed = stats.binom.ppf(0.999, runs, 0.05)
    assert misses <= allowed
    assert (alarms <= allowed).all()


def test_one_per_cent_of_newly_exposed_members_is_found() -> None:
    rng = np.random.default_rng(3)
    members, controls = noisy(rng, 3000, 7000)
    again = members + rng.normal(0, 0.1, 3000), controls + rng.normal(0, 0.1, 7000)
    exposed = again[0].copy()
    exposed[:30] = 10
    found = {change.metric: change for change in changes((members, controls), (exposed, again[1]))}
    assert found["tpr_at_0_1pct_fpr"].p_worse < 0.01
    quiet = changes((members, controls), again)
    assert min(change.p_worse for change in quiet) > 0.01
