"""Estimates of time: learned from real work, never lost, honest about what nobody knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audit_examples import REQUIRED, install_fakes, plan_for, random_images

from privaudit import forecast
from privaudit.cli.forecast import _described
from privaudit.cli.progress import duration
from privaudit.forecast import Line, Speeds, part_key
from privaudit.plan import Plan
from privaudit.plugins import make_synthesizer
from privaudit.store import Store

KIND = "attack nearest-copy standard"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"3",
        b'{"utility": 3}',
        b'{"utility": [1]}',
        b'{"utility": ["a", "b"]}',
        b'{"utility": [NaN, 1]}',
        b'{"utility": [1, NaN]}',
        b'{"utility": [0, 1]}',
        b'{"utility": [1, -1]}',
        b'{"utility": [1, Infinity]}',
    ],
)
def test_damaged_speeds_are_forgotten(tmp_path: Path, content: bytes) -> None:
    store = Store(tmp_path)
    (tmp_path / "speeds.json").write_bytes(content)
    assert Speeds(store).seconds("utility", 1e6) == pytest.approx(1e6 * forecast.REFERENCE["utility"])
    Speeds(store).learn("utility", 1e6, 30.0)
    assert Speeds(store).seconds("utility", 2e6) == pytest.approx(60.0)


def test_speeds_are_learned_from_the_largest_work(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Speeds(store).learn(KIND, 1e9, 1.0)
    assert Speeds(store).seconds(KIND, 1e12) == 1e12 * forecast.REFERENCE[KIND], "one second tells nothing"
    Speeds(store).learn(KIND, 1e12, 200.0)
    Speeds(store).learn(KIND, 1e10, 50.0)
    assert Speeds(store).seconds(KIND, 1e12) == 200.0, "less work than before tells less"
    Speeds(store).learn(KIND, 9e11, 90.0)
    assert Speeds(store).seconds(KIND, 1e12) == pytest.approx(100.0)
    assert json.loads((tmp_path / "speeds.json").read_text()) == {KIND: [9e11, 90.0]}


def test_what_was_never_done_is_not_known_until_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert Speeds(store).seconds("attack new quick", 5.0) is None
    Speeds(store).learn("attack new quick", 0.0, 1.0)
    assert Speeds(store).seconds("attack new quick", 5.0) is None
    Speeds(store).learn("attack new quick", 5.0, 0.1)
    assert Speeds(store).seconds("attack new quick", 10.0) == pytest.approx(0.2)


def lines(plan: Plan, root: Path, released: Mapping[str, int], **changes: Any) -> dict[str, Line]:
    settings: dict[str, Any] = {"engines": {}, "made": {}, "finished": [], "speeds": Speeds(Store(root))} | changes
    return {line.what: line for line in forecast.forecast(plan, released, **settings)}


@pytest.fixture
def plan() -> Plan:
    return plan_for(random_images(300, 1, side=16, classes=10), measure=("utility", "similarity"), workers=2)


def test_the_parts_of_an_audit(plan: Plan, tmp_path: Path) -> None:
    found = lines(plan, tmp_path, {"candidate": 300})
    assert list(found) == [
        "attack with nearest-copy",
        "attack with density-ratio",
        "measure utility",
        "measure similarity",
        "check the data, judge and report",
    ]
    assert found["attack with nearest-copy"].pieces == 4  # three arms, and one candidate with plants
    assert all(line.seconds is not None and 0 < line.seconds < 600 for line in found.values())
    assert [line.done for line in found.values()] == [0] * 5


def test_more_work_takes_longer(plan: Plan, tmp_path: Path) -> None:
    def seconds(plan: Plan, released: Mapping[str, int]) -> float:
        return sum(line.seconds or 0.0 for line in lines(plan, tmp_path, released).values())

    one = seconds(plan, {"candidate": 300})
    two = seconds(plan, {"candidate": 300, "other": 300})
    assert one < two < 2 * one, "of two candidates of one size, the second shares the arms"
    assert seconds(plan, {"candidate": 100_000}) > one + 50
    assert seconds(replace(plan, workers=1), {"candidate": 300}) > one
    assert seconds(replace(plan, utility_seeds=20), {"candidate": 300}) > 2 * one
    assert seconds(replace(plan, measure=()), {"candidate": 300}) < one


def test_with_too_few_nothing_is_attacked(plan: Plan, tmp_path: Path) -> None:
    assert list(lines(plan, tmp_path, {"candidate": 300}, attacked=False)) == ["check the data, judge and report"]


def test_how_many_are_scored(plan: Plan) -> None:
    assert forecast.suspects(plan) == (450, 900)
    assert forecast.suspects(replace(plan, max_suspects=100)) == (100, 200)
    assert forecast.suspects(replace(plan, fresh=None, reference=None)) == (450, 480)
    assert forecast.suspects(replace(plan, controls=None, fresh=None, reference=None)) == (450, 0)


def test_what_is_finished_costs_nothing(plan: Plan, tmp_path: Path) -> None:
    over = [(part, "candidate") for part in ("attack nearest-copy", "utility")]
    found = lines(plan, tmp_path, {"candidate": 300}, finished=over)
    for what in ("attack with nearest-copy", "measure utility"):
        assert found[what].done == found[what].pieces
        assert found[what].seconds == 0
    assert found["attack with density-ratio"].done == 0
    half = lines(plan, tmp_path, {"candidate": 300, "other": 300}, finished=over)
    assert 0 < half["attack with nearest-copy"].done < half["attack with nearest-copy"].pieces


def test_attacks_that_nobody_has_run(monkeypatch: pytest.MonkeyPatch, plan: Plan, tmp_path: Path) -> None:
    install_fakes(monkeypatch)
    found = lines(replace(plan, attacks={"distance": {}}), tmp_path, {"candidate": 300})
    assert found["attack with distance"].seconds is None
    assert _described(found["attack with distance"]).endswith("nobody knows how long")


def test_engines(plan: Plan, tmp_path: Path) -> None:
    engine = make_synthesizer("bn-matching", {"teacher": {"network": "convnet"}, "images_per_class": 30})
    what = "make candidate with bn-matching"
    shards = len(engine.shards(plan.members.images))
    whole, half, none = (
        lines(plan, tmp_path, {"candidate": 300}, engines={"candidate": engine}, made={"candidate": (shards, done)})[
            what
        ]
        for done in (0, shards // 2, shards)
    )
    assert whole.seconds is not None
    assert half.seconds is not None
    assert whole.seconds > half.seconds > 0 == none.seconds


def test_a_part_is_known_by_all_that_it_depends_on(plan: Plan) -> None:
    def keys(plan: Plan, release: str = "r") -> tuple[str, ...]:
        facts = plan.facts({"candidate": release})
        return tuple(
            part_key(facts, plan.device, part, release) for part in ("attack nearest-copy", "utility", "similarity")
        )

    assert keys(plan) == keys(replace(plan, measure=("similarity",), workers=0, candidates=[]))
    assert not set(keys(plan)) & set(keys(plan, "other"))
    for change in ({"seed": 1}, {"effort": "quick"}, {"max_suspects": 200}, {"test": plan.controls}):
        assert not set(keys(plan)) & set(keys(replace(plan, **change)))
    more = keys(replace(plan, utility_seeds=4))
    assert [ours == theirs for ours, theirs in zip(keys(plan), more, strict=True)] == [True, False, True]
    finer = keys(replace(plan, attacks=REQUIRED | {"nearest-copy": {"block_sizes": [4]}}))
    assert [ours == theirs for ours, theirs in zip(keys(plan), finer, strict=True)] == [False, True, True]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "about 1 second"),
        (1.4, "about 1 second"),
        (2.0, "about 2 seconds"),
        (59.0, "about 59 seconds"),
        (61.0, "about 1 minute"),
        (200.0, "about 3 minutes"),
        (5000.0, "about 83 minutes"),
        (5400.0, "about 1.5 hours"),
        (360000.0, "about 100.0 hours"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_lines_in_words() -> None:
    assert _described(Line("measure utility", 1, 0, 20.0)) == "measure utility: 1 step; about 20 seconds"
    assert _described(Line("measure utility", 1, 1, 0.0)) == "measure utility: 1 step, in the store"
    assert _described(Line("make a", 10, 4, 61.0)) == "make a: 10 steps, 4 of them in the store; about 1 minute"
    assert _described(Line("make a", 10, 10, 0.0)) == "make a: 10 steps, all in the store"
    assert _described(Line("attack with b", 4, 0, None)) == "attack with b: 4 steps; nobody knows how long"
