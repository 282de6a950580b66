"""One run of the pipeline on canaries: planted leaks are caught, what knows nothing is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import canary_examples
import numpy as np
import pytest
from audit_examples import random_images
from canary_examples import CLASSES, KIND_NAMES, MEMBERS, OFTEN, by_hand
from scipy import stats

from privaudit.canary_bounds import bounds, groups
from privaudit.canary_record import record
from privaudit.canary_run import Trial, carry_out, usable_attacks
from privaudit.cli.completion import KINDS_OF_CANARIES
from privaudit.errors import IncompleteError, InputError
from privaudit.plugins import make_attack, make_synthesizer
from privaudit.store import Store


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The engine is installed in this process."""
    monkeypatch.syspath_prepend(canary_examples.install(tmp_path / "installed").partition(":")[0])
    return lambda **settings: make_synthesizer("publisher", settings)


def quiet(what: str, done: int, total: int) -> None:
    """Hear nothing."""


def trial(engine: Any, **changes: Any) -> Trial:
    base = Trial(engine, MEMBERS, ["nearest-copy"], KIND_NAMES, count=100, classes=CLASSES, effort="quick")
    return replace(base, **changes)


def test_an_engine_that_publishes_its_members_is_caught(engine: Any, tmp_path: Path) -> None:
    """Pictures that were fed lie in the release: every guess of an attack that compares pictures is right."""
    found = carry_out(trial(engine(claims=1.0)), Store(tmp_path / "store"), quiet)
    assert [row.correct for row in found.bounds] == [row.guesses for row in found.bounds]
    assert found.best.together.lower == found.best.together.largest > 1.5
    assert found.released == 300 - int(np.sum(~found.canaries.inside))
    assert found.answer is not None
    assert found.answer.answer == "contradicted"


def test_an_engine_that_ignores_its_members_is_not(engine: Any, tmp_path: Path) -> None:
    """In 20 seeds: above 0 no more often than the level allows."""
    store, above = Store(tmp_path / "store"), 0
    ignores = engine(made="noise")
    for seed in range(20):
        found = carry_out(trial(ignores, seed=seed, kinds=("mislabelled", "plain"), delta=0.0), store, quiet)
        above += found.best.together.lower > 0
    assert above <= stats.binom.ppf(OFTEN, 20, 0.05)


def test_what_is_stored_is_not_done_again_and_all_is_written(engine: Any, tmp_path: Path) -> None:
    """From what is written another computes the same guesses and bounds."""
    store = Store(tmp_path / "store")
    asked = trial(engine(), reference=random_images(60, seed=5, classes=CLASSES), count=40, seed=7)
    first = record(carry_out(asked, store, quiet), "privaudit canaries ...")
    entries = sorted((tmp_path / "store" / "entries").rglob("*.json"))
    text = json.dumps(record(carry_out(asked, store, quiet), "privaudit canaries ..."), allow_nan=False)
    assert json.loads(text) == json.loads(json.dumps(first))
    assert sorted((tmp_path / "store" / "entries").rglob("*.json")) == entries
    found = json.loads(text)
    kinds, inside, ties = ([one[key] for one in found["canaries"]] for key in ("kind", "in", "tie"))
    again = by_hand(inside, ties, kinds)
    scores = {name: np.array(values, dtype=float) for name, values in found["scores"].items()}
    for row, told in zip(
        bounds(scores, again, KIND_NAMES, found["delta"], found["rows"]), found["bounds"], strict=True
    ):
        assert (row.attack, row.kind, row.guesses, row.correct) == tuple(
            told[key] for key in ("attack", "kind", "guesses", "correct")
        )
        assert row.together.lower == told["together"]["lower"]
    assert all((one["label"] != one["label_before"]) == (one["kind"] == "mislabelled") for one in found["canaries"])
    assert str(tmp_path) not in text


def test_attacks_that_miss_something_are_named(engine: Any, tmp_path: Path) -> None:
    """Soft labels are not published here, and the density ratio has no images of its own."""
    asked = trial(engine(), attacks=["density-ratio", "nearest-copy", "soft-label-membership"], count=40)
    found = carry_out(asked, Store(tmp_path / "store"), quiet)
    assert list(found.scores) == ["nearest-copy"]
    assert "--reference" in found.not_run["density-ratio"]
    assert "soft labels" in found.not_run["soft-label-membership"]
    assert found.rows == 3 * len(groups(KIND_NAMES)), "those that were not run are still counted"
    with pytest.raises(InputError, match=r"No attack could be run\. density-ratio was not run"):
        carry_out(replace(asked, attacks=["density-ratio"]), Store(tmp_path / "store"), quiet)


def test_an_attack_that_breaks_is_named(engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit.attacks.nearest_copy import NearestCopy

    def broken(*_: Any) -> None:
        raise ValueError("no more ideas")

    monkeypatch.setattr(NearestCopy, "attack", broken)
    with pytest.raises(IncompleteError, match=r"'nearest-copy' failed: ValueError: no more ideas\. What was finished"):
        carry_out(trial(engine()), Store(tmp_path / "store"), quiet)


def test_which_attacks_rank_canaries(engine: Any, tmp_path: Path) -> None:
    """Those that hold what an engine publishes; not those that see gradients, persons, or need to name an engine."""
    names = set(usable_attacks())
    assert {"nearest-copy", "density-ratio", "membership", "soft-label-membership"} <= names
    assert not {"gradient-matching", "model-memorization", "linkage", "pipeline-shadows", "teacher-membership"} & names
    for name in ("gradient-matching", "linkage", "pipeline-shadows"):
        with pytest.raises(InputError, match=f"'{name}' cannot rank canaries: "):
            carry_out(trial(engine(), attacks=[name]), Store(tmp_path / "store"), quiet)
    assert make_attack("nearest-copy", {}).name in names


@pytest.mark.parametrize("delta", [-0.1, 1.0])
def test_a_delta_that_is_none(engine: Any, tmp_path: Path, delta: float) -> None:
    with pytest.raises(InputError, match="--delta must be at least 0 and below 1"):
        carry_out(trial(engine(), delta=delta), Store(tmp_path / "store"), quiet)


def test_the_shell_completes_the_kinds() -> None:
    assert KINDS_OF_CANARIES == KIND_NAMES


@pytest.mark.slow
def test_students_see_wrong_labels_and_soft_labels(engine: Any, tmp_path: Path) -> None:
    """Attacks that train score a canary at the label that it was fed with: those that were fed are learned by heart."""
    asked = trial(
        engine(soft_labels=True),
        attacks=["membership", "soft-label-membership"],
        kinds=("mislabelled",),
        reference=random_images(150, seed=5, classes=CLASSES),
    )
    found = carry_out(asked, Store(tmp_path / "store"), quiet)
    assert not found.not_run
    for row in found.bounds:
        assert row.auc is not None
        assert row.auc.low > 0.7, row
        assert row.together.lower > 0.5, row
