"""What differs between two runs, and which files are manifests of finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit.configuration import Configuration
from privaudit.errors import InputError
from privaudit.policy import load_policy
from privaudit.reproduction import RunManifest, asked_of, differences, read_manifest

CONFIGURATION = {"data": {"members": "a", "controls": "b"}, "candidates": [{"name": "c", "release": "r"}]}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_every_difference_is_named() -> None:
    before = {"verdict": "pass", "releases": [{"name": "a", "auc": 0.5, "gone": [1]}], "rows": [1, 2, 3], "x": {"y": 1}}
    now = {"verdict": "fail", "releases": [{"name": "a", "auc": 0.6, "new": True}], "rows": [1, 4], "x": {"y": 1}}
    assert list(differences(before, now)) == [
        "verdict: pass before, fail now",
        "releases[a].auc: 0.5 before, 0.6 now",
        "releases[a].gone: [1] before, nothing now",
        "releases[a].new: nothing before, true now",
        "rows[1]: 2 before, 4 now",
        "rows[2]: 3 before, nothing now",
    ]
    (long,) = differences({"long": "x" * 500}, {"long": 1})
    assert long == "long: " + "x" * 100 + "... before, 1 now"


@settings(deadline=None)
@given(JSON, JSON)
def test_nothing_differs_between_equals_only(one: Any, other: Any) -> None:
    assert list(differences(one, json.loads(json.dumps(one)))) == []
    assert (list(differences(one, other)) == []) == (one == other)


def manifest(**further: Any) -> dict[str, Any]:
    made = RunManifest(
        configuration=Configuration.model_validate(CONFIGURATION),
        policy=load_policy("default"),
        sources={},
        store="store",
        plan={},
        surroundings={"device": "cpu"},
        results={"record": {}, "hashes": {}},
    )
    return made.as_json() | further


def test_a_manifest_is_read_from_its_file_and_from_the_folder_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "run/private").mkdir(parents=True)
    path = tmp_path / "run/private/manifest.json"
    path.write_text(json.dumps(manifest()))
    for place in (path, path.parent, tmp_path / "run"):
        assert asked_of(read_manifest(place)) == Configuration.model_validate(CONFIGURATION)
    assert read_manifest(path).policy == load_policy("default")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "There is no manifest"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "must hold keys and values"),
        ('{"sources": {}, "store": "x", "plan": {}}', "earlier version of privaudit"),
        (manifest(results=None), "not finished"),
        (manifest(schema=2), "schema"),
        (manifest(extra=1), "unknown key 'extra'"),
        (manifest(configuration={"data": {}}), "members"),
    ],
)
def test_what_is_no_manifest_of_a_finished_run_is_refused(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / "manifest.json"
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_manifest(path)


def test_a_built_in_example_names_its_own_command(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest(configuration=None)))
    with pytest.raises(InputError, match="privaudit audit --demo"):
        asked_of(read_manifest(path))
