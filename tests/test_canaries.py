"""Canaries: who is drawn, how they are changed, fair coins, guesses that are fixed beforehand, and what they bound."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import canary_examples
import numpy as np
import pytest
from audit_examples import random_images
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from privaudit.canaries import KINDS, Canaries, draw, fed
from privaudit.canary_bounds import (
    ALL_KINDS,
    against_claim,
    bounds,
    corrected_level,
    epsilon,
    groups,
    guessed,
    guesses_a_side,
    headline,
    reach,
)
from privaudit.canary_record import record
from privaudit.canary_run import Trial, carry_out, usable_attacks
from privaudit.cli.completion import KINDS_OF_CANARIES
from privaudit.errors import IncompleteError, InputError
from privaudit.images import Images, concatenate
from privaudit.plugins import make_attack, make_synthesizer
from privaudit.release import PrivacyClaim
from privaudit.statistics.epsilon import one_run_epsilon
from privaudit.store import Store

CLASSES = 3
MEMBERS = random_images(300, seed=0, classes=CLASSES)
KIND_NAMES = tuple(KINDS)
DELTA = 1e-5
RARE, OFTEN = 1e-6, 0.999
EVERY_KIND = list(KIND_NAMES) * 20


def test_how_many() -> None:
    """A tenth, at least 20, at most 500; kinds in equal shares; each picture once."""
    assert len(draw(MEMBERS, KIND_NAMES, 0)) == 30
    assert len(draw(MEMBERS.take(slice(0, 100)), KIND_NAMES, 0)) == 20
    assert len(draw(random_images(5100, seed=1, side=4), KIND_NAMES, 0)) == 500
    drawn = draw(MEMBERS, KIND_NAMES, 0, 64)
    assert {kind: int(drawn.of_kind(kind).sum()) for kind in KINDS} == dict(zip(KINDS, (22, 21, 21), strict=True))
    assert len(set(drawn.rows.tolist())) == 64
    assert sorted(drawn.ties.tolist()) == list(range(64))


def test_coins_are_fair() -> None:
    """Over seeds: as many fall on either side as of fair coins, and each canary's is its own."""
    coins = np.stack([draw(MEMBERS, KIND_NAMES, seed, 40).inside for seed in range(150)])
    low, high = stats.binom.ppf([RARE, 1 - RARE], coins.size, 0.5)
    assert low <= coins.sum() <= high
    assert len(np.unique(coins, axis=0)) == len(coins)
    agree = np.sum(coins[:, ::2] == coins[:, 1::2])
    low, high = stats.binom.ppf([RARE, 1 - RARE], coins.size // 2, 0.5)
    assert low <= agree <= high
    # Halves of a fixed size would vary less than coins do.
    assert coins.sum(axis=1).std() == pytest.approx(np.sqrt(40) / 2, rel=0.25)


def test_the_order_of_the_members_does_not_matter() -> None:
    order = np.random.default_rng(1).permutation(len(MEMBERS))
    first, moved = draw(MEMBERS, KIND_NAMES, 3), draw(MEMBERS.take(order), KIND_NAMES, 3)
    np.testing.assert_array_equal(order[moved.rows], first.rows)
    assert moved.images.digest == first.images.digest
    for name in ("kinds", "inside", "ties"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(first, name))
    assert draw(MEMBERS, KIND_NAMES, 4).images.digest != first.images.digest


def test_wrong_labels_always_differ_and_are_uniform() -> None:
    drawn = draw(MEMBERS, ["mislabelled"], 0, 300)
    before = MEMBERS.labels[drawn.rows]
    assert np.all(drawn.images.labels != before)
    shift = (drawn.images.labels - before) % CLASSES
    assert stats.binomtest(int(np.sum(shift == 1)), 300, 0.5).pvalue > RARE
    np.testing.assert_array_equal(drawn.images.pixels, MEMBERS.pixels[drawn.rows])


def test_wrong_labels_are_those_of_classes_with_images() -> None:
    """Class 1 of three has no members: no canary is given its label."""
    labels = np.where(MEMBERS.labels == 1, 2, MEMBERS.labels)
    drawn = draw(Images(MEMBERS.pixels, labels), ["mislabelled"], 0, 100)
    assert set(drawn.images.labels.tolist()) == {0, 2}


def test_pictures_unlike_the_others() -> None:
    """Strips of a ramp keep together: every value is there once more, inverted, and neighbours within a strip stay."""
    ramp = np.arange(64, dtype=np.uint8).reshape(1, 8, 8, 1)
    noise = random_images(30, seed=2, classes=2).pixels[:, :8, :8]
    members = Images(np.concatenate([ramp, noise]), np.arange(31, dtype=np.int64) % 2)
    drawn = draw(members, ["out-of-distribution"], 0, 31)
    changed = 255 - drawn.images.pixels[np.flatnonzero(drawn.rows == 0)[0], :, :, 0]
    assert sorted(changed.ravel().tolist()) == list(range(64))
    across, down = np.diff(changed.astype(int), axis=1), np.diff(changed.astype(int), axis=0)
    assert np.all(across[:, ::2] == 1)
    assert np.all(down[::2] == 8)
    np.testing.assert_array_equal(drawn.images.labels, members.labels[drawn.rows])
    assert not {image.tobytes() for image in drawn.images.pixels} & {image.tobytes() for image in members.pixels}


def test_plain_ones_are_unchanged() -> None:
    drawn = draw(MEMBERS, ["plain"], 0)
    assert drawn.images.digest == MEMBERS.take(drawn.rows).digest


def test_what_the_engine_is_fed() -> None:
    """All others in their places, canaries whose coin says so as changed, and no other canary in either form."""
    drawn = draw(MEMBERS, KIND_NAMES, 0, 60)
    feed = fed(MEMBERS, drawn)
    assert len(feed) == 300 - int(np.sum(~drawn.inside))
    others = np.setdiff1d(np.arange(300), drawn.rows)
    rows = np.sort(np.concatenate([others, drawn.rows[drawn.inside]]))
    places = np.searchsorted(rows, drawn.rows[drawn.inside])
    assert feed.take(places).digest == drawn.images.take(drawn.inside).digest
    assert feed.take(np.searchsorted(rows, others)).digest == MEMBERS.take(others).digest
    left_out = drawn.rows[~drawn.inside]
    assert not {MEMBERS.pixels[row].tobytes() for row in left_out} & {image.tobytes() for image in feed.pixels}


def test_pictures_that_occur_twice_are_not_drawn() -> None:
    members = concatenate([MEMBERS, MEMBERS.take(slice(0, 270))])
    assert set(draw(members, ["plain"], 0, 30).rows.tolist()) == set(range(270, 300))
    with pytest.raises(InputError, match="31 canaries need as many different pictures; the members have 30"):
        draw(members, ["plain"], 0, 31)


@pytest.mark.parametrize(
    ("count", "kinds", "members", "said"),
    [
        (19, KIND_NAMES, MEMBERS, "19 canaries are too few"),
        (301, KIND_NAMES, MEMBERS, "301 canaries need as many different pictures; the members have 300"),
        (None, KIND_NAMES, MEMBERS.take(slice(0, 12)), "20 canaries need .* have 12. Give more members.$"),
        (
            None,
            KIND_NAMES,
            Images(MEMBERS.pixels, np.zeros(300, np.int64)),
            r"with --kinds out-of-distribution,plain\.",
        ),
        (None, ["mislabeled"], MEMBERS, "Did you mean 'mislabelled'"),
        (None, ["plain", "plain"], MEMBERS, "each kind of canary once"),
        (None, [], MEMBERS, "each kind of canary once"),
    ],
)
def test_refused(count: int | None, kinds: list[str], members: Images, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw(members, kinds, 0, count)


def test_one_class_is_enough_without_wrong_labels() -> None:
    assert len(draw(Images(MEMBERS.pixels, np.zeros(300, np.int64)), KIND_NAMES[1:], 0)) == 30


def by_hand(inside: list[bool], ties: list[int], kinds: list[str] | None = None) -> Canaries:
    count = len(inside)
    images = random_images(count, seed=0)
    names = np.array(kinds or ["plain"] * count)
    return Canaries(np.arange(count), names, images, np.array(inside), np.array(ties))


def test_guesses_by_hand() -> None:
    """Eight canaries of one kind: the two highest are said to be in, the two lowest out; no opinion ranks last."""
    drawn = by_hand([True, False] * 4, list(range(8)))
    scores = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, np.nan])
    assert guessed(scores, drawn).tolist() == [1, 1, 0, 0, 0, 0, -1, -1]
    (row,) = bounds({"a": scores}, drawn, ["plain"], 0.0, 1)
    assert (row.kind, row.canaries, row.inside, row.guesses, row.correct) == ("plain", 8, 4, 4, 2)
    assert row.auc is not None
    assert row.auc.estimate == 10 / 16  # 4 + 3 + 2 + 1 pairs won
    assert row.alone.if_gaussian is None


