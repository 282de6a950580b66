"""Every installed attack keeps the contract: victim and attacker are strangers who share arrays and nothing else."""

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from privaudit import cells
from privaudit.artifacts import wanted
from privaudit.attack import Attack, Evidence, Sight, informs, suspects_at_a_time
from privaudit.closeness import closeness
from privaudit.errors import InputError
from privaudit.execution import Task, run
from privaudit.images import Images
from privaudit.plugins import ATTACKS, attack_class, installed, make_attack
from privaudit.store import Entry, Store

NAMES = sorted(installed(ATTACKS))
SUSPECTS, RELEASED, REFERENCE, COPIES = 150, 90, 80, 12

TRAINING = (
    *("copy-descriptor", "gan-inversion", "gan-leaks", "linkage", "membership", "pipeline-shadows"),
    *("soft-label-membership", "teacher-membership"),
)
"""Attacks that train networks: many seconds for each colour."""

SMALL: dict[str, dict[str, Any]] = {
    "gradient-matching": {"victims": 4, "iterations": 12, "restarts": 1},
    "model-memorization": {"images": 8, "epochs": 2},
    "membership": {"steps": 9},
    "teacher-membership": {"steps": 9},
    "soft-label-membership": {"steps": 9},
    "pipeline-shadows": {
        "engine": "bn-matching",
        "engine_settings": {
            "images_per_class": 2,
            "steps": 1,
            "precision": "float32",
            "teacher": {"network": "convnet", "epochs": 1, "precision": "float32"},
        },
        "runs": 4,
        "steps": 5,
    },
    "copy-descriptor": {"steps": 40, "precision": "float32"},
    "mixing-restoration": {"block_height": 4, "block_width": 4},
    "gan-inversion": {"images": 6, "victim": {"network": "convnet", "epochs": 2}, "steps": 5, "restarts": 1},
}
"""Settings with which attacks that compute much compute little here."""

NEEDS_LONGER_TRAINING = {"membership", "soft-label-membership", "pipeline-shadows"}
"""They find copies only after trainings longer than those here; see tests/attacks/test_membership.py."""

# One half of an attack in a process of its own, for some cases. It gets the folders of their inputs and nothing else:
# the arrays are read from .npz files and are read-only, as those of the store are.
_HALF = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from privaudit import cells
torch.set_num_threads(1)
half, arguments = sys.argv[1], json.loads(sys.argv[2])
def read(path):
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)
    for array in arrays.values():
        array.setflags(write=False)
    return arrays
for folder in sorted(Path.cwd().iterdir()):
    inputs = {path.stem: read(path) for path in folder.glob("*.npz")}
    np.savez(folder / "result.npz", **getattr(cells, half)(arguments, inputs))
"""

Arrays = dict[str, Any]
Half = Callable[..., list[Arrays]]


def _images(count: int, channels: int, rng: np.random.Generator) -> Arrays:
    """Smooth random pictures with some noise, of three classes."""
    coarse = rng.integers(30, 220, (count, 4, 4, channels)).repeat(2, axis=1).repeat(2, axis=2)
    pixels = np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)
    return {"pixels": pixels, "labels": rng.integers(0, 3, count)}


def _world(channels: int) -> dict[str, Arrays]:
    """Suspects, a release that holds copies of the first of them, and the attacker's own images."""
    rng = np.random.default_rng(8)
    suspects, release, reference = (_images(count, channels, rng) for count in (SUSPECTS, RELEASED, REFERENCE))
    release["pixels"][-COPIES:] = suspects["pixels"][:COPIES]
    return {"suspects": suspects, "release": release, "reference": reference}


