"""The record of one rule of the policy, in shareable form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from privaudit.attack import Settings

RuleVerdict = Literal["kept", "broken", "not assessed", "waived"]
Asked = Literal["pass", "fail", "inconclusive"]


class RuleValue(Settings):
    """What a rule was held against. None: there is no such number."""

    estimate: float | None
    low: float | None = Field(description="lower end of the 95 % interval")
    high: float | None = Field(description="upper end of the 95 % interval")
    n: int | None = Field(description="what it was measured on")
    of: str | None = Field(description="the attack that it was measured of: the worst one")


class RuleRecord(Settings):
    """What has become of one rule of the policy."""

    id: str
    metric: str
    verdict: RuleVerdict
    leads_to: Asked = Field(description="the verdict that it asks for; pass where it is kept or waived")
    value: RuleValue | None = Field(description="None: not assessed")
    side: Literal["estimate", "lower", "upper"] = Field(description="end of the interval that must keep the limit")
    bound: Literal["at_most", "at_least"]
    limit: float
    minimum_n: int
    severity: Literal["fail", "inconclusive"]
    sentence: str
    reason: str = Field(description="why the limit, as the policy says")