def test_kinds_are_not_compared_with_each_other() -> None:
    """Scores of one kind lie far above those of the other; each has its own guesses, and no AUC joins them."""
    drawn = by_hand([True, False] * 4, list(range(8)), ["plain"] * 4 + ["mislabelled"] * 4)
    scores = np.array([103.0, 102, 101, 100, 3, 2, 1, 0])
    assert guessed(scores, drawn).tolist() == [1, 0, 0, -1, 1, 0, 0, -1]
    rows = {row.kind: row for row in bounds({"a": scores}, drawn, ["mislabelled", "plain"], DELTA, 3)}
    assert list(rows) == [ALL_KINDS, "mislabelled", "plain"]
    assert rows[ALL_KINDS].auc is None
    assert rows["plain"].auc is not None
    assert [rows[kind].guesses for kind in rows] == [4, 2, 2]
    assert rows[ALL_KINDS].correct == rows["plain"].correct + rows["mislabelled"].correct == 4


def test_one_kind_is_one_row() -> None:
    assert groups(["plain"]) == ("plain",)
    assert groups(KIND_NAMES) == (ALL_KINDS, *KIND_NAMES)


@given(seed=st.integers(0, 10_000), levels=st.integers(1, 5))
def test_how_many_guesses_depends_on_no_score_and_no_coin(seed: int, levels: int) -> None:
    drawn, rng = draw(MEMBERS, KIND_NAMES, 0, 50), np.random.default_rng(seed)
    scores = rng.integers(0, levels, 50).astype(float)
    found = guessed(scores, drawn)
    other = replace(drawn, inside=rng.integers(2, size=50) == 1)
    np.testing.assert_array_equal(guessed(scores, other), found)
    for kind in KINDS:
        mine = found[drawn.of_kind(kind)]
        assert np.sum(mine == 1) == np.sum(mine == -1) == {16: 4, 17: 4}[len(mine)]


