"""From evidence and policy to a verdict: fail, incomplete, inconclusive, pass, in this order of precedence."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import replace

from privaudit import seeds, selection
from privaudit.beside import artifact_records
from privaudit.conclusion import sentence
from privaudit.evidence import AttackFacts, AuditEvidence, AuditFacts, ReleaseFacts
from privaudit.findings import Case, find, fresh_checks
from privaudit.policy import Policy
from privaudit.policy_metrics import EXPOSED, METRICS, SUSPECTED
from privaudit.policy_rules import Missing, evaluate
from privaudit.policy_values import Found, values_of
from privaudit.reasons import Reasons, add_artifacts, add_invalid, add_leaks, add_power, add_rules, add_unseen, worst
from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Validity
from privaudit.rule_record import RuleRecord
from privaudit.statistics.power import Innocent, innocent_draws
from privaudit.statistics.rule import Rule

_TOLD_BY_ATTACKS = (EXPOSED, SUSPECTED)
"""Metrics whose broken rules stand among the reasons of the attack that breaks them."""

_NO_LIMIT = 1.0
"""A share that nothing exceeds: that of a rule that is waived."""


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


def _attacks(
    evidence: AuditEvidence,
    release: ReleaseFacts,
    policy: Policy,
    tpr_limit: float,
    validity: Validity,
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
        [_case(evidence, release, attack, policy, families, validity) for attack in release.attacks],
        families,
        evidence.facts.member_ids,
        release.identical,
        innocent,
        evidence.facts.data.unit,
        validity.passed,
        evidence.facts.seed,
        {rule.metric: rule.id for rule in policy.rules},
        evidence.facts,
        release.class_counts,
    )


def _case(
    evidence: AuditEvidence,
    release: ReleaseFacts,
    attack: AttackFacts,
    policy: Policy,
    families: Mapping[str, Rule],
    validity: Validity,
) -> Case:
    """An attack and its scores. One on siblings counts fewer persons: its share is held against the limit only where
    they are as many as the policy asks for.
    """
    facts, scores = evidence.facts, evidence.scores.get((release.name, attack.name))
    if attack.ranks == "suspects" or facts.siblings is None:
        return Case(attack, scores)
    rule = families[attack.family]
    if attack.name in _unlimited(evidence, release, policy):
        rule = replace(rule, tpr_limit=_NO_LIMIT)
    rng = seeds.generator(facts.seed, "innocent draws of siblings")
    innocent = innocent_draws(*facts.siblings.persons, rng)
    blind = facts.siblings.blind_baseline
    fresh = all(check.passed for check in validity.fresh if check.attack == attack.name)
    valid = fresh and (blind is None or blind.passed)
    return Case(attack, scores, innocent, facts.siblings.member_ids, rule, valid)


def _unlimited(evidence: AuditEvidence, release: ReleaseFacts, policy: Policy) -> set[str]:
    """Attacks on siblings of too few persons for the limit of the policy."""
    found = evidence.facts.siblings
    if found is None or policy.enough(*found.persons):
        return set()
    return {attack.name for attack in release.attacks if attack.ranks == "siblings"}


def _judge_release(
    evidence: AuditEvidence,
    release: ReleaseFacts,
    policy: Policy,
    validity: Validity,
    innocent: Innocent | None,
    today: datetime.date,
) -> ReleaseRecord:
    facts, reasons, lacking = evidence.facts, Reasons(), _lacking(evidence.facts, policy)
    attacks = _attacks(evidence, release, policy, policy.exposed.limit(), validity, innocent)
    unjudged = _unjudged(facts, lacking, validity.passed)
    found = Found(facts, release, attacks, policy.required_attacks, unjudged, _unlimited(evidence, release, policy))
    rules, steps = _hold(policy, found, today)
    if any(rule.metric == EXPOSED and rule.verdict == "waived" for rule in rules):
        attacks = _attacks(evidence, release, policy, _NO_LIMIT, validity, innocent)
        rules, steps = _hold(policy, replace(found, attacks=attacks), today)
    told = [rule for rule in rules if rule.metric not in _TOLD_BY_ATTACKS or rule.verdict != "broken"]
    first = [rule for rule in told if METRICS[rule.metric].proof or (lacking and rule.sentence == lacking.why)]
    add_rules(reasons, first, steps)
    add_unseen(reasons, release)
    if innocent is None and lacking is None:
        reasons.add("incomplete", "the attacks have not been run on this candidate", "Run the audit again.")
    if innocent is not None:
        add_invalid(reasons, validity)
        add_leaks(reasons, attacks, policy)
        if lacking is None:
            add_power(reasons, attacks, policy)
            add_artifacts(reasons, release, attacks)
    add_rules(reasons, [rule for rule in told if rule not in first], steps)
    verdict = reasons.verdict
    return ReleaseRecord(
        name=release.name,
        verdict=verdict,
        sentence=sentence(verdict, reasons.by_verdict, rules, attacks, policy, facts),
        reasons=reasons.ordered(),
        next_steps=tuple(reasons.next_steps),
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


def _validity(evidence: AuditEvidence) -> Validity:
    facts = evidence.facts
    checks = fresh_checks(
        [Case(a, evidence.scores.get((release.name, a.name))) for release in facts.releases for a in release.attacks]
    )
    blind = facts.blind_baseline
    # Siblings are other images than the suspects: that theirs differ says nothing of the attacks on suspects.
    of_siblings = {a.name for release in facts.releases for a in release.attacks if a.ranks == "siblings"}
    return Validity(
        blind_baseline=blind,
        fresh=checks,
        exchangeability=facts.exchangeability,
        passed=(blind is None or blind.passed)
        and all(check.passed for check in checks if check.attack not in of_siblings),
    )


def judge(evidence: AuditEvidence, policy: Policy, today: datetime.date | None = None) -> AuditRecord:
    """Judge evidence under a policy. Deterministic: equal evidence, policy and day give an equal record.

    Of several candidates the most useful that passes is judged again on controls that were held back.
    today: the day that waivers and reviews are held against; None: this one. Without these it moves nothing.
    """
    day = today or datetime.date.today()
    record = _judged(evidence, policy, day)
    if len(record.releases) == 1:
        return record
    record = _with_selection(evidence, record, policy, day)
    chosen = None if record.selection is None else record.selection.chosen
    verdict = worst(release.verdict for release in record.releases)
    told = next(one for one in record.releases if (one.name == chosen if verdict == "pass" else one.verdict == verdict))
    count = len(record.releases)
    start = f"All {count} candidates pass; the chosen one" if verdict == "pass" else f"Of {count} candidates the worst"
    return record.model_copy(update={"verdict": verdict, "sentence": f"{start}: {told.sentence}"})


def _with_selection(evidence: AuditEvidence, record: AuditRecord, policy: Policy, day: datetime.date) -> AuditRecord:
    """The record with the choice among its candidates."""
    parts, used = selection.split(evidence, policy), selection.used_before(evidence)
    if parts is None or used is not None:
        return selection.unconfirmed(record, used or selection.TOO_FEW)
    chosen = selection.best(record, _judged(parts.choosing, policy, day))
    if chosen is None:
        return selection.unconfirmed(record, selection.NONE_PASSES)
    data = parts.confirming.facts.data
    second = _judged(selection.only(parts.confirming, chosen), policy, day)
    return selection.chosen_and_confirmed(record, second, data.scored_controls + data.scored_fresh)


def _judged(evidence: AuditEvidence, policy: Policy, day: datetime.date) -> AuditRecord:
    """Every candidate judged on all the controls that the evidence holds."""
    facts = evidence.facts
    validity = _validity(evidence)
    innocent = None
    if facts.attacked:
        controls = facts.data.scored_controls + facts.data.scored_fresh
        rng = seeds.generator(facts.seed, "innocent draws")
        innocent = innocent_draws(facts.data.scored_members, controls, rng)

    def judged(release: ReleaseFacts) -> ReleaseRecord:
        return _judge_release(evidence, release, policy, validity, innocent, day)

    def with_artifacts(release: ReleaseFacts) -> ReleaseRecord:
        record = judged(release)
        beside = artifact_records(release, record, policy.required_attacks, lambda other: judged(other).verdict)
        return record.model_copy(update={"artifacts": beside})

    releases = tuple(with_artifacts(release) for release in facts.releases)
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
