"""Several candidates: the chosen one is judged on controls that took no part in the choice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audit_examples import DEMO, FLOATS, clean_scores, evidence_of, usefulness
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privaudit import selection
from privaudit.evidence import AuditEvidence
from privaudit.judgement import judge

REQUIRED = ("nearest-copy", "density-ratio")
CONTROLS, FRESH = 800, 400


def several(accuracies: dict[str, float], seed: int = 2, controls: int = CONTROLS, fresh: int = FRESH) -> AuditEvidence:
    """Clean candidates of these accuracies."""
    rng = np.random.default_rng(seed)
    scores: dict[str, dict[str, FLOATS] | None] = {name: clean_scores(300, controls, fresh, rng) for name in REQUIRED}
    one = evidence_of(scores, 300, controls, fresh, seed)
    (release,) = one.facts.releases
    releases = tuple(
        release.model_copy(update={"name": name, "utility": usefulness(accuracy, accuracy)})
        for name, accuracy in accuracies.items()
    )
    found = {
        (name, attack): clean_scores(300, controls, fresh, np.random.default_rng([seed, number, place]))
        for number, name in enumerate(accuracies)
        for place, attack in enumerate(REQUIRED)
    }
    return AuditEvidence(one.facts.model_copy(update={"releases": releases}), found)


def even(count: int) -> FLOATS:
    """Normal scores without chance."""
    return np.asarray(norm.ppf((np.arange(count) + 0.5) / count))


def test_one_candidate_needs_no_choice() -> None:
    evidence = several({"only": 0.5})
    assert selection.split(evidence, DEMO) is None
    assert judge(evidence, DEMO).selection is None


@given(st.integers(900, 2000), st.integers(0, 600), st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_every_control_is_on_one_side_and_a_third_is_held_back(controls: int, fresh: int, seed: int) -> None:
    evidence = several({"a": 0.5, "b": 0.6}, seed, controls, fresh)
    parts = selection.split(evidence, DEMO)
    assert parts is not None
    for place, scores in evidence.scores.items():
        for name, values in scores.items():
            sides = [part.scores[place][name] for part in (parts.choosing, parts.confirming)]
            if name.endswith(" controls") or name == "release fresh":
                assert sorted(np.concatenate(sides)) == sorted(values)
                assert abs(len(sides[1]) - len(values) / 3) <= 1
            else:
                assert all(np.array_equal(side, values) for side in sides)
    for name in ("scored_controls", "scored_fresh"):
        counts = [getattr(part.facts.data, name) for part in (parts.choosing, parts.confirming)]
        assert sum(counts) == getattr(evidence.facts.data, name)


def test_the_same_controls_are_held_back_in_every_attack_and_arm() -> None:
    evidence = several({"a": 0.5, "b": 0.6})
    numbered = {
        place: {
            name: np.arange(len(values), dtype=np.float64) + (CONTROLS if name == "release fresh" else 0)
            for name, values in scores.items()
        }
        for place, scores in evidence.scores.items()
    }
    parts = selection.split(replace(evidence, scores=numbered), DEMO)
    assert parts is not None
    kept = [
        {
            "controls": scores["release controls"].tolist(),
            "raw": scores["raw controls"].tolist(),
            "plants": [value for value in scores["plant mirrored controls"] if value < CONTROLS],
        }
        for scores in parts.confirming.scores.values()
    ]
    assert all(one["controls"] == one["raw"] == one["plants"] == kept[0]["controls"] for one in kept)
    both = parts.confirming.scores["a", "nearest-copy"]
    assert both["plant mirrored controls"].tolist() == [*both["release controls"], *both["release fresh"]]


def test_the_most_useful_that_passes_is_chosen_and_confirmed() -> None:
    record = judge(several({"plain": 0.5, "best": 0.7, "middle": 0.6}), DEMO)
    assert record.verdict == "pass"
    assert record.selection is not None
    assert (record.selection.chosen, record.selection.confirmed) == ("best", True)
    assert record.selection.held_back_controls == 400
    assert record.data.scored_controls == CONTROLS
    sentences = {release.name: release.sentence for release in record.releases}
    assert "confirmed on 400 controls" in sentences["best"]
    assert "Not confirmed: the held-back controls were used for 'best'" in sentences["plain"]


def test_a_leak_that_only_the_held_back_controls_show_is_not_published() -> None:
    """The held-back controls lie a little below all others: too little to be seen among all of them."""
    evidence = several({"plain": 0.5, "best": 0.7})
    parts = selection.split(evidence, DEMO)
    assert parts is not None
    scores = {name: dict(values) for name, values in evidence.scores.items()}
    held = {
        name: set(parts.confirming.scores["best", "nearest-copy"][name].tolist())
        for name in ("release controls", "release fresh")
    }
    found = scores["best", "nearest-copy"]
    found["release members"] = even(300)
    for name, values in held.items():
        others = np.array([score not in values for score in found[name]])
        found[name][others], found[name][~others] = even(int(others.sum())), even(int((~others).sum())) - 0.25
    record = judge(replace(evidence, scores=scores), DEMO)
    assert record.selection is not None
    assert (record.selection.chosen, record.selection.confirmed) == ("best", False)
    best = next(release for release in record.releases if release.name == "best")
    assert best.verdict == record.verdict != "pass"
    assert best.reasons[0].startswith(f"{best.verdict}: on the held-back controls: ")
    assert "do not confirm it" in record.sentence
    assert "needs new controls" in record.selection.sentence


def test_a_second_candidate_never_improves_the_verdict_of_the_first() -> None:
    """Two of 300 members above every control: doubtful among all of them, though fewer controls would not see it."""
    alone = several({"only": 0.5}, controls=1500, fresh=700)
    twice = several({"only": 0.5, "again": 0.6}, controls=1500, fresh=700)
    found = {place: dict(scores) for place, scores in twice.scores.items()}
    for scores in found.values():
        scores.update(alone.scores["only", "nearest-copy"])
        scores["release members"] = scores["release members"].copy()
        scores["release members"][:3] = 30
    one = judge(replace(alone, scores={("only", name): found["only", name] for name in REQUIRED}), DEMO)
    both = judge(replace(twice, scores=found), DEMO)
    assert one.verdict != "pass"
    assert {release.verdict for release in both.releases} == {one.verdict}


def test_controls_that_may_have_been_used_before_confirm_nothing() -> None:
    evidence = several({"plain": 0.5, "best": 0.7})
    facts = evidence.facts.model_copy(update={"manifest": {"earlier_audits_of_these_members": 2}})
    record = judge(replace(evidence, facts=facts), DEMO)
    assert record.selection is not None
    assert (record.selection.chosen, record.selection.confirmed) == ("best", None)
    assert "2 other candidates of these members had been audited before" in record.selection.sentence


@pytest.mark.parametrize(("controls", "confirmed"), [(CONTROLS, True), (200, None)])
def test_too_few_controls_to_hold_any_back(controls: int, confirmed: bool | None) -> None:
    record = judge(several({"plain": 0.5, "best": 0.7}, controls=controls), DEMO)
    assert record.selection is not None
    assert record.selection.confirmed is confirmed
    if confirmed is None:
        assert record.selection.held_back_controls == 0
        assert all("not confirmed" in release.sentence for release in record.releases if release.verdict == "pass")


def test_nothing_is_confirmed_where_nothing_passes() -> None:
    evidence = several({"plain": 0.5, "best": 0.7})
    leaking = {
        place: {**scores, "release members": scores["release members"] + 3} for place, scores in evidence.scores.items()
    }
    record = judge(replace(evidence, scores=leaking), DEMO)
    assert record.verdict == "fail"
    assert record.selection is not None
    assert (record.selection.chosen, record.selection.confirmed) == (None, None)
