"""The rules of the policy in every file of the report."""

from __future__ import annotations

import re
from typing import Any

from junitparser import Error, Failure, JUnitXml, Skipped
from report_examples import RECORDS, audit, failing, passing, release, rule

from privaudit.policy import BUILT_IN, load_policy
from privaudit.reporting.junit import junit_xml
from privaudit.reporting.machine import metrics
from privaudit.reporting.page import render_html
from privaudit.reporting.rules import (
    exposed_limit,
    limit_words,
    measured_words,
    policy_table,
    rule_table,
    verdict_words,
)
from privaudit.reporting.summary import summary_markdown


def test_a_rule_in_words() -> None:
    broken, missing = rule("broken", "inconclusive"), rule("not assessed", "inconclusive")
    assert measured_words(broken) == "3 % (1 % to 6 %), n = 3,000"
    assert measured_words(missing) == "not assessed"
    assert limit_words(broken) == "at most 5 %, upper end"
    assert verdict_words(broken) == "✕ Broken (inconclusive)"
    assert verdict_words(rule("kept", "pass")) == "✓ Kept"
    table = rule_table((broken,))
    assert table is not None
    assert table.rows[0].cells == (
        "Members found at 1 % false accusations",
        "3 % (1 % to 6 %), n = 3,000",
        "at most 5 %, upper end",
        "✕ Broken (inconclusive)",
    )
    assert rule_table(()) is None


def test_the_policy_that_judged_is_a_table_of_rules() -> None:
    for name in BUILT_IN:
        policy = load_policy(name)
        written: dict[str, Any] = policy.model_dump(mode="json", by_alias=True)
        assert exposed_limit(written) == policy.exposed.limit()
        table = policy_table(written)
        assert table is not None
        assert [row.head for row in table.rows] == [one.id for one in policy.rules]
        assert [row.meaning for row in table.rows] == [one.reason for one in policy.rules]
    for odd in ({}, {"rules": 3}, {"rules": ["a"]}, {"rules": [{"metric": "tpr_at_1pct_fpr", "at_most": True}]}):
        assert exposed_limit(odd) is None


def test_the_page_shows_rules_reasons_and_what_is_due() -> None:
    note = "rule left-out: its waiver by Ada expired on 2026-05-31, so it lifts nothing"
    page = render_html(failing().model_copy(update={"policy_notes": (note,)}), {})
    assert "The rules of the policy" in page
    assert "What is due in the policy" in page
    assert note in re.sub("<[^>]*>", "", page)
    assert "✕ Broken (fail)" in page
    assert "waived by Ada until 2027-01-31: a trial" in page
    assert "The rules of the policy" not in render_html(passing(), {})


def test_one_case_per_rule_in_junit() -> None:
    suites = JUnitXml.fromstring(junit_xml(failing()))
    cases = {case.name: type(case.result[0]) if case.result else None for suite in suites for case in suite}
    assert cases["rule: exposed-share"] is Failure
    assert cases["rule: left-out"] is Skipped
    assert cases["rule: usefulness"] is Skipped
    assert cases["rule: file-traces"] is None
    assert Error not in cases.values()


def test_metrics_have_the_same_keys_whatever_came_of_a_rule() -> None:
    def of(verdict: Any) -> dict[str, Any]:
        return metrics(audit("pass", (release("a", "pass", (), rules=(rule(verdict, "inconclusive"),)),)))

    assert of("broken").keys() == of("not assessed").keys()
    assert of("broken")["releases.a.rules.exposed-share.high"] == 0.06
    assert of("not assessed")["releases.a.rules.exposed-share.high"] is None
    assert of("kept")["releases.a.rules.exposed-share.verdict"] == "kept"


def test_summary_shows_rules_and_notes() -> None:
    text = summary_markdown(failing().model_copy(update={"policy_notes": ("the policy was to be reviewed",)}))
    assert "| exposed-share | 3 % (1 % to 6 %), n = 3,000 | at most 5 %, upper end | ✕ Broken (fail) |" in text
    assert "- rule left-out: a note; waived by Ada" in text
    assert "### What is due in the policy\n\n- the policy was to be reviewed" in text
    assert all(summary_markdown(make()) for make in RECORDS.values())
