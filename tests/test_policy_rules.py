"""One rule and one value: kept, broken, not assessed, waived; worked by hand."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest

from privaudit.policy import PolicyRule
from privaudit.policy_rules import Missing, Value, evaluate

TODAY = datetime.date(2026, 6, 1)
TPR: dict[str, Any] = {"metric": "tpr_at_1pct_fpr", "side": "upper", "at_most": 0.05, "minimum_n": 1000}
RATIO: dict[str, Any] = {"metric": "utility.ratio", "side": "lower", "at_least": 0.8}


def rule(**values: Any) -> PolicyRule:
    return PolicyRule.model_validate({"id": "mine", "severity": "fail", "reason": "a test"} | values)


def outcome(made: PolicyRule, *values: Value) -> tuple[str, str]:
    found = evaluate(made, values, TODAY)
    return found.verdict, found.leads_to


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.05, ("kept", "pass")),
        (0.01, 0.051, ("broken", "inconclusive")),  # the break is not shown
        (0.05, 0.08, ("broken", "inconclusive")),
        (0.051, 0.08, ("broken", "fail")),
    ],
)
def test_upper_end_under_a_limit(low: float, high: float, expected: tuple[str, str]) -> None:
    assert outcome(rule(**TPR), Value("it", 0.03, low, high, 1000)) == expected


@pytest.mark.parametrize(
    ("side", "low", "high", "expected"),
    [
        ("lower", 0.8, 0.9, ("kept", "pass")),
        ("lower", 0.79, 0.9, ("broken", "inconclusive")),
        ("lower", 0.6, 0.79, ("broken", "fail")),
        ("estimate", 0.7, 0.9, ("broken", "fail")),
        ("upper", 0.7, 0.8, ("kept", "pass")),
        ("upper", 0.7, 0.79, ("broken", "fail")),
    ],
)
def test_sides_of_at_least(side: str, low: float, high: float, expected: tuple[str, str]) -> None:
    assert outcome(rule(**RATIO | {"side": side}), Value("it", 0.75, low, high, 500)) == expected


def test_exact_values_meet_the_limit_itself() -> None:
    images = {"metric": "images", "severity": "inconclusive"}
    assert outcome(rule(**images, at_most=10), Value("it", 10)) == ("kept", "pass")
    assert outcome(rule(**images, at_most=10), Value("it", 11)) == ("broken", "inconclusive")
    assert outcome(rule(**images, at_least=10), Value("it", 10)) == ("kept", "pass")
    assert outcome(rule(**images, at_least=10), Value("it", 9)) == ("broken", "inconclusive")


def test_what_was_not_assessed_is_inconclusive_whatever_the_severity() -> None:
    missing = evaluate(rule(**TPR), Missing("there are no controls"), TODAY)
    assert (missing.verdict, missing.leads_to, missing.value) == ("not assessed", "inconclusive", None)
    assert missing.sentence == "there are no controls"
    few = evaluate(rule(**TPR), [Value("it", 0.03, 0.01, 0.04, 999)], TODAY)
    assert (few.verdict, few.leads_to) == ("not assessed", "inconclusive")
    assert "too few: it needs 1,000 scored members and controls, each; found 999" in few.sentence
    for number in (math.nan, float("nan")):
        assert outcome(rule(**RATIO), Value("it", number, 0.9, 0.95, 9)) == ("not assessed", "inconclusive")
    assert outcome(rule(**RATIO)) == ("not assessed", "inconclusive")


def test_the_worst_of_several_attacks_counts() -> None:
    wide, sure, quiet = (
        Value("wide", 0.05, 0.02, 0.2, 1000, of="wide"),
        Value("sure", 0.07, 0.06, 0.1, 1000, of="sure"),
        Value("quiet", 0.01, 0.0, 0.03, 1000, of="quiet"),
    )
    found = evaluate(rule(**TPR), [quiet, wide, sure], TODAY)
    assert found.value is not None
    assert (found.leads_to, found.value.of) == ("fail", "sure")
    assert outcome(rule(**TPR), quiet, wide) == ("broken", "inconclusive")
    assert outcome(rule(**TPR), quiet, quiet) == ("kept", "pass")
    louder = Value("louder", 0.0, 0.0, 0.04, 1000, of="louder")
    kept = evaluate(rule(**TPR), [quiet, louder], TODAY)
    assert kept.value is not None
    assert kept.value.of == "louder"


def test_what_is_not_there_at_all_breaks_every_limit() -> None:
    claim = rule(metric="claim.epsilon", at_most=8)
    assert outcome(claim, Value("there is no claim")) == ("broken", "fail")
    assert outcome(claim, Value("it", 8.0)) == ("kept", "pass")
    assert outcome(claim, Value("it", math.inf)) == ("broken", "fail")


def test_a_limit_that_is_also_a_share_of_the_members() -> None:
    dose = rule(metric="detection_limit.jpeg", at_most=10, or_share=0.01, severity="inconclusive")
    assert outcome(dose, Value("it", 11, n=1000)) == ("broken", "inconclusive")
    assert outcome(dose, Value("it", 11, n=1100)) == ("kept", "pass")
    assert outcome(dose, Value("never found", n=1100)) == ("broken", "inconclusive")
    assert evaluate(dose, [Value("it", 11, n=3000)], TODAY).limit == 30


def test_waivers_make_a_broken_rule_a_note_until_their_last_day() -> None:
    def waived(until: str, **values: Any) -> PolicyRule:
        return rule(**TPR | values, waiver={"by": "Ada, privacy office", "until": until, "why": "a closed trial."})

    broken, kept = Value("it", 0.07, 0.06, 0.1, 1000), Value("it", 0.01, 0.0, 0.03, 1000)
    found = evaluate(waived("2026-06-01"), [broken], TODAY)
    assert (found.verdict, found.leads_to) == ("waived", "pass")
    assert found.sentence.endswith("waived by Ada, privacy office until 2026-06-01: a closed trial")
    expired = evaluate(waived("2026-05-31"), [broken], TODAY)
    assert (expired.verdict, expired.leads_to) == ("broken", "fail")
    assert "its waiver by Ada, privacy office expired on 2026-05-31" in expired.sentence
    assert outcome(waived("2026-06-01"), kept) == ("kept", "pass")
    assert evaluate(waived("2026-06-01"), Missing("nobody looked"), TODAY).leads_to == "inconclusive"
    assert outcome(waived("2026-06-01"), Value("it", 0.01, 0.0, 0.03, 10)) == ("not assessed", "inconclusive")


def test_a_sentence_says_what_was_found_and_the_limit() -> None:
    kept = evaluate(rule(**TPR), [Value("nearest-copy finds 1 %", 0.01, 0.0, 0.03, 1000)], TODAY)
    assert kept.sentence == "nearest-copy finds 1 %; the limit is 5 %"
    unsure = evaluate(rule(**TPR), [Value("nearest-copy finds 4 %", 0.04, 0.0, 0.09, 1000)], TODAY)
    assert unsure.sentence.endswith("the limit is 5 %, and the 95 % interval lies on both sides of it")
