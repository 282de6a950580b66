"""The policy: rules that a release candidate must keep, in a file that is reviewed like code."""

from __future__ import annotations

import datetime
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from privaudit.attack import Settings
from privaudit.errors import InputError, suggestion
from privaudit.policy_metrics import (
    CONTROLS,
    DETECTION,
    EXPOSED,
    IDENTICAL,
    MEMBERS,
    METRICS,
    SUSPECTED,
    Bound,
    Metric,
    Severity,
    Side,
)
from privaudit.validation import read_yaml, validated

BUILT_IN = ("default", "demo", "strict", "research", "dp-claim")
STANDARD_Q = 0.1
"""False discovery rate of the suspected list where a policy sets none."""


def _as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date) else value


def _is_day(value: str) -> str:
    if value:
        try:
            datetime.date.fromisoformat(value)
        except ValueError:
            raise ValueError("a day belongs here, written as 2027-01-31") from None
    return value


Text = Annotated[str, BeforeValidator(_as_text)]
Day = Annotated[str, BeforeValidator(_as_text), AfterValidator(_is_day)]


def _passed(day: str, today: datetime.date) -> bool:
    return bool(day) and datetime.date.fromisoformat(day) < today


class Waiver(Settings):
    """Somebody takes a broken rule upon himself until a day; until then it is a note."""

    by: str = Field(min_length=1, description="who waives the rule, by name and office")
    until: Day = Field(min_length=1, description="last day of the waiver, as 2027-01-31")
    why: str = Field(min_length=1, description="why the rule may be broken so long")

    def expired(self, today: datetime.date) -> bool:
        """Whether the last day is over."""
        return _passed(self.until, today)