def test_ties_are_broken_at_random() -> None:
    """Scores that are all equal: guesses follow the order drawn beforehand, and are right as often as a coin."""
    right = total = 0
    for seed in range(150):
        drawn = draw(MEMBERS, KIND_NAMES, seed, 60)
        (row, *_) = bounds({"a": np.zeros(60)}, drawn, KIND_NAMES, 0.0, 4)
        right, total = right + row.correct, total + row.guesses
    low, high = stats.binom.ppf([RARE, 1 - RARE], total, 0.5)
    assert low <= right <= high
    drawn = by_hand([True] * 8, [7, 6, 5, 4, 3, 2, 1, 0])
    assert guessed(np.zeros(8), drawn).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1]


def test_scores_that_know_the_coins_reach_the_largest_bound() -> None:
    drawn = draw(MEMBERS, KIND_NAMES, 0, 300)
    for row in bounds({"a": drawn.inside.astype(float)}, drawn, KIND_NAMES, DELTA, 4):
        assert row.correct == row.guesses
        assert row.alone.lower == row.alone.largest > 2
        assert row.together.lower == row.together.largest < row.alone.largest
        assert row.alone.if_gaussian is not None
        assert row.alone.if_gaussian > row.alone.lower


def test_scores_that_know_nothing_bound_nothing_above_zero() -> None:
    """Of 300 trials with 12 rows each, one in twenty at most shows a bound above 0 at the level of all rows."""
    rng, above, alone = np.random.default_rng(0), 0, 0
    for seed in range(300):
        drawn = by_hand((np.random.default_rng(seed).integers(2, size=60) == 1).tolist(), list(range(60)), EVERY_KIND)
        rows = bounds({name: rng.normal(size=60) for name in "abc"}, drawn, KIND_NAMES, 0.0, 12)
        above += headline(rows).together.lower > 0
        alone += any(row.alone.lower > 0 for row in rows)
    assert above <= stats.binom.ppf(OFTEN, 300, 0.05)
    assert alone > above, "without the correction there are more"


