"""From evidence and policy to a verdict: fail, incomplete, inconclusive, pass, in this order of precedence."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from privaudit import seeds, selection
from privaudit.conclusion import sentence
from privaudit.evidence import AuditEvidence, AuditFacts, ReleaseFacts
from privaudit.findings import Case, find, fresh_checks
from privaudit.policy import Policy
from privaudit.policy_metrics import EXPOSED, METRICS, SUSPECTED
from privaudit.policy_rules import Missing, evaluate
from privaudit.policy_values import Found, values_of
from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Validity, Verdict
from privaudit.rule_record import RuleRecord
from privaudit.statistics.power import Innocent, innocent_draws
from privaudit.statistics.rule import Rule

_TOLD_BY_ATTACKS = (EXPOSED, SUSPECTED)
"""Metrics whose broken rules stand among the reasons of the attack that breaks them."""

_NO_LIMIT = 1.0
"""A share that nothing exceeds: that of a rule that is waived."""

PRECEDENCE: tuple[Verdict, ...] = ("fail", "incomplete", "inconclusive", "pass")


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that takes precedence; pass where there is none."""
    return min(verdicts, key=PRECEDENCE.index, default="pass")


@dataclass
class _Case:
    """Reasons collected for one release, by the verdict they lead to."""

    reasons: dict[Verdict, list[str]] = field(default_factory=lambda: {verdict: [] for verdict in PRECEDENCE})
    next_steps: list[str] = field(default_factory=list)

    def add(self, verdict: Verdict, reason: str, step: str | None = None) -> None:
        self.reasons[verdict].append(reason)
        if step is not None and step not in self.next_steps:
            self.next_steps.append(step)

    @property
    def verdict(self) -> Verdict:
        return worst(verdict for verdict in PRECEDENCE if self.reasons[verdict])

    def ordered(self) -> tuple[str, ...]:
        return tuple(f"{verdict}: {text}" for verdict in PRECEDENCE for text in self.reasons[verdict])


def too_few(facts: AuditFacts, policy: Policy) -> str | None:
    """Why the data are too few for the policy's limit; None where they are enough."""
    members = facts.data.scored_members
    controls = facts.data.scored_controls + facts.data.scored_fresh
    noun = "persons" if facts.data.unit == "person" else "images"
    if policy.enough(members, controls):
        return None
    return (
        f"too few: a limit of {100 * policy.exposed.limit():g} % needs {policy.minimum_members:,} members and "
        f"{policy.minimum_controls:,} controls to be shown; {members:,} and {controls:,} {noun} can be scored"
    )


def _lacking(facts: AuditFacts, policy: Policy) -> Missing | None:
    """What the data lack for any judgement; None where they suffice."""
    if facts.exchangeability == "no controls":
        return Missing(
            "there are no controls: without images that were never used, no leak can be told from chance",
            "Give images from the same source that were never used, with --controls.",
        )
    few = too_few(facts, policy)
    if few is None:
        return None
    return Missing(few, "Collect more members or controls, or choose a policy with a larger limit.")


def _unjudged(facts: AuditFacts, lacking: Missing | None, valid: bool) -> Missing | None:
    """Why no finding of an attack can be judged; None where they can."""
    if lacking is not None:
        return lacking
    if not facts.attacked:
        return Missing("no attack has been run")
    return None if valid else Missing("members and controls differ, so that no finding of an attack counts")


def _hold(policy: Policy, found: Found, today: datetime.date) -> tuple[list[RuleRecord], dict[str, str | None]]:
    """Every rule held against what was found; and by rule what to do where it is not kept."""
    rules, steps = [], dict[str, str | None]()
    for rule in policy.rules:
        values = values_of(rule.metric, found)
        rules.append(evaluate(rule, values, today))
        steps[rule.id] = values.step if isinstance(values, Missing) else METRICS[rule.metric].step
    return rules, steps


def _judge_rules(case: _Case, rules: Sequence[RuleRecord], steps: Mapping[str, str | None]) -> None:
    """Reasons of broken rules, and of rules that were not assessed; rules with one reason are told together."""
    together: dict[tuple[Verdict, str], list[RuleRecord]] = {}
    for rule in rules:
        if rule.leads_to != "pass":
            together.setdefault((rule.leads_to, rule.sentence), []).append(rule)
    for (verdict, text), same in together.items():
        names = ", ".join(rule.id for rule in same)
        case.add(verdict, f"{'rule' if len(same) == 1 else 'rules'} {names}: {text}", steps[same[0].id])