class PolicyRule(Settings):
    """One limit on one metric, with what breaking it means and why it is there."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="name of the rule: small letters, digits, hyphens")
    metric: str = Field(
        description="what is limited (see: privaudit explain METRIC)", json_schema_extra={"enum": list(METRICS)}
    )
    side: Side = Field("estimate", description="end of the 95 % interval that must keep the limit, or the estimate")
    at_most: float | None = Field(None, allow_inf_nan=False, description="the largest value that keeps the rule")
    at_least: float | None = Field(None, allow_inf_nan=False, description="the smallest value that keeps the rule")
    or_share: float | None = Field(
        None, ge=0, le=0.2, description="of detection limits: this share of the scored members, where that is more"
    )
    minimum_n: int = Field(0, ge=0, description="with fewer the rule is not assessed; 0: no such number")
    severity: Severity = Field(description="what a broken rule means: fail or inconclusive")
    reason: str = Field(min_length=1, description="why this limit, and its source")
    waiver: Waiver | None = Field(None, description="who takes a broken rule upon himself, until when, and why")

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in METRICS:
            raise ValueError(f"there is no such metric. {suggestion(metric, METRICS)}")
        return metric

    @model_validator(mode="after")
    def _fits_its_metric(self) -> PolicyRule:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"rule '{self.id}' needs exactly one of 'at_most' and 'at_least'")
        for problem in _problems(self, METRICS[self.metric]):
            raise ValueError(f"rule '{self.id}': {problem}")
        return self

    @property
    def bound(self) -> Bound:
        """On which side of the limit the rule is kept."""
        return "at_most" if self.at_most is not None else "at_least"

    def limit(self, n: int = 0) -> float:
        """The limit. n: scored members, which a limit that is also a share depends on."""
        limit = self.at_most if self.at_most is not None else self.at_least
        if limit is None:
            raise InputError(f"The rule '{self.id}' has no limit: give it 'at_most' or 'at_least'.")
        return limit if self.or_share is None else max(limit, round(self.or_share * n))


def _problems(rule: PolicyRule, metric: Metric) -> list[str]:
    """What the metric does not allow."""
    found, limit = [], rule.limit()
    if rule.bound not in metric.bounds:
        found.append(f"a limit on {rule.metric} is written with '{metric.bounds[0]}'")
    if rule.side not in metric.sides:
        found.append(f"the side of {rule.metric} is {' or '.join(metric.sides)}, not {rule.side}")
    if rule.severity not in metric.severities:
        found.append(f"the severity of a rule on {rule.metric} is {metric.severities[0]}, not {rule.severity}")
    if not metric.lowest <= limit <= metric.highest or (metric.lowest_excluded and limit == metric.lowest):
        above = "above" if metric.lowest_excluded else "at least"
        found.append(f"{rule.bound} must be {above} {metric.lowest:g} and at most {metric.highest:g}; found {limit:g}")
    if rule.or_share is not None and not rule.metric.startswith(DETECTION):
        found.append(f"'or_share' belongs to rules on {DETECTION}KIND only")
    if rule.minimum_n and not metric.counted:
        found.append(f"{rule.metric} is counted whole: it takes no 'minimum_n'")
    if rule.metric == EXPOSED and rule.minimum_n < 1:
        found.append("it needs a 'minimum_n' of at least 1: 5 % cannot be shown below 1,000, 10 % not below 270")
    if rule.waiver is not None and metric.binding:
        found.append("it cannot be waived: it is a part of the evidence standard")
    return found


class Policy(Settings):
    """Rules of the verdict; see the comments of the shipped default policy."""

    schema_: Literal[2] = Field(2, alias="schema", description="version of this format")
    name: str = Field(description="name printed in the report")
    owner: str = Field("", description="who answers for these limits")
    date: Text = Field("", description="when they were reviewed")
    recipient: str = Field("public", description="who receives the release: a party under contract, or 'public'")
    review_by: Day = Field("", description="day by which they must be reviewed again, as 2027-01-31")
    required_attacks: tuple[str, ...] = Field(min_length=1, description="attacks that a pass needs")
    rules: tuple[PolicyRule, ...] = Field(description="limits, each with its severity and its reason")

    @model_validator(mode="after")
    def _whole(self) -> Policy:
        ids = [rule.id for rule in self.rules]
        for name in ids:
            if ids.count(name) > 1:
                raise ValueError(f"two rules are called '{name}'; each needs an id of its own")
        for name, metric in METRICS.items():
            count = len(self.rules_on(name))
            if count > 1 and metric.once:
                raise ValueError(f"only one rule may limit {name}; found {count}")
        for name in (EXPOSED, IDENTICAL):
            if not self.rules_on(name):
                raise ValueError(f"a rule on {name} is missing: the evidence standard needs one in every policy")
        return self

    def rules_on(self, metric: str) -> tuple[PolicyRule, ...]:
        """All rules on a metric, in their order."""
        return tuple(rule for rule in self.rules if rule.metric == metric)

    @property
    def exposed(self) -> PolicyRule:
        """The rule on members found at 1 % false accusations."""
        return self.rules_on(EXPOSED)[0]

    @property
    def suspected_q(self) -> float:
        """False discovery rate of the suspected list, before it is shared among the attacks."""
        return min((rule.limit() for rule in self.rules_on(SUSPECTED)), default=STANDARD_Q)

    @property
    def minimum_members(self) -> int:
        """Scored members needed to judge at all."""
        return max(self.exposed.minimum_n, *(round(rule.limit()) for rule in self.rules_on(MEMBERS)), 0)

    @property
    def minimum_controls(self) -> int:
        """Scored controls, fresh ones included, needed to judge at all."""
        return max(self.exposed.minimum_n, *(round(rule.limit()) for rule in self.rules_on(CONTROLS)), 0)

    def enough(self, n_members: int, n_controls: int) -> bool:
        """Whether so many scored members and controls can show the limit at all."""
        return n_members >= self.minimum_members and n_controls >= self.minimum_controls

    def notes(self, today: datetime.date) -> tuple[str, ...]:
        """What is due in the policy itself: a review, or waivers that have expired."""
        found = [
            f"rule {rule.id}: its waiver by {rule.waiver.by} expired on {rule.waiver.until}, so it lifts nothing"
            for rule in self.rules
            if rule.waiver is not None and rule.waiver.expired(today)
        ]
        if _passed(self.review_by, today):
            found.append(f"the policy '{self.name}' was to be reviewed by {self.review_by}: have it reviewed")
        return tuple(found)


def built_in_text(name: str) -> str:
    """The text of a shipped policy, comments included."""
    return resources.files("privaudit").joinpath("policies", f"{name}.yaml").read_text(encoding="utf-8")


def load_policy(name_or_file: str) -> Policy:
    """A shipped policy by name ('default', 'demo', ...), or a policy file."""
    import yaml

    if name_or_file in BUILT_IN:
        return Policy.model_validate(yaml.safe_load(built_in_text(name_or_file)))
    path = Path(name_or_file)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"There is no policy '{name_or_file}'. Allowed: {', '.join(BUILT_IN)}, or the path of a policy file."
        )
    from privaudit.policy_schema1 import is_schema1, outdated

    values = read_yaml(path, "policy")
    if is_schema1(values):
        raise outdated(values, path)
    return validated(Policy, values, f"policy '{path.name}'")
