"""Rates and times left, by hand: a clock that the test moves."""

from __future__ import annotations

import io
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from privaudit.cli.live import View
from privaudit.cli.progress import Part, Progress, size
from privaudit.cli.terminal import Announcer

ATTACK = Part("attack with fast", "fast on ", 4, 40.0)
ENGINE = Part("make one with noise", "noise: ", 2, 20.0, images=100)


def progress(*parts: Part, around: float = 0.0, at_once: int = 1) -> Progress:
    found = Progress()
    found.expect(parts, around, at_once)
    return found


def test_as_forecast() -> None:
    """Four tasks of ten seconds: after each, ten seconds less."""
    run = progress(ATTACK)
    run.begin("starting the attacks", 0.0)
    assert run.seconds_left(0.0) == pytest.approx(40.0)
    for number, left in enumerate((30.0, 20.0, 10.0), 1):
        run.finish(f"fast on {number}", number, 4, 10.0 * number)
        assert run.seconds_left(10.0 * number) == pytest.approx(left)
    run.finish("fast on 4", 4, 4, 40.0)
    assert run.seconds_left(40.0) is None, "nothing is left to do"


def test_slower_than_forecast() -> None:
    """Twenty seconds for a task of ten; the forecast still counts for a fifth: 30 * (20 + 8) / (10 + 8)."""
    run = progress(ATTACK)
    run.begin("starting the attacks", 0.0)
    run.finish("fast on a", 1, 4, 20.0)
    assert run.seconds_left(20.0) == pytest.approx(30 * 28 / 18)
    assert run.rate(20.0) == "3.0 tasks a minute"


def test_what_comes_from_the_store_tells_nothing_about_speed() -> None:
    run = progress(ATTACK)
    run.begin("starting the attacks", 0.0)
    run.finish("fast on a", 1, 4, 0.01)
    run.finish("fast on b", 2, 4, 0.02)
    assert run.seconds_left(0.02) == pytest.approx(20.0, abs=0.1)
    assert run.rate(0.02) == ""


def test_what_nobody_knows_is_not_told_before_it_is_over() -> None:
    run = progress(Part("attack with new", "new on ", 1, None), ATTACK, around=5.0)
    run.begin("starting the attacks", 0.0)
    run.finish("fast on a", 1, 5, 10.0)
    assert run.seconds_left(10.0) is None
    assert progress().seconds_left(0.0) is None


def test_within_long_tasks() -> None:
    """Half of one of two shards of 50 images after five seconds: 25 images, five a second; a quarter is done."""
    run = progress(ENGINE)
    run.begin("making 100 images with noise", 0.0)
    run.within("noise: shard 0, optimising 50 %", 5.0)
    assert (run.label, run.stage, run.part) == ("noise: shard 0", "optimising", "make one with noise")
    assert run.rate(5.0) == "5.0 images a second"
    assert run.seconds_left(5.0) == pytest.approx(15.0)
    run.finish("noise: shard 0", 1, 2, 10.0)
    assert run.share == pytest.approx(0.5)
    run.within("noise: shard 0, optimising 100 %", 10.1)
    assert run.shares == {}, "late news of a task that has ended"


def test_only_as_many_tasks_are_shown_as_run_at_a_time() -> None:
    run = progress(ENGINE, at_once=2)
    for label in ("training a network", "noise: 0", "noise: 1"):
        run.within(f"{label}, 10 %", 1.0)
    assert list(run.in_work) == ["noise: 0", "noise: 1"]


@given(
    st.lists(st.tuples(st.sampled_from(["begin", "within", "finish"]), st.integers(0, 6), st.floats(0, 100))),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_never_negative(events: list[tuple[str, int, float]], seconds: float | None) -> None:
    run, now = progress(Part("a", "a on ", 3, seconds), ENGINE, around=1.0), 0.0
    for kind, number, later in events:
        now += later
        if kind == "begin":
            run.begin("something", now)
        elif kind == "within":
            run.within(f"{'a on' if number % 2 else 'noise:'} {number}, {min(100, 17 * number)} %", now)
        else:
            run.finish(f"a on {number}", min(number + 1, 5), 5, now)
        left = run.seconds_left(now + later)
        assert left is None or left >= 0
        assert run.share is None or 0 <= run.share <= 1
        run.rate(now + later)


@given(st.integers(1, 200))
def test_no_line_of_the_view_is_wider_than_the_terminal(columns: int) -> None:
    run = progress(ENGINE, at_once=3)
    run.begin("making 100 images with noise", 0.0)
    for number in range(3):
        run.within(f"noise: a shard with a long name {number}, optimising with a long stage 50 %", 1.0)
    view = View(run, threading.Lock())
    view.peak = 2_000_000_000
    console = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None)
    shown = console.render_lines(view, pad=False)
    assert len(shown) == 2 + 5
    assert all(sum(segment.cell_length for segment in line) <= columns for line in shown)


def test_lines_of_the_view() -> None:
    run = progress(ENGINE, at_once=2)
    begun = time.monotonic()
    run.begin("making 100 images with noise", begun)
    run.finish("noise: 0", 1, 2, begun + 10)
    run.within("noise: 1, optimising 20 %", begun + 12)
    view = View(run, threading.Lock())
    view.peak = 1_234_000_000
    assert list(view.lines(begun + 12)) == [
        "1 of 2: make one with noise",
        "12 seconds so far, about 8 seconds left",
        "5.0 images a second, peak memory 1.2 GB",
        "   20 %  noise: 1, optimising",
    ]


@pytest.mark.parametrize(("count", "words"), [(0, "0 bytes"), (999, "999 bytes"), (1e6, "1 MB"), (2.5e9, "2.5 GB")])
def test_sizes_in_words(count: float, words: str) -> None:
    assert size(count) == words


def test_silence_is_broken_where_there_is_no_view(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("privaudit.cli.terminal._SILENT_SECONDS", 0.05)
    monkeypatch.setattr("privaudit.cli.terminal._LOOK_SECONDS", 0.02)
    with Announcer(quiet=False) as announce:
        announce("reading the members")
        announce("members, optimising 40 %", 0, 0)
        until = time.monotonic() + 10
        told = ""
        while "40 %" not in told and time.monotonic() < until:
            time.sleep(0.02)
            told += capsys.readouterr().err
    assert "members, optimising 40 % ..." in told.splitlines()
