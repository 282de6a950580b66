"""From cells to lines: what is shown, what is noise, ranks, the frontier, and an earlier benchmark."""

from __future__ import annotations

import numpy as np
import pytest
from grid_examples import AUC, grid_of, record_of, table_of

from privaudit.errors import InputError
from privaudit.grid.comparison import against, failing, is_worse
from privaudit.grid.record import EXPOSED, UTILITY, Cell
from privaudit.reporting.grid_view import headline

NAMES = ("base", "leaky", "useful", "poor")
MEANS = {
    "base": (0.02, 0.52, 0.60),
    "leaky": (0.10, 0.60, 0.70),
    "useful": (0.02, 0.52, 0.70),
    "poor": (0.10, 0.60, 0.40),
}


def test_what_differs_is_shown_and_what_does_not_is_not() -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    said = {line.name: {one.figure: one.verdict for one in line.differences} for line in record.lines}
    assert said["base"] == {}
    assert said["leaky"] == {EXPOSED: "leakier", AUC: "leakier", UTILITY: "better"}
    assert said["useful"] == {EXPOSED: "no difference shown", AUC: "no difference shown", UTILITY: "better"}
    assert said["poor"] == {EXPOSED: "leakier", AUC: "leakier", UTILITY: "worse"}
    assert is_worse(record)


def test_less_leaky_needs_five_seeds_that_all_say_so() -> None:
    means = {"base": MEANS["leaky"], "safer": MEANS["base"]}
    for seeds, expected in ((5, "less leaky"), (4, "no difference shown")):
        grid = grid_of(("base", "safer"), seeds)
        record = record_of(grid, table_of(grid, means))
        assert {one.verdict for one in record.lines[1].differences if one.figure != UTILITY} == {expected}
    grid = grid_of(("base", "safer"))
    table = dict(table_of(grid, means, noise=0.0001))
    cell = table["safer", 3]
    table["safer", 3] = cell.model_copy(update={"figures": {**cell.figures, EXPOSED: 0.2}})
    record = record_of(grid, table)
    assert [one.verdict for one in record.lines[1].differences if one.figure == EXPOSED] == ["no difference shown"]


def test_a_setting_that_fails_the_policy_counts_as_worse_whatever_the_averages_show() -> None:
    grid = grid_of(("base", "other"))
    table = dict(table_of(grid, {"base": MEANS["base"], "other": MEANS["base"]}))
    assert not is_worse(record_of(grid, table))
    table["other", 2] = table["other", 2].model_copy(update={"verdict": "fail"})
    record = record_of(grid, table)
    assert failing(record) == ("other",)
    assert is_worse(record)
    assert "Fails the policy: other in 1 of 5 seeds ('base' in 0)" in headline(record)


def test_no_share_is_certain() -> None:
    """No member exposed with any seed: the interval still has the width that so many members leave open."""
    grid = grid_of(("base", "other"))
    table = {
        place: cell.model_copy(update={"figures": {**cell.figures, EXPOSED: 0.0}})
        for place, cell in table_of(grid, {"base": MEANS["base"], "other": MEANS["base"]}).items()
    }
    interval = record_of(grid, table).lines[0].figures[EXPOSED]
    share = 1 / 2002
    assert interval.low == 0
    assert interval.high == pytest.approx(2.776 * np.sqrt(share * (1 - share) / 2000 / 5), rel=1e-3)


def test_means_are_paired() -> None:
    """What a seed has in common cancels: the differences are known ten times better than the levels."""
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS, noise=0.0001))
    leaky = next(line for line in record.lines if line.name == "leaky")
    (exposed,) = [one for one in leaky.differences if one.figure == EXPOSED]
    assert exposed.mean == pytest.approx(0.08, abs=0.001)
    assert exposed.high - exposed.low < 0.1 * (leaky.figures[EXPOSED].high - leaky.figures[EXPOSED].low)


