"""One rule of a policy and what was measured: kept, broken, not assessed or waived, in one sentence."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.policy import PolicyRule
from privaudit.policy_metrics import METRICS, Side
from privaudit.rule_record import Asked, RuleRecord, RuleValue, RuleVerdict

_WORST: tuple[RuleVerdict, ...] = ("broken", "waived", "kept")


@dataclass(frozen=True)
class Value:
    """Something measured.

    words: what was found, a clause without its end. estimate: None where what the rule asks for is not there at all,
    which breaks it. low, high: ends of the 95 % interval; None: exact. n: what it was measured on. kept: said by the
    finding itself, where the limit is a parameter of the test. of: the attack that it was measured of.
    """

    words: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    kept: bool | None = None
    of: str | None = None


@dataclass(frozen=True)
class Missing:
    """Why something was not assessed, and what to do about it."""

    why: str
    step: str | None = None


def evaluate(rule: PolicyRule, found: Sequence[Value] | Missing, today: datetime.date) -> RuleRecord:
    """What has become of a rule. found: one value, or one for each attack, of which the worst counts.

    A rule is broken where the end of the interval that it names does not keep the limit; where the rest of the interval
    does, the break is not shown and means inconclusive at most. A waiver that has not expired turns a broken rule into
    a note, and nothing else.
    """
    if isinstance(found, Missing):
        return _record(rule, "not assessed", "inconclusive", found.why)
    few = [value for value in found if value.n is not None and value.n < rule.minimum_n]
    if few:
        counted = METRICS[rule.metric].counted
        why = f"too few: it needs {rule.minimum_n:,} {counted}; found {few[0].n or 0:,}"
        return _record(rule, "not assessed", "inconclusive", why, few[0])
    if not found or any(end is not None and math.isnan(end) for value in found for end in _interval(value)):
        return _record(rule, "not assessed", "inconclusive", "it has no value here")
    return min((_judged(rule, value, today) for value in found), key=_order)


def _order(record: RuleRecord) -> tuple[bool, int, float]:
    """The worst comes first: by what it leads to, by its verdict, by the end of the interval that counts."""
    end = None if record.value is None else _named(record.side, record.value)
    nearness = math.inf if end is None else end
    return record.leads_to != "fail", _WORST.index(record.verdict), -nearness if record.bound == "at_most" else nearness


def _named(side: Side, value: Value | RuleValue) -> float | None:
    """The end of the interval that a rule names, or the estimate."""
    low, estimate, high = _interval(value)
    return {"lower": low, "estimate": estimate, "upper": high}[side]


def _interval(value: Value | RuleValue) -> tuple[float | None, float | None, float | None]:
    """Lower end, estimate, upper end."""
    low = value.estimate if value.low is None else value.low
    high = value.estimate if value.high is None else value.high
    return low, value.estimate, high


def _judged(rule: PolicyRule, value: Value, today: datetime.date) -> RuleRecord:
    limit = rule.limit(value.n or 0)
    low, _, high = _interval(value)
    named = _named(rule.side, value)
    if value.kept is not None:
        broken, shown = not value.kept, True
    else:
        broken = _beyond(rule, named, limit)
        shown = rule.side == "estimate" or (_beyond(rule, low, limit) and _beyond(rule, high, limit))
    number = in_words(rule.metric, limit) if limit else "none"
    text = f"{value.words}; the limit is {f'at least {number}' if rule.bound == 'at_least' else number}"
    if not broken:
        return _record(rule, "kept", "pass", text, value)
    if not shown:
        text += ", and the 95 % interval lies on both sides of it"
    if rule.waiver is not None and not rule.waiver.expired(today):
        text += f"; waived by {rule.waiver.by} until {rule.waiver.until}: {rule.waiver.why.rstrip('.')}"
        return _record(rule, "waived", "pass", text, value)
    if rule.waiver is not None:
        text += f"; its waiver by {rule.waiver.by} expired on {rule.waiver.until}"
    return _record(rule, "broken", rule.severity if shown else "inconclusive", text, value)


def _beyond(rule: PolicyRule, value: float | None, limit: float) -> bool:
    if value is None:
        return True
    return value > limit if rule.bound == "at_most" else value < limit


def in_words(metric: str, number: float) -> str:
    """A value or limit of a metric: per cent for shares, else plain."""
    if metric in METRICS and METRICS[metric].share:
        return f"{100 * number:.3g} %"
    return f"{number:,.0f}" if number == round(number) and abs(number) < 1e15 else f"{number:g}"


def _record(
    rule: PolicyRule, verdict: RuleVerdict, leads_to: Asked, sentence: str, value: Value | None = None
) -> RuleRecord:
    return RuleRecord(
        id=rule.id,
        metric=rule.metric,
        verdict=verdict,
        leads_to=leads_to,
        value=None
        if value is None
        else RuleValue(estimate=value.estimate, low=value.low, high=value.high, n=value.n, of=value.of),
        side=rule.side,
        bound=rule.bound,
        limit=rule.limit(0 if value is None else value.n or 0),
        minimum_n=rule.minimum_n,
        severity=rule.severity,
        sentence=sentence,
        reason=rule.reason,
    )
