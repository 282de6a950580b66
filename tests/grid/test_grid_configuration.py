"""The file of a benchmark: lines over what is common, names, seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from privaudit.configuration import example_text
from privaudit.errors import InputError
from privaudit.grid.configuration import Grid, load_grid

DATA = {"source": "all", "split": {"members": 1, "controls": 2, "fresh": 1, "reference": 1}}


def grid(**changes: Any) -> Grid:
    given: dict[str, Any] = {
        "data": DATA,
        "synthesizer": "bn-matching",
        "settings": {"base": None, "long": {"steps": 9}},
    }
    return Grid.model_validate(given | changes)


def test_a_line_goes_over_what_is_common() -> None:
    found = grid(
        common={"steps": 5, "teacher": {"network": "convnet", "epochs": 2}},
        settings={"base": None, "deep": {"teacher": {"epochs": 7}, "steps": 6}},
    )
    assert found.resolved("base") == ("bn-matching", {"steps": 5, "teacher": {"network": "convnet", "epochs": 2}})
    assert found.resolved("deep")[1] == {"steps": 6, "teacher": {"network": "convnet", "epochs": 7}}
    assert found.resolved("base again") == found.resolved("base")


def test_another_engine_does_not_get_what_is_common() -> None:
    found = grid(common={"steps": 5}, settings={"base": {}, "other": {"synthesizer": "toy", "each": 3}})
    assert found.resolved("other") == ("toy", {"each": 3})


def test_the_baseline_is_made_twice_from_other_random_numbers() -> None:
    found = grid(baseline="long")
    configuration = found.configuration(3, {"nearest-copy": {}})
    assert [(one.name, one.repeat) for one in configuration.candidates] == [("base", 0), ("long", 0), ("long again", 1)]
    assert configuration.candidates[1].settings == configuration.candidates[2].settings
    assert configuration.seed == 3
    assert configuration.skip == ("similarity",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": [0, 1]}, "at least 3"),
        ({"seeds": [0, 0, 1]}, "different numbers"),
        ({"baseline": "shorter"}, "none of the settings"),
        ({"settings": {"base": {}, "base again": {}}}, "kept for the repeat"),
        ({"settings": {"base": {}, "BASE": {}}}, "name of its own"),
        ({"settings": {"a/b": {}}}, "not usable"),
        ({"settings": {}}, "at least one"),
        ({"data": {"members": "m", "controls": "c"}}, "needs 'source' and 'split'"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    given = {"data": DATA, "synthesizer": "bn-matching", "settings": {"base": {}}} | changes
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(given))
    with pytest.raises(InputError, match=said):
        load_grid(path)


def test_an_unknown_key_is_refused_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text("data: {members: m, controls: c}\nsynthesizer: toy\nsetting: {base: {}}\n")
    with pytest.raises(InputError, match="settings"):
        load_grid(path)


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(
        yaml.safe_dump({"data": DATA, "synthesizer": "toy", "settings": {"base": None}, "policy": "mine.yaml"})
    )
    found = load_grid(path)
    assert found.data.source == str(tmp_path / "all")
    assert found.policy == str(tmp_path / "mine.yaml")


def test_the_example_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "grid.yaml"
    path.write_text(example_text("grid.yaml"))
    assert load_grid(path).names()[0] == "base"