@pytest.fixture
def half(tmp_path: Path) -> Half:
    """Runs `expose` or `attack` for each case in a new process and in a new folder, which holds their inputs alone."""
    calls = iter(range(100))

    def run(which: str, name: str, *cases: dict[str, Arrays]) -> list[Arrays]:
        place = tmp_path / f"{which} {next(calls)}"
        folders = [place / str(number) for number in range(len(cases))]
        for folder, inputs in zip(folders, cases, strict=True):
            folder.mkdir(parents=True)
            for key, arrays in inputs.items():
                np.savez(folder / f"{key}.npz", **arrays)
        settings = SMALL.get(name, {})
        arguments: dict[str, Any] = {
            "attack": name,
            "settings": settings,
            "seed": 5,
            "device": "cpu",
            "effort": "quick",
        }
        beside = wanted(make_attack(name, settings))
        if which == "expose" and beside:
            arguments["analogue"] = {"network": "convnet", "classes": 3, "artifacts": list(beside)}
        command = [sys.executable, "-W", "error", "-c", _HALF, which, json.dumps(arguments)]
        done = subprocess.run(
            command,
            cwd=place,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert done.returncode == 0, done.stderr
        results = []
        for folder in folders:
            with np.load(folder / "result.npz", allow_pickle=False) as file:
                results.append(dict(file))
        return results

    return run


def handed(exposed: Arrays) -> Arrays:
    """What the runner hands to the attacker."""
    return {name: array for name, array in exposed.items() if not name.startswith(cells.KEPT)}


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        *((name, (1,) if name in TRAINING else (1, 3)) for name in NAMES),
        *(pytest.param(name, (3,), marks=pytest.mark.slow) for name in TRAINING),
    ],
)
def test_halves_in_separate_processes(name: str, colours: tuple[int, ...], half: Half) -> None:
    """What `expose` returned is all of the victim that reaches the attacker: the release is not even on his disk."""
    worlds = [_world(channels) for channels in colours]
    known = []
    exposed_worlds = half("expose", name, *({"release": world["release"]} for world in worlds))
    for world, exposed in zip(worlds, exposed_worlds, strict=True):
        check_declared(attack_class(name).sees, exposed, world["release"])
        known.append({"suspects": world["suspects"], "reference": world["reference"], "seen": handed(exposed)})
    found = [result["scores"] for result in half("attack", name, *known)]
    for scores in found:
        assert scores.dtype == np.float64
        assert scores.shape == (SUSPECTS,)
        assert not np.isposinf(scores).any()
        # Not a strength test: whoever holds the release and finds nothing in plain copies is not connected to it.
        if Sight.RELEASE in attack_class(name).sees and name not in NEEDS_LONGER_TRAINING:
            assert np.median(scores[:COPIES]) > np.quantile(scores[COPIES:], 0.9)
    scores, first = found[0], known[0]  # what follows does not depend on colour
    order = np.random.default_rng(2).permutation(SUSPECTS)
    shuffled = {key: array[order] for key, array in first["suspects"].items()}
    again, moved = (result["scores"] for result in half("attack", name, first, first | {"suspects": shuffled}))
    np.testing.assert_array_equal(again.view(np.int64), scores.view(np.int64), "equal seeds, unequal bits")
    np.testing.assert_allclose(moved, scores[order], rtol=1e-4, atol=1e-4, err_msg="the order of the suspects matters")


def check_declared(sees: frozenset[Sight], exposed: Arrays, release: Arrays) -> None:
    """Pixels reach the attacker only where he declares to hold the release, and then nothing else does."""
    seen = handed(exposed)
    assert sees
    assert all(isinstance(sight, Sight) for sight in sees)
    if sees == {Sight.RELEASE}:
        assert set(seen) == {"pixels", "labels"}
        for key, array in seen.items():
            np.testing.assert_array_equal(array, release[key])
    if Sight.RELEASE not in sees:
        pixels = release["pixels"].tobytes()
        assert all(pixels not in array.tobytes() for array in seen.values())
        rows, victims = exposed[f"{cells.KEPT}rows"], exposed[f"{cells.KEPT}victim"]
        assert rows.shape == victims.shape
        assert set(rows.tolist()) <= set(range(RELEASED))


@pytest.mark.parametrize("name", NAMES)
def test_is_described(name: str) -> None:
    kind = attack_class(name)
    assert kind.name == name
    assert isinstance(kind.version, int)
    assert kind.version >= 1
    assert len(kind.threat_model.split()) >= 8
    assert inspect.getdoc(kind)
    assert list(inspect.signature(kind.expose).parameters) == ["self", "release", "world"]
    assert list(inspect.signature(kind.attack).parameters) == ["self", "seen", "suspects", "own"]
    reach = make_attack(name, {}).reach(1000)
    assert reach is None or reach >= 1


@pytest.mark.parametrize("name", NAMES)
def test_settings_are_frozen_described_and_checked(name: str) -> None:
    attack: Any = make_attack(name, {})
    settings = attack.model_dump(mode="json")
    assert make_attack(name, json.loads(json.dumps(settings))) == attack
    for field, about in type(attack).model_fields.items():
        assert about.description, f"the setting {field} has no line of description"
        with pytest.raises(ValidationError, match="frozen"):
            setattr(attack, field, settings[field])
    for field in settings:
        with pytest.raises(InputError, match=f"unknown key '{field}x'. Did you mean '{field}'"):
            make_attack(name, {f"{field}x": 1})
    with pytest.raises(InputError, match="unknown key 'zzzzzz'"):
        make_attack(name, {"zzzzzz": 1})


