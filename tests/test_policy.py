"""Policies: shipped, read from files, refused with a suggestion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from privaudit.errors import InputError
from privaudit.policy import BUILT_IN, Policy, built_in_text, load_policy


@pytest.mark.parametrize("name", BUILT_IN)
def test_shipped_policies_are_complete_and_read_like_files(name: str, tmp_path: Path) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.required_attacks == ("nearest-copy", "density-ratio")
    assert set(policy.required_plants) == {"mirrored", "jpeg", "cropped"}
    copy = tmp_path / "policy.yaml"
    copy.write_text(built_in_text(name))
    assert load_policy(str(copy)) == policy


def test_limits_that_the_data_can_show() -> None:
    default, demo = load_policy("default"), load_policy("demo")
    assert (default.tpr_limit, default.minimum_members, default.minimum_controls) == (0.05, 1000, 1000)
    assert (demo.tpr_limit, demo.minimum_members, demo.minimum_controls) == (0.10, 270, 270)
    assert [default.plant_dose(n) for n in (100, 1000, 1049, 3000)] == [10, 10, 10, 30]


def changed(tmp_path: Path, old: str, new: str) -> Policy:
    text = built_in_text("default")
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    return load_policy(str(path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tpr_limit:", "tpr_limt:", "Did you mean 'tpr_limit'"),
        ("tpr_limit: 0.05", "tpr_limit: 0.01", "tpr_limit"),
        ("tpr_limit: 0.05", "tpr_limit: 1", "tpr_limit"),
        ("tpr_limit: 0.05", "tpr_limit: much", "found 'much'"),
        ("required_plants: [mirrored, jpeg, cropped]", "required_plants: [miror]", "Did you mean 'mirrored'"),
        ("required_attacks: [nearest-copy, density-ratio]", "required_attacks: []", "required_attacks"),
        ("file_findings: fail", "file_findings: shrug", "file_findings"),
        ("suspected_q: 0.1", "suspected_q: 0.5", "suspected_q"),
        ("schema: 1", "schema: 2", "schema"),
        ("minimum_members: 1000", "minimum_members: 0", "minimum_members"),
        ("plant_dose_share: 0.01", "plant_dose_share: 0.5", "plant_dose_share"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        changed(tmp_path, old, new)
    assert said in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_a_date_may_be_written_as_one(tmp_path: Path) -> None:
    assert changed(tmp_path, 'date: ""', "date: 2026-03-01").date == "2026-03-01"


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "name: [unclosed", "just text"])
def test_files_that_are_no_policy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError):
        load_policy(str(path))


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Allowed: default, demo"):
        load_policy("strict")
    with pytest.raises(InputError, match="does not exist"):
        load_policy(str(tmp_path / "none.yaml"))


def test_a_policy_cannot_be_changed_in_place() -> None:
    policy: Any = load_policy("default")
    with pytest.raises(Exception, match="frozen"):
        policy.tpr_limit = 0.5