def test_frontier_and_who_is_beaten() -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    lines = {line.name: line for line in record.lines}
    assert lines["useful"].on_frontier
    assert not lines["poor"].on_frontier
    assert set(lines["poor"].dominated_by) == {"base", "useful"}
    assert lines["useful"].leakage_ranks == (1, 2)
    assert lines["poor"].utility_ranks == (4, 4)


def test_a_difference_within_the_noise_band_is_not_shown() -> None:
    """The repeat of the baseline differs by much, now up and now down: nothing smaller can be believed."""
    grid = grid_of(NAMES)
    table = dict(table_of(grid, MEANS))
    for seed in grid.seeds:
        cell = table[grid.again, seed]
        up = 0.3 if seed % 2 else -0.3
        table[grid.again, seed] = cell.model_copy(
            update={"figures": {name: value + up for name, value in cell.figures.items()}}
        )
    record = record_of(grid, table)
    assert record.noise[EXPOSED] > 0.1
    assert {one.verdict for line in record.lines for one in line.differences} == {"no difference shown"}
    assert not is_worse(record)


@pytest.mark.parametrize("runs", [40, pytest.param(400, marks=pytest.mark.slow)])
def test_equal_settings_are_rarely_called_leakier(runs: int) -> None:
    names = ("base", *(f"s{place}" for place in range(5)))
    grid = grid_of(names, seeds=3)
    means = dict.fromkeys(names, (0.02, 0.52, 0.60))
    alarms = sum(is_worse(record_of(grid, table_of(grid, means, seed=seed))) for seed in range(runs))
    assert alarms <= 0.1 * runs + 1


def test_a_setting_that_was_not_finished_has_no_line() -> None:
    grid = grid_of(NAMES)
    table = dict(table_of(grid, MEANS))
    table["poor", 2] = Cell(
        setting="poor", seed=2, verdict=None, failure="too large", release=None, images=0, figures={}
    )
    record = record_of(grid, table)
    assert [line.name for line in record.lines] == ["base", "leaky", "useful"]
    assert [cell.failure for cell in record.unfinished] == ["too large"]


def test_without_its_baseline_there_is_nothing_to_compare_with() -> None:
    grid = grid_of(NAMES)
    table = dict(table_of(grid, MEANS))
    table["base", 1] = Cell(
        setting="base", seed=1, verdict=None, failure="too large", release=None, images=0, figures={}
    )
    with pytest.raises(InputError, match=r"baseline 'base' was not finished .* too large"):
        record_of(grid, table)


def test_against_itself_nothing_changed() -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    found = against(record, record)
    assert {change.difference.verdict for change in found} == {"no difference shown"}
    assert all(change.difference.mean == 0 for change in found)


def test_a_setting_that_became_leakier_is_found() -> None:
    grid = grid_of(NAMES)
    before = record_of(grid, table_of(grid, MEANS))
    after = record_of(grid, table_of(grid, MEANS | {"useful": (0.06, 0.56, 0.70)}))
    found = against(after, before)
    leakier = {change.setting for change in found if change.difference.verdict == "leakier"}
    assert leakier == {"useful"}
    assert is_worse(before.model_copy(update={"against": found}))


@pytest.mark.parametrize("key", ["data", "attacks", "effort"])
def test_what_cannot_be_compared_is_refused(key: str) -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    other = record.model_copy(update={"facts": {**record.facts, key: "other"}})
    with pytest.raises(InputError, match=f"differ in {key}"):
        against(record, other)


def test_a_changed_setting_under_an_old_name_is_refused() -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    lines = tuple(
        line.model_copy(update={"settings": {"each": 99}}) if line.name == "poor" else line for line in record.lines
    )
    with pytest.raises(InputError, match="'poor' has other settings"):
        against(record.model_copy(update={"lines": lines}), record)


def test_the_record_survives_its_file() -> None:
    grid = grid_of(NAMES)
    record = record_of(grid, table_of(grid, MEANS))
    again = type(record).model_validate_json(record.model_dump_json(by_alias=True))
    assert again == record
    assert np.isfinite([one.p_leakier for line in record.lines for one in line.differences]).all()
