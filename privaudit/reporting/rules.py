"""The rules of the policy in the report: what each was held against, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from privaudit.policy_metrics import EXPOSED, METRICS, SUSPECTED
from privaudit.policy_rules import in_words
from privaudit.reporting.tables import Row, Table
from privaudit.reporting.text import count
from privaudit.rule_record import RuleRecord

WORDS = {
    "kept": ("Kept", "✓"),
    "broken": ("Broken", "✕"),
    "not assessed": ("Not assessed", "?"),
    "waived": ("Waived", "!"),
}
"""How the verdict on a rule is shown: never by colour alone."""

_BOUNDS = {"at_most": "at most", "at_least": "at least"}


def exposed_limit(policy: Mapping[str, Any]) -> float | None:
    """The policy's limit on the share of members found at 1 % false accusations; None where it sets none."""
    for rule in _rules(policy):
        value = rule.get("at_most")
        if rule.get("metric") == EXPOSED and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def measured_words(rule: RuleRecord) -> str:
    """What the rule was held against, with its interval and what it was measured on."""
    value = rule.value
    if value is None:
        return "not assessed"
    if rule.metric == SUSPECTED:
        return "nobody is named" if rule.verdict == "kept" else f"members are named by {value.of}"
    ends = [None if end is None else in_words(rule.metric, end) for end in (value.low, value.high)]
    interval = None if ends[0] is None or ends[1] is None else f"{ends[0]} to {ends[1]}"
    if value.estimate is None:
        words = interval or "none"
    else:
        words = in_words(rule.metric, value.estimate) + (f" ({interval})" if interval else "")
    return words + (f", n = {count(value.n)}" if value.n is not None else "")


def limit_words(rule: RuleRecord) -> str:
    """The limit, and the end of the interval that must keep it."""
    if rule.metric == SUSPECTED:
        return f"nobody, at a rate of {in_words(rule.metric, rule.limit)}"
    side = "" if rule.side == "estimate" else f", {rule.side} end"
    return f"{_BOUNDS[rule.bound]} {in_words(rule.metric, rule.limit)}{side}"


def verdict_words(rule: RuleRecord) -> str:
    """Kept, broken, not assessed or waived; and what follows, where it is not what the severity says."""
    word, symbol = WORDS[rule.verdict]
    return f"{symbol} {word}" + (f" ({rule.leads_to})" if rule.leads_to != "pass" else "")


def rule_table(rules: Sequence[RuleRecord]) -> Table | None:
    """Every rule, what it was held against and what came of it; None for records without rules."""
    if not rules:
        return None
    rows = tuple(
        Row(
            rule.id,
            (_title(rule.metric), measured_words(rule), limit_words(rule), verdict_words(rule)),
            f"{rule.sentence.rstrip('.')}. Why this limit: {rule.reason}",
        )
        for rule in rules
    )
    return Table("The rules of the policy", ("Rule", "Limits", "Measured", "Limit", "Kept?"), rows)


def policy_table(policy: Mapping[str, Any]) -> Table | None:
    """The rules as the policy has them; None where it holds none."""
    rows = tuple(
        Row(
            str(rule.get("id", "")),
            (
                str(rule.get("metric", "")),
                _limit(rule),
                str(rule.get("side", "")),
                str(rule.get("minimum_n", "")),
                str(rule.get("severity", "")),
                _waiver(rule.get("waiver")),
            ),
            str(rule.get("reason", "")),
        )
        for rule in _rules(policy)
    )
    columns = ("Rule", "Metric", "Limit", "Side", "Minimum n", "Severity", "Waiver")
    return Table("Its rules, with the reason for each", columns, rows) if rows else None


def without_rules(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Everything else that a policy says."""
    return {key: value for key, value in policy.items() if key != "rules"}


def _rules(policy: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rules = policy.get("rules")
    return [rule for rule in rules if isinstance(rule, Mapping)] if isinstance(rules, list | tuple) else []


def _title(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else metric


def _limit(rule: Mapping[str, Any]) -> str:
    for bound, words in _BOUNDS.items():
        value = rule.get(bound)
        if isinstance(value, int | float):
            share = rule.get("or_share")
            beside = f", or {100 * share:g} % of the scored members" if isinstance(share, int | float) else ""
            return f"{words} {in_words(str(rule.get('metric')), value)}{beside}"
    return "none"


def _waiver(waiver: Any) -> str:
    return f"by {waiver.get('by')} until {waiver.get('until')}" if isinstance(waiver, Mapping) else "none"