def _judge_leaks(case: _Case, attacks: Sequence[AttackRecord], policy: Policy) -> None:
    for attack in attacks:
        if attack.verdict == "pass":
            continue
        required = attack.name in policy.required_attacks
        reasons = "; ".join(attack.reasons)
        if attack.verdict == "fail":
            step = "Do not publish this candidate. Look at the suspected members, and synthesise with less detail."
            case.add("fail", f"{attack.name}: {reasons}", step)
        elif attack.verdict == "incomplete":
            case.add("incomplete", f"{attack.name}: {reasons}", "Mend the cause and start the same command again.")
        else:
            note = "" if required else " (not a required attack)"
            case.add(
                "inconclusive",
                f"{attack.name}{note}: {reasons}",
                "Audit again with more controls: a doubtful ranking by chance does not come back, a leak does.",
            )


def _judge_power(case: _Case, attacks: Sequence[AttackRecord], policy: Policy) -> None:
    by_name = {attack.name: attack for attack in attacks}
    for name in policy.required_attacks:
        if name not in by_name:
            case.add("inconclusive", f"the required attack {name} did not run", f"Run with {name} among --attacks.")
        elif by_name[name].verdict == "pass" and not by_name[name].supports_pass:
            case.add(
                "inconclusive",
                f"{name} is silent, but its silence supports nothing: {'; '.join(by_name[name].no_support)}",
            )


def _judge_artifacts(case: _Case, release: ReleaseFacts, attacks: Sequence[AttackRecord]) -> None:
    """What is published beside the images counts as looked at only where an attack with shown power did."""
    decisive = {attack.name for attack in attacks if attack.supports_pass}
    for artifact in sorted({artifact for attack in release.attacks for artifact in attack.looks_at}):
        names = [attack.name for attack in release.attacks if artifact in attack.looks_at]
        if not decisive & set(names):
            case.add(
                "inconclusive",
                f"{artifact.replace('_', ' ')}: released, and looked at only by {' and '.join(names)}, whose silence "
                "supports nothing",
                "Publish the images without it, or install an attack that looks at it.",
            )


def _attacks(
    evidence: AuditEvidence,
    release: ReleaseFacts,
    policy: Policy,
    tpr_limit: float,
    valid: bool,
    innocent: Innocent | None,
) -> list[AttackRecord]:
    """The findings of all attacks; none where nothing was attacked."""
    if innocent is None:
        return []
    families = {
        family: Rule(tpr_limit, max(1, sum(a.family == family for a in release.attacks)), policy.suspected_q)
        for family in ("holds_release", "mediated")
    }
    return find(
        [Case(attack, evidence.scores.get((release.name, attack.name))) for attack in release.attacks],
        families,
        evidence.facts.member_ids,
        release.identical,
        innocent,
        evidence.facts.data.unit,
        valid,
        evidence.facts.seed,
        {rule.metric: rule.id for rule in policy.rules},
        evidence.facts,
        release.class_counts,
    )


def _judge_release(
    evidence: AuditEvidence,
    release: ReleaseFacts,
    policy: Policy,
    validity: Validity,
    innocent: Innocent | None,
    today: datetime.date,
) -> ReleaseRecord:
    facts, case, lacking = evidence.facts, _Case(), _lacking(evidence.facts, policy)
    attacks = _attacks(evidence, release, policy, policy.exposed.limit(), validity.passed, innocent)
    found = Found(facts, release, attacks, policy.required_attacks, _unjudged(facts, lacking, validity.passed))
    rules, steps = _hold(policy, found, today)
    if any(rule.metric == EXPOSED and rule.verdict == "waived" for rule in rules):
        attacks = _attacks(evidence, release, policy, _NO_LIMIT, validity.passed, innocent)
        rules, steps = _hold(policy, replace(found, attacks=attacks), today)
    told = [rule for rule in rules if rule.metric not in _TOLD_BY_ATTACKS or rule.verdict != "broken"]
    first = [rule for rule in told if METRICS[rule.metric].proof or (lacking and rule.sentence == lacking.why)]
    _judge_rules(case, first, steps)
    for artifact in release.unseen:
        case.add(
            "inconclusive",
            f"{artifact}: released, but no attack looks at it",
            "Publish the images without it, or install an attack that looks at it.",
        )
    if innocent is None and lacking is None:
        case.add("incomplete", "the attacks have not been run on this candidate", "Run the audit again.")
    if innocent is not None:
        if not validity.passed:
            case.add(
                "inconclusive",
                _invalid(validity),
                "Find controls from the same source, handled in the same way as the members.",
            )
        _judge_leaks(case, attacks, policy)
        if lacking is None:
            _judge_power(case, attacks, policy)
            _judge_artifacts(case, release, attacks)
    _judge_rules(case, [rule for rule in told if rule not in first], steps)
    verdict = case.verdict
    return ReleaseRecord(
        name=release.name,
        verdict=verdict,
        sentence=sentence(verdict, case.reasons, rules, attacks, policy, facts),
        reasons=case.ordered(),
        next_steps=tuple(case.next_steps),
        claim=release.claim,
        images=release.images,
        size=release.size,
        class_counts=release.class_counts,
        identical=release.identical,
        common=release.common,
        scan=release.scan,
        not_assessed=release.not_assessed,
        attacks=tuple(attacks),
        similarity={"ssim": None, "psnr": None, "lpips": None} | release.similarity,
        utility=release.utility,
        rules=tuple(rules),
    )


