"""The reasons of a verdict on one candidate, collected by what they lead to, with what to do next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from privaudit.evidence import ReleaseFacts
from privaudit.policy import Policy
from privaudit.record import AttackRecord, Validity, Verdict
from privaudit.rule_record import RuleRecord

PRECEDENCE: tuple[Verdict, ...] = ("fail", "incomplete", "inconclusive", "pass")


_WITHOUT = "Publish the images without it, or install an attack that looks at it."


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that takes precedence; pass where there is none."""
    return min(verdicts, key=PRECEDENCE.index, default="pass")


@dataclass
class Reasons:
    """Reasons collected for one release, by the verdict they lead to."""

    by_verdict: dict[Verdict, list[str]] = field(default_factory=lambda: {verdict: [] for verdict in PRECEDENCE})
    next_steps: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, reason: str, step: str | None = None) -> None:
        """A reason that leads to this verdict, and what to do about it."""
        self.by_verdict[verdict].append(reason)
        if step is not None and step not in self.next_steps:
            self.next_steps.append(step)

    @property
    def verdict(self) -> Verdict:
        """What all reasons together lead to."""
        return worst(verdict for verdict in PRECEDENCE if self.by_verdict[verdict])

    def ordered(self) -> tuple[str, ...]:
        """The reasons with their verdicts, the gravest first."""
        return tuple(f"{verdict}: {text}" for verdict in PRECEDENCE for text in self.by_verdict[verdict])


def add_rules(reasons: Reasons, rules: Sequence[RuleRecord], steps: Mapping[str, str | None]) -> None:
    """Reasons of broken rules, and of rules that were not assessed; rules with one reason are told together."""
    together: dict[tuple[Verdict, str], list[RuleRecord]] = {}
    for rule in rules:
        if rule.leads_to != "pass":
            together.setdefault((rule.leads_to, rule.sentence), []).append(rule)
    for (verdict, text), same in together.items():
        names = ", ".join(rule.id for rule in same)
        reasons.add(verdict, f"{'rule' if len(same) == 1 else 'rules'} {names}: {text}", steps[same[0].id])


def add_leaks(reasons: Reasons, attacks: Sequence[AttackRecord], policy: Policy) -> None:
    """Attacks that found something, did not finish, or are in doubt; those that expose most come first."""
    for attack in sorted(attacks, key=_exposes, reverse=True):
        if attack.verdict == "pass":
            continue
        required = attack.name in policy.required_attacks
        told = "; ".join(attack.reasons)
        if attack.verdict == "fail":
            where = "suspected members" if attack.suspected else "pictures in the evidence edition of the report"
            step = f"Do not publish this candidate. Look at the {where}, and synthesise with less detail."
            reasons.add("fail", f"{attack.name}: {told}", None if reasons.by_verdict["fail"] else step)
        elif attack.verdict == "incomplete":
            reasons.add("incomplete", f"{attack.name}: {told}", "Mend the cause and start the same command again.")
        else:
            note = "" if required else " (not a required attack)"
            reasons.add(
                "inconclusive",
                f"{attack.name}{note}: {told}",
                "Audit again with more controls: a doubtful ranking by chance does not come back, a leak does.",
            )


def _exposes(attack: AttackRecord) -> tuple[float, float]:
    """How much an attack exposes for sure, then how sure it is."""
    release = attack.arms.get("release")
    return (0.0, 0.0) if release is None else (release.tpr_at_1pct_fpr.low, -release.p_holm)


def add_power(reasons: Reasons, attacks: Sequence[AttackRecord], policy: Policy) -> None:
    """Required attacks that did not run, or whose silence supports nothing."""
    by_name = {attack.name: attack for attack in attacks}
    for name in policy.required_attacks:
        if name not in by_name:
            reasons.add("inconclusive", f"the required attack {name} did not run", f"Run with {name} among --attacks.")
        elif by_name[name].verdict == "pass" and not by_name[name].supports_pass:
            reasons.add(
                "inconclusive",
                f"{name} is silent, but its silence supports nothing: {'; '.join(by_name[name].no_support)}",
            )


def add_unseen(reasons: Reasons, release: ReleaseFacts) -> None:
    """What is published beside the images and no attack looks at."""
    for artifact in release.unseen:
        reasons.add("inconclusive", f"{artifact}: released, but no attack looks at it", _WITHOUT)


def add_artifacts(reasons: Reasons, release: ReleaseFacts, attacks: Sequence[AttackRecord]) -> None:
    """What is published beside the images counts as looked at only where an attack with shown power did."""
    decisive = {attack.name for attack in attacks if attack.supports_pass}
    for artifact in sorted({artifact for attack in release.attacks for artifact in attack.looks_at}):
        names = [attack.name for attack in release.attacks if artifact in attack.looks_at]
        if not decisive & set(names):
            reasons.add(
                "inconclusive",
                f"{artifact.replace('_', ' ')}: released, and looked at only by {' and '.join(names)}, whose silence "
                "supports nothing",
                _WITHOUT,
            )


def add_invalid(reasons: Reasons, validity: Validity) -> None:
    """Why members and controls cannot be compared, where they cannot."""
    if validity.passed:
        return
    parts = []
    if validity.blind_baseline is not None and not validity.blind_baseline.passed:
        parts.append(
            "a classifier that never saw the release tells members from controls "
            f"(AUC {validity.blind_baseline.auc.estimate:.2f}, p = {validity.blind_baseline.p:.2g})"
        )
    failed = [check.attack for check in validity.fresh if not check.passed]
    if failed:
        parts.append(f"{' and '.join(failed)} tells them apart by images of strangers")
    reasons.add(
        "inconclusive",
        "members and controls differ even where nothing leaks: " + "; ".join(parts),
        "Find controls from the same source, handled in the same way as the members.",
    )