def test_an_unknown_attack_is_refused_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="Did you mean 'nearest-copy'"):
        make_attack("nearest-cpoy", {})


def test_a_built_in_attack_is_an_attack() -> None:
    for name in NAMES:
        assert isinstance(make_attack(name, {}), Attack)


def test_reconstructions_are_scored_by_the_core() -> None:
    """An attack that returns images is ranked by closeness to them, and needs no ranking of its own."""
    rng = np.random.default_rng(4)
    suspects, reference = (Images(**_images(count, 3, rng)) for count in (60, 40))
    recovered = Images(suspects.pixels[:6] // 2 + suspects.pixels[:6] // 4 + 30, suspects.labels[:6])
    scores = closeness(suspects, recovered, reference)
    assert set(np.argsort(-scores)[:6]) == set(range(6))


def test_the_released_row_behind_a_score_is_asked_for_and_told_once_per_suspect() -> None:
    with pytest.raises(InputError, match="one released row per score"):
        Evidence(scores=np.zeros(3), nearest=np.zeros(2, np.int64))
    images = Images(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int64))
    with pytest.raises(InputError, match="one released row per score"):
        Evidence(recovered=images, nearest=np.zeros(2, np.int64))


@pytest.mark.parametrize("name", NAMES)
def test_every_attack_informs_a_criterion(name: str) -> None:
    assert informs(make_attack(name, {})) == (("linkability",) if name == "linkage" else ("singling_out",))


def test_an_unknown_criterion_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = make_attack("nearest-copy", {})
    monkeypatch.setattr(type(attack), "informs", ("linkability", "inference"), raising=False)
    assert informs(attack) == ("linkability", "inference")
    monkeypatch.setattr(type(attack), "informs", ("identity",), raising=False)
    with pytest.raises(InputError, match=r"which is no criterion\. Allowed: singling_out, linkability, inference"):
        informs(attack)


DIVISIBLE = [name for name in NAMES if suspects_at_a_time(make_attack(name, {})) is not None]


def test_attacks_that_may_be_shown_parts_of_the_suspects() -> None:
    assert DIVISIBLE == ["gan-leaks", "nearest-copy"]


@pytest.mark.parametrize("name", DIVISIBLE)
def test_parts_of_the_suspects_are_attacked_alike(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tasks of their own: each suspect's score is that of an attack on its part alone, and copies are found."""
    world = _world(1)
    arguments = {
        "attack": name,
        "settings": SMALL.get(name, {}),
        "seed": 5,
        "device": "cpu",
        "effort": "quick",
        **({"nearest": True} if name == "nearest-copy" else {}),
    }
    inputs = {"seen": world["release"], "suspects": world["suspects"], "reference": world["reference"]}
    whole = cells.attack(arguments, inputs)
    monkeypatch.setattr(attack_class(name), "suspects_at_a_time", 80)
    store = Store(tmp_path)
    stored = {key: {field: store.put_array(value) for field, value in arrays.items()} for key, arrays in inputs.items()}
    ((_, result),) = run([Task("the attack", cells.ATTACK, arguments, stored, {})], store, 0)
    assert isinstance(result, Entry), result
    found = store.load(result.arrays)
    assert set(found) == set(whole)
    for start, end in ((0, 75), (75, 150)):
        part = {field: value[start:end] for field, value in world["suspects"].items()}
        alone = cells.attack(arguments, inputs | {"suspects": part})
        for field in {"scores", "nearest"} & set(whole):
            np.testing.assert_array_equal(found[field][start:end], alone[field])
    assert np.corrcoef(found["scores"], whole["scores"])[0, 1] > 0.95
    if name == "nearest-copy":
        assert set(np.argsort(-found["scores"])[:COPIES]) == set(range(COPIES))
        assert (found["nearest"][:COPIES] == np.arange(RELEASED - COPIES, RELEASED)).all()


def test_without_images_of_his_own_all_suspects_are_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _world(1)
    arguments = {"attack": "nearest-copy", "settings": {}, "seed": 5, "device": "cpu", "effort": "quick"}
    inputs = {"seen": world["release"], "suspects": world["suspects"]}
    whole = cells.attack(arguments, inputs)
    monkeypatch.setattr(attack_class("nearest-copy"), "suspects_at_a_time", 80)
    np.testing.assert_array_equal(cells.attack(arguments, inputs)["scores"], whole["scores"])