def test_what_can_be_shown_at_most_is_known_beforehand() -> None:
    """A quarter on each side, rounded: 7, 7, 6 give 2 + 2 + 2 guesses a side."""
    assert [guesses_a_side(count) for count in (1, 2, 5, 6, 7, 20, 22, 100)] == [0, 1, 1, 2, 2, 5, 6, 25]
    counts = {"mislabelled": 7, "out-of-distribution": 7, "plain": 6}
    drawn = by_hand([True] * 20, list(range(20)), [kind for kind, count in counts.items() for _ in range(count)])
    found = bounds({"a": np.zeros(20), "b": np.zeros(20)}, drawn, KIND_NAMES, DELTA, 8)
    assert [row.guesses for row in found[:4]] == [12, 4, 4, 4]
    assert reach(counts, 2, DELTA) == max(row.together.largest for row in found) > 0
    assert reach({"plain": 20}, 1, DELTA) == one_run_epsilon(20, 10, 10, DELTA)


def test_the_correction() -> None:
    assert corrected_level(1) == 0.95
    assert corrected_level(20) == pytest.approx(0.9975)
    assert epsilon(100, 50, 50, DELTA, 0.95).largest == one_run_epsilon(100, 50, 50, DELTA)


def test_the_headline_is_the_largest_bound_of_those_that_hold_together() -> None:
    drawn = draw(MEMBERS, KIND_NAMES, 0, 300)
    rng = np.random.default_rng(0)
    scores = {"weak": drawn.inside + rng.normal(size=300), "strong": drawn.inside + 0.4 * rng.normal(size=300)}
    found = bounds(scores, drawn, KIND_NAMES, DELTA, 8)
    best = headline(found)
    assert (best.attack, best.kind) == ("strong", ALL_KINDS)
    assert best.together.lower == max(row.together.lower for row in found) < best.alone.lower


CLAIM = PrivacyClaim(1.0, 1e-5, "image", "add/remove", {"sigma": 1.0}, "by hand", "none")


@pytest.mark.parametrize(
    ("changes", "answer", "said"),
    [
        ({}, "contradicted", "is contradicted: with that delta epsilon is at least"),
        ({"epsilon": 3.0}, "not contradicted", "Guesses that were all right would have"),
        ({"epsilon": 8.0}, "not contradicted", "could not have contradicted it"),
        ({"unit": "person"}, "not comparable", "per person"),
        ({"adjacency": "replace"}, "not comparable", "'replace'"),
        ({"unit": "", "adjacency": ""}, "not comparable", "unit that is not named and for units that are 'not stated'"),
        ({"delta": 0.5}, "not contradicted", "could not have contradicted it"),
    ],
)
def test_claims(changes: dict[str, Any], answer: str, said: str) -> None:
    """Nine of ten guesses are right; the claim's own delta counts, not that of the table."""
    drawn = draw(MEMBERS, ["plain"], 0, 300)
    scores = drawn.inside.astype(float)
    flipped = np.random.default_rng(0).permutation(300)[:20]
    scores[flipped] = 1 - scores[flipped]
    found = against_claim(replace(CLAIM, **changes), bounds({"a": scores}, drawn, ["plain"], DELTA, 1))
    assert found.answer == answer
    assert said in found.sentence


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


def test_coins_hang_on_members_whom_no_attacker_holds() -> None:
    """Pictures that occur twice are not drawn: the canaries are the same here, and all that an attacker holds."""
    single = MEMBERS.take(slice(0, 40))
    first, second = (
        draw(concatenate([single, MEMBERS.take(np.array([row, row]))]), ["plain"], 0, 40) for row in (40, 41)
    )
    assert first.images.digest == second.images.digest
    assert not np.array_equal(first.inside, second.inside)
    assert not np.array_equal(first.ties, second.ties)


def test_other_attacks_throw_other_coins_and_their_order_does_not_matter() -> None:
    coins = [draw(MEMBERS, ["plain"], 0, 60, attacks).inside for attacks in (["a", "b"], ["b", "a"], ["a"])]
    np.testing.assert_array_equal(coins[0], coins[1])
    assert not np.array_equal(coins[0], coins[2])


@pytest.mark.parametrize("changes", [{"epsilon": float("nan")}, {"epsilon": float("inf")}, {"delta": 1.0}])
def test_claims_that_are_no_numbers_are_not_compared(changes: dict[str, Any]) -> None:
    drawn = draw(MEMBERS, ["plain"], 0, 300)
    found = bounds({"a": drawn.inside.astype(float)}, drawn, ["plain"], DELTA, 1)
    assert against_claim(replace(CLAIM, **changes), found).answer == "not comparable"
