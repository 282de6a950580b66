"""Context and governance of an audit: who answers, who receives, what is due, what was waived, when to audit again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from privaudit.record import AuditRecord
from privaudit.reporting.tables import Fact, Row, Table
from privaudit.reporting.text import count

_EMPTY = "not given"


def recipient(policy: Mapping[str, Any]) -> Fact:
    """Who receives the release: the same data may identify a person for one holder and not for another."""
    who = str(policy.get("recipient") or "") or _EMPTY
    meaning = (
        "Everybody: assume any means reasonably likely to be used by anyone."
        if who == "public"
        else "The verdict holds for this recipient only. Passed on to others, the release must be audited for them."
    )
    return Fact("Recipient", who, meaning)


def governance(record: AuditRecord) -> tuple[Fact, ...]:
    """Who answers for the limits, and how long they hold."""
    policy = record.policy
    earlier = record.manifest.get("earlier_audits_of_these_members")
    facts = [
        Fact("Owner", _given(policy, "owner"), "Who answers for the limits of the policy."),
        recipient(policy),
        Fact("Policy", str(policy.get("name") or _EMPTY), "The limits that judged. Its rules stand below."),
        Fact("Policy reviewed on", _given(policy, "date"), "When its limits were last looked at."),
        Fact(
            "Next review", _given(policy, "review_by"), "Until then the verdict may be relied on, if nothing changes."
        ),
        Fact("Judged on", record.judged_on or _EMPTY, "The day on which waivers and reviews were held against."),
    ]
    if isinstance(earlier, int):
        facts.append(
            Fact(
                "Earlier audits of these members",
                count(earlier),
                "Fewer are better. The best of many candidates looks better than it is.",
            )
        )
    facts.append(
        Fact(
            "Audit again when",
            "anything changes, and at the next review",
            "The candidate, the policy or the recipient changes; stronger attacks are known or installed; other data "
            "on the same persons become public.",
        )
    )
    return tuple(facts)


def waivers(record: AuditRecord) -> Table | None:
    """Who takes a broken rule upon himself; None where the policy waives nothing."""
    rows = []
    rules = record.policy.get("rules")
    for rule in rules if isinstance(rules, list | tuple) else ():
        waiver = rule.get("waiver") if isinstance(rule, Mapping) else None
        if isinstance(waiver, Mapping):
            cells = tuple(str(waiver.get(key) or _EMPTY) for key in ("by", "until", "why"))
            rows.append(Row(str(rule.get("id", "")), cells))
    return Table("Waivers", ("Rule", "By", "Until", "Why"), tuple(rows)) if rows else None


def _given(policy: Mapping[str, Any], key: str) -> str:
    return str(policy.get(key) or "") or _EMPTY