def _invalid(validity: Validity) -> str:
    parts = []
    if validity.blind_baseline is not None and not validity.blind_baseline.passed:
        parts.append(
            "a classifier that never saw the release tells members from controls "
            f"(AUC {validity.blind_baseline.auc.estimate:.2f}, p = {validity.blind_baseline.p:.2g})"
        )
    failed = [check.attack for check in validity.fresh if not check.passed]
    if failed:
        parts.append(f"{' and '.join(failed)} tells them apart by images of strangers")
    return "members and controls differ even where nothing leaks: " + "; ".join(parts)


def _validity(evidence: AuditEvidence) -> Validity:
    facts = evidence.facts
    checks = fresh_checks(
        [Case(a, evidence.scores.get((release.name, a.name))) for release in facts.releases for a in release.attacks]
    )
    blind = facts.blind_baseline
    return Validity(
        blind_baseline=blind,
        fresh=checks,
        exchangeability=facts.exchangeability,
        passed=(blind is None or blind.passed) and all(check.passed for check in checks),
    )


def judge(evidence: AuditEvidence, policy: Policy, today: datetime.date | None = None) -> AuditRecord:
    """Judge evidence under a policy. Deterministic: equal evidence, policy and day give an equal record.

    Of several candidates the most useful that passes is judged again on controls that were held back.
    today: the day that waivers and reviews are held against; None: this one. Without these it moves nothing.
    """
    day = today or datetime.date.today()
    parts = selection.split(evidence, policy)
    record = _judged(evidence if parts is None else parts.choosing, policy, day)
    if len(record.releases) == 1:
        return record
    chosen = selection.best(record)
    if parts is None or chosen is None:
        record = selection.unconfirmed(record)
    else:
        held_back = parts.confirming.facts.data
        second = _judged(selection.only(parts.confirming, chosen), policy, day)
        record = selection.chosen_and_confirmed(record, second, held_back.scored_controls + held_back.scored_fresh)
    verdict = worst(release.verdict for release in record.releases)
    told = next(one for one in record.releases if (one.name == chosen if verdict == "pass" else one.verdict == verdict))
    count = len(record.releases)
    start = (
        f"All {count} candidates pass; of the chosen one" if verdict == "pass" else f"Of {count} candidates the worst"
    )
    update = {"verdict": verdict, "sentence": f"{start}: {told.sentence}", "data": evidence.facts.data}
    return record.model_copy(update=update)


def _judged(evidence: AuditEvidence, policy: Policy, day: datetime.date) -> AuditRecord:
    """Every candidate judged on all the controls that the evidence holds."""
    facts = evidence.facts
    validity = _validity(evidence)
    innocent = None
    if facts.attacked:
        controls = facts.data.scored_controls + facts.data.scored_fresh
        rng = seeds.generator(facts.seed, "innocent draws")
        innocent = innocent_draws(facts.data.scored_members, controls, rng)
    releases = tuple(_judge_release(evidence, release, policy, validity, innocent, day) for release in facts.releases)
    verdict = worst(release.verdict for release in releases)
    return AuditRecord(
        verdict=verdict,
        sentence=next(release.sentence for release in releases if release.verdict == verdict),
        releases=releases,
        validity=validity,
        data=facts.data,
        policy=policy.model_dump(mode="json", by_alias=True),
        judged_on=day.isoformat(),
        policy_notes=policy.notes(day),
        manifest=facts.manifest,
    )
