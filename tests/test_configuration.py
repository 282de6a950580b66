"""audit.yaml: what it may say, where its paths lie, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from privaudit.configuration import Configuration, example_text, load_configuration
from privaudit.demo import configuration as demo
from privaudit.errors import InputError

SMALL: dict[str, Any] = {
    "data": {"members": "a", "controls": "b"},
    "candidates": [{"name": "one", "release": "c"}],
}


def load(folder: Path, content: Any) -> Configuration:
    path = folder / "audit.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return load_configuration(path)


def changed(path: str, value: Any) -> dict[str, Any]:
    """SMALL with another value at a path such as 'data.members' or 'candidates.0.name'; None takes it away."""
    content: dict[str, Any] = yaml.safe_load(yaml.safe_dump(SMALL))
    place: Any = content
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in above:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return content


def test_defaults_and_relative_paths(tmp_path: Path) -> None:
    found = load(tmp_path, SMALL)
    assert (found.data.members, found.data.controls) == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert found.candidates[0].release == str(tmp_path / "c")
    assert (found.policy, found.effort, found.seed, found.skip) == ("default", "standard", 0, ())
    assert found.attacks == {}


def test_every_place_is_relative_to_the_file_but_names_are_names(tmp_path: Path) -> None:
    content = {
        "data": {"source": "torchvision:CIFAR10", "root": "files", "split": dict.fromkeys(SPLIT, 5)},
        "candidates": [{"name": "one", "release": str(tmp_path / "absolute")}, {"name": "two", "synthesizer": "toy"}],
        "policy": "limits/strict.yaml",
    }
    found = load(tmp_path, content)
    assert found.data.source == "torchvision:CIFAR10"
    assert found.data.root == tmp_path / "files"
    assert found.candidates[0].release == str(tmp_path / "absolute")
    assert found.policy == str(tmp_path / "limits/strict.yaml")
    assert load(tmp_path, content | {"policy": "demo"}).policy == "demo"
    assert found.data.split is not None
    assert found.data.split.test == 0


SPLIT = ("members", "controls", "fresh", "reference")


def test_the_example_and_the_demo_are_valid(tmp_path: Path) -> None:
    assert load(tmp_path, example_text()).candidates[0].synthesizer == "bn-matching"
    found = demo()
    assert Configuration.model_validate(found.model_dump(by_alias=True)) == found


def test_files_beside_a_release_are_relative_to_the_file(tmp_path: Path) -> None:
    beside = {"teacher": {"file": "t.safetensors", "architecture": "mlp", "trained_on": "members"}}
    content = changed(
        "candidates.0", {"name": "one", "release": "c", "soft_labels": "s.npy", "claim": "p.yaml"} | beside
    )
    found = load(tmp_path, content | {"also_released": ["old", "torchvision:MNIST/train", "/abs"]})
    one = found.candidates[0]
    assert one.teacher is not None
    assert (one.teacher.file, one.teacher.trained_on) == (str(tmp_path / "t.safetensors"), "members")
    assert (one.soft_labels, one.claim) == (str(tmp_path / "s.npy"), str(tmp_path / "p.yaml"))
    assert found.also_released == (str(tmp_path / "old"), "torchvision:MNIST/train", "/abs")
    assert load(tmp_path, SMALL).also_released == ()


def test_settings_may_be_left_empty(tmp_path: Path) -> None:
    text = "data: {members: a}\ncandidates:\n- name: one\n  synthesizer: toy\n  settings:\nattacks:\n  nearest-copy:\n"
    found = load(tmp_path, text)
    assert found.attacks == {"nearest-copy": {}}
    assert found.candidates[0].settings == {}


WRONG: dict[str, tuple[Any, str]] = {
    "unknown key": (changed("polcy", "x"), "unknown key 'polcy'. Did you mean 'policy'?"),
    "unknown key of the data": (changed("data.contrls", "x"), "'data.contrls'. Did you mean 'controls'?"),
    "unknown key of a candidate": (changed("candidates.0.relase", "x"), "Did you mean 'release'?"),
    "unknown key of the split": (
        changed("data", {"source": "digits", "split": dict.fromkeys((*SPLIT, "tests"), 5)}),
        "'data.split.tests'. Did you mean 'test'?",
    ),
    "no data": (changed("data", None), "key 'data' is missing: where the images are"),
    "no candidates": (changed("candidates", None), "key 'candidates' is missing"),
    "an empty list of candidates": (changed("candidates", []), "key 'candidates'"),
    "a number that is none": (changed("seed", "many"), "key 'seed': a whole number belongs here (found 'many')."),
    "candidates that are no list": (changed("candidates", {"name": "a"}), "key 'candidates': a list belongs here"),
    "a candidate that is a text": (changed("candidates.0", "a"), "'candidates.0': keys and values belong here"),
    "a candidate without a name": (changed("candidates.0.name", None), "'candidates.0.name' is missing"),
    "a name that is a number": (changed("candidates.0.name", 7), "'candidates.0.name': a text belongs here; quote it"),
    "data that are a text": (changed("data", "digits"), "key 'data': keys and values belong here (found 'digits')"),
    "both kinds": (changed("candidates.0.synthesizer", "toy"), "give either 'release' or 'synthesizer'"),
    "neither kind": (changed("candidates.0.release", None), "give either 'release' or 'synthesizer'"),
    "settings without a synthesizer": (changed("candidates.0.settings", {"a": 1}), "belong to a 'synthesizer'"),
    "settings that are a list": (
        changed("candidates.0", {"name": "a", "synthesizer": "toy", "settings": [1]}),
        "keys and values belong here",
    ),
    "a teacher with an engine": (
        changed("candidates.0", {"name": "a", "synthesizer": "toy", "claim": "c"}),
        "'claim' belong to a 'release' made elsewhere",
    ),
    "a teacher of unsaid training": (
        changed("candidates.0.teacher", {"file": "t", "architecture": "mlp"}),
        "key 'candidates.0.teacher.trained_on' is missing: members: on the members alone",
    ),
    "a teacher of impossible training": (
        changed("candidates.0.teacher", {"file": "t", "architecture": "mlp", "trained_on": "all"}),
        "'members', 'other' or 'unknown' (found 'all')",
    ),
    "an unknown key of a teacher": (
        changed("candidates.0.teacher", {"file": "t", "architektur": "mlp", "trained_on": "other"}),
        "'candidates.0.teacher.architektur'. Did you mean 'architecture'?",
    ),
    "what is public as a text": (changed("also_released", "b"), "key 'also_released': a list belongs here"),
    "source without a split": (changed("data", {"source": "digits"}), "'source' and 'split' belong together"),
    "a split without a source": (changed("data", {"split": dict.fromkeys(SPLIT, 5)}), "belong together"),
    "source and members": (
        changed("data", {"source": "digits", "split": dict.fromkeys(SPLIT, 5), "members": "a"}),
        "either 'source' and 'split' or 'members'",
    ),
    "nothing given": (changed("data", {"size": 32}), "give 'members' and 'controls'"),
    "a part of nothing": (changed("data", {"source": "digits", "split": dict.fromkeys(SPLIT, 0)}), "split.members"),
    "attacks that are a list": (changed("attacks", ["nearest-copy"]), "'attacks': keys and values belong here"),
    "unknown effort": (changed("effort", "huge"), "'quick', 'standard' or 'thorough' (found 'huge')"),
    "negative seed": (changed("seed", -1), "key 'seed'"),
    "unknown part to skip": (changed("skip", ["utilty"]), "'utility' or 'similarity' (found 'utilty')"),
    "a part to skip that is no list": (changed("skip", "utility"), "key 'skip': a list belongs here"),
    "too few seeds": (changed("utility_seeds", 2), "key 'utility_seeds'"),
    "another schema": (changed("schema", 2), "key 'schema'"),
    "too few suspects": (changed("max_suspects", 9), "key 'max_suspects'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_named(tmp_path: Path, case: str) -> None:
    content, said = WRONG[case]
    with pytest.raises(InputError) as error:
        load(tmp_path, content)
    message = str(error.value)
    assert said in message
    assert message.startswith("The configuration 'audit.yaml' cannot be used:\n  - ")
    for jargon in ("pydantic", "dictionary", "tuple", "NoneType", "Value error"):
        assert jargon not in message


@pytest.mark.parametrize("content", ["", "- a\n", "just text", "a: [1\n", "a: b: c", "\x00", "&a [*a]", "%"])
def test_files_that_are_no_configuration(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="configuration"):
        load(tmp_path, content)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: é".encode("latin-1"))
    for name, said in (
        ("none.yaml", "There is no configuration .*privaudit init"),
        (".", "cannot be read"),
        ("latin.yaml", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            load_configuration(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["", "a/b", "a\\b", "..", ".hidden", "a\nb", "a\tb", " a", "a ", "a.", "-a", "x" * 61, "a:b"]
)
def test_names_that_are_no_names_of_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="is not usable"):
        load(tmp_path, changed("candidates.0.name", name))


@pytest.mark.parametrize("name", ["a", "Candidate 2.1", "bn_matching+soft-labels", "Größe", "x" * 60, "9"])
def test_names_that_are(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, changed("candidates.0.name", name)).candidates[0].name == name


@pytest.mark.parametrize("second", ["One", "one", "Ｏne"])
def test_names_that_some_file_systems_take_for_one(tmp_path: Path, second: str) -> None:
    twins = changed("candidates", [{"name": "one", "release": "c"}, {"name": second, "release": "d"}])
    with pytest.raises(InputError, match=f"name of its own: 'one' and '{second}'"):
        load(tmp_path, twins)
