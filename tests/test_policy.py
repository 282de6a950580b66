"""Policies: shipped, read from files, refused with a suggestion."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from privaudit.errors import InputError
from privaudit.plants import KINDS
from privaudit.policy import BUILT_IN, Policy, built_in_text, load_policy
from privaudit.policy_metrics import METRICS


@pytest.mark.parametrize("name", BUILT_IN)
def test_shipped_policies_are_complete_and_read_like_files(name: str, tmp_path: Path) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.required_attacks == ("nearest-copy", "density-ratio")
    plants = {rule.metric.partition(".")[2] for rule in policy.rules if rule.metric.startswith("detection_limit.")}
    assert plants >= {"mirrored", "jpeg", "cropped"}
    assert all(len(rule.reason) > 20 for rule in policy.rules)
    copy = tmp_path / "policy.yaml"
    copy.write_text(built_in_text(name))
    assert load_policy(str(copy)) == policy


def test_limits_that_the_data_can_show() -> None:
    expected = {"default": (0.05, 1000), "demo": (0.10, 270), "strict": (0.03, 3000), "research": (0.09, 320)}
    for name, (limit, count) in expected.items():
        policy = load_policy(name)
        assert (policy.exposed.limit(), policy.minimum_members, policy.minimum_controls) == (limit, count, count)
        assert policy.suspected_q == 0.1
    dose = load_policy("default").rules_on("detection_limit.jpeg")[0]
    assert [dose.limit(n) for n in (100, 1000, 1049, 3000)] == [10, 10, 10, 30]


def test_scored_members_and_controls_may_be_asked_for_apart() -> None:
    more = {"id": "many", "metric": "scored_controls", "at_least": 500, "severity": "inconclusive", "reason": "power"}
    policy = made(rules=[*DEMO_RULES, more])
    assert (policy.minimum_members, policy.minimum_controls) == (270, 500)
    assert policy.enough(270, 500)
    assert not policy.enough(270, 499)


DEMO_RULES = load_policy("demo").model_dump(exclude_none=True)["rules"]


def made(**changes: Any) -> Policy:
    values = load_policy("demo").model_dump(by_alias=True, exclude_none=True) | changes
    return Policy.model_validate(values)


def changed(tmp_path: Path, old: str, new: str) -> Policy:
    text = built_in_text("default")
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1))
    return load_policy(str(path))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("at_most: 0.05", "at_mots: 0.05", "Did you mean 'at_most'"),
        ("metric: tpr_at_1pct_fpr", "metric: tpr_at_1pct", "Did you mean 'tpr_at_1pct_fpr'"),
        ("at_most: 0.05", "at_most: 0.01", "rule 'exposed-share': at_most must be above 0.01"),
        ("at_most: 0.05", "at_most: 1", "rule 'exposed-share': at_most must be above 0.01"),
        ("at_most: 0.05", "at_most: much", "found 'much'"),
        ("at_most: 0.05", "at_least: 0.05", "is written with 'at_most'"),
        ("at_most: 0.05", "at_most: 0.05\n    at_least: 0.01", "exactly one of 'at_most' and 'at_least'"),
        ("side: upper", "side: lower", "the side of tpr_at_1pct_fpr is upper"),
        ("    side: upper\n", "", "the side of tpr_at_1pct_fpr is upper"),
        ("minimum_n: 1000", "minimum_n: 0", "needs a 'minimum_n'"),
        ("detection_limit.mirrored", "detection_limit.miror", "Did you mean 'detection_limit.mirrored'"),
        ("required_attacks: [nearest-copy, density-ratio]", "required_attacks: []", "required_attacks"),
        ("metric: suspected_q\n    at_most: 0.1", "metric: suspected_q\n    at_most: 0.5", "at most 0.1; found 0.5"),
        ("metric: identical_copies\n    at_most: 0", "metric: identical_copies\n    at_most: 1", "at most 0; found 1"),
        ("    severity: inconclusive", "    severity: fail", "the severity of a rule on left_out_share"),
        ("    severity: fail", "    severity: shrug", "severity"),
        ("or_share: 0.01", "or_share: 0.5", "or_share"),
        ("at_most: 0.1\n    severity: fail", "at_most: 0.1\n    or_share: 0.1\n    severity: fail", "KIND only"),
        (
            "at_most: 0.1\n    severity: fail",
            "at_most: 0.1\n    minimum_n: 9\n    severity: fail",
            "takes no 'minimum_n'",
        ),
        ("id: left-out", "id: exposed-share", "two rules are called 'exposed-share'"),
        ("id: left-out", "id: Left_Out", "id"),
        (
            "metric: left_out_share\n    at_most: 0.1\n    severity: inconclusive",
            "metric: suspected_q\n    at_most: 0.1\n    severity: fail",
            "only one rule may limit suspected_q",
        ),
        ("metric: identical_copies", "metric: file_traces", "a rule on identical_copies is missing"),
        ("schema: 2", "schema: 3", "schema"),
        ('review_by: ""', "review_by: soon", "written as 2027-01-31"),
        (
            "    at_most: 0\n    severity: fail",
            "    at_most: 0\n    waiver: {by: me, until: 2030-01-01, why: so}\n    severity: fail",
            "cannot be waived",
        ),
        ("at_most: 0.05", "at_most: 0.05\n    waiver: {by: me, until: 2030-01-01}", "why the rule may be broken"),
        ("at_most: 0.05", "at_most: .inf", "at_most"),
    ],
)
def test_wrong_values_are_refused_by_name(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        changed(tmp_path, old, new)
    assert said in str(error.value)
    assert "mine.yaml" in str(error.value)


def test_every_metric_can_be_limited() -> None:
    once = {rule["metric"] for rule in DEMO_RULES}
    for number, (name, metric) in enumerate(METRICS.items()):
        limit = metric.highest if metric.highest <= 1 else 1.0
        rule = {"id": f"rule-{number}", "metric": name, metric.bounds[0]: limit, "reason": "a test"}
        rule |= {"side": metric.sides[0], "severity": metric.severities[0]}
        others = [one for one in DEMO_RULES if not (metric.once and one["metric"] == name)]
        minimum = {"minimum_n": 5} if metric.counted else {}
        assert made(rules=[*others, rule | minimum]).rules_on(name)
    assert once < set(METRICS)
    assert {name.partition(".")[2] for name in METRICS if name.startswith("detection_limit.")} == set(KINDS)


def test_similarity_and_power_never_decide_alone() -> None:
    for name, metric in METRICS.items():
        if name.startswith(("similarity.", "detection_limit.")):
            assert metric.severities == ("inconclusive",)


def test_a_date_may_be_written_as_one(tmp_path: Path) -> None:
    assert changed(tmp_path, 'date: ""', "date: 2026-03-01").date == "2026-03-01"
    assert changed(tmp_path, 'review_by: ""', "review_by: 2027-03-01").review_by == "2027-03-01"


def test_what_is_due_in_the_policy(tmp_path: Path) -> None:
    policy = changed(tmp_path, 'review_by: ""', "review_by: 2027-03-01")
    assert policy.notes(datetime.date(2027, 3, 1)) == ()
    assert policy.notes(datetime.date(2027, 3, 2)) == (
        "the policy 'default' was to be reviewed by 2027-03-01: have it reviewed",
    )
    waived = changed(tmp_path, "at_most: 0.05", "at_most: 0.05\n    waiver: {by: Ada, until: 2027-03-01, why: trial}")
    assert waived.notes(datetime.date(2027, 3, 1)) == ()
    assert waived.notes(datetime.date(2027, 3, 2)) == (
        "rule exposed-share: its waiver by Ada expired on 2027-03-01, so it lifts nothing",
    )


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "name: [unclosed", "just text"])
def test_files_that_are_no_policy(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(InputError):
        load_policy(str(path))


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Allowed: default, demo, strict, research, dp-claim"):
        load_policy("lenient")
    with pytest.raises(InputError, match="does not exist"):
        load_policy(str(tmp_path / "none.yaml"))


def test_a_policy_cannot_be_changed_in_place() -> None:
    policy: Any = load_policy("default")
    with pytest.raises(Exception, match="frozen"):
        policy.name = "mine"
