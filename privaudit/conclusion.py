"""The first sentence of a report: the verdict on one candidate, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from privaudit.evidence import AuditFacts
from privaudit.policy import Policy
from privaudit.record import AttackRecord, Verdict
from privaudit.rule_record import RuleRecord


def counted(number: int, one: str, many: str) -> str:
    """A number of things in words."""
    return f"{number:,} {one if number == 1 else many}"


def sentence(
    verdict: Verdict,
    reasons: Mapping[Verdict, Sequence[str]],
    rules: Sequence[RuleRecord],
    attacks: Sequence[AttackRecord],
    policy: Policy,
    facts: AuditFacts,
) -> str:
    """The verdict and its first reason; for a pass what was silent, what it would have found, and what was waived."""
    count = sum(len(texts) for texts in reasons.values()) - 1
    more = f" ({counted(count, 'more reason', 'more reasons')} below)" if count > 0 else ""
    assumed = (
        " Members and controls are assumed exchangeable."
        if facts.exchangeability == "assumed"
        else " Members and controls were split at random."
        if facts.exchangeability == "random split"
        else ""
    )
    if facts.data.also_released and facts.attacked:
        public = counted(facts.data.also_released, "image that is", "images that are")
        assumed += f" Judged together with {public} public already."
    if verdict != "pass":
        word = {
            "fail": "Do not publish",
            "inconclusive": "Not shown to be publishable",
            "incomplete": "Not finished",
        }[verdict]
        return f"{word}: {reasons[verdict][0]}{more}.{assumed if facts.attacked else ''}"
    by_name = {attack.name: attack for attack in attacks}
    required = [by_name[name] for name in policy.required_attacks]
    kinds = sorted({kind for attack in required for kind in attack.detection_limit})
    limits = {
        kind: min((limit.dose for attack in required if (limit := attack.detection_limit.get(kind))), default=None)
        for kind in kinds
    }
    seen = ", ".join(f"{kind} from {dose}" for kind, dose in limits.items() if dose is not None)
    unseen = [kind for kind, dose in limits.items() if dose is None]
    blind = f" Not found even at 20 %: {', '.join(unseen)}." if unseen else ""
    others = [attack for attack in attacks if attack.name not in policy.required_attacks]
    decisive = [attack.name for attack in others if attack.supports_pass]
    silent = [attack.name for attack in others if not attack.supports_pass]
    lifted = [rule.id for rule in rules if rule.verdict == "waived"]
    waived = f" Broken, but waived: {', '.join(lifted)}." if lifted else ""
    beside = f" Also silent: {', '.join(decisive)}." if decisive else ""
    beside += f" Silent, but not decisive here: {', '.join(silent)}." if silent else ""
    return (
        f"No leak was found by {' and '.join(policy.required_attacks)}, which would have found planted members in this "
        f"candidate ({seen} images on).{blind}{beside}{waived}{assumed}"
    )
