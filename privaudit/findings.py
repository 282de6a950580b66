"""From scores to the finding of one attack on one release."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from privaudit import seeds
from privaudit.arms import ALL_ARMS, Arm
from privaudit.evidence import AttackFacts, AuditFacts, Scores
from privaudit.matches import in_words, matches
from privaudit.mediated import mediated_reasons
from privaudit.plants import UNCHANGED
from privaudit.policy_metrics import EXPOSED, SUSPECTED
from privaudit.record import (
    ArmRecord,
    AttackRecord,
    Count,
    ExposedShare,
    FreshCheck,
    IdenticalPair,
    Matches,
    Power,
    Stratum,
    Suspected,
    Unit,
)
from privaudit.siblings import shows_share
from privaudit.standing import fewest_visible, worst_member
from privaudit.statistics.detection import Detection, detect, holm, two_sided
from privaudit.statistics.exposure import auc_estimate, exposed_share, leakage, suspected_list, tpr_estimate
from privaudit.statistics.power import Innocent, detection_limit, power_curve
from privaudit.statistics.reach import endpoint, hits_at
from privaudit.statistics.rule import ALPHA_FAIL, Reasons, Rule, apply_rule
from privaudit.statistics.tally import TOP_K, Tally, placements, tally
from privaudit.strata import strata

_PLANT, _CONTROLS = "plant ", " controls"


@dataclass(frozen=True, eq=False)
class Case:
    """One attack on one release: its facts and its scores (None: the attack did not finish).

    innocent, member_ids, judged_by: its own where it ranks other images than the suspects of the audit; None: those
    of the audit. valid: whether the two sides of these other images can be compared.
    """

    facts: AttackFacts
    scores: Scores | None
    innocent: Innocent | None = None
    member_ids: Sequence[str] | None = None
    judged_by: Rule | None = None
    valid: bool = True


def arm_scores(scores: Scores, arm: Arm) -> tuple[np.ndarray, np.ndarray]:
    """Scores of members and of controls in one arm; fresh images are controls in the release arm."""
    members, controls = scores[f"{arm} members"], scores[f"{arm} controls"]
    if arm == "release" and "release fresh" in scores:
        controls = np.concatenate([controls, scores["release fresh"]])
    return members, controls


def has_arm(scores: Scores, arm: Arm) -> bool:
    """Whether the attack was run on this arm."""
    return f"{arm} members" in scores


@dataclass(frozen=True, eq=False)
class _Judged:
    record: ArmRecord
    counts: Tally
    reasons: Reasons


def _detections(cases: Sequence[Case], arm: Arm) -> dict[str, tuple[Tally, Detection, float]]:
    """For each attack that ran on the arm: tally, tests, and p after Holm over the attacks of its family."""
    found: dict[str, tuple[Tally, Detection, float]] = {}
    for family in ("holds_release", "mediated"):
        mine = [case for case in cases if case.facts.family == family]
        ran = [case for case in mine if case.scores is not None and has_arm(case.scores, arm)]
        tallies = {
            case.facts.name: tally(placements(*arm_scores(case.scores, arm))) for case in ran if case.scores is not None
        }
        tests = {name: detect(counts) for name, counts in tallies.items()}
        # An attack of the declared family that did not finish still counts in the correction.
        p_values = [float(tests[c.facts.name].p[0]) if c.facts.name in tests else 1.0 for c in mine]
        for case, adjusted in zip(mine, holm(p_values), strict=True):
            name = case.facts.name
            if name in tests:
                found[name] = tallies[name], tests[name], adjusted
    return found


def _judge_arm(
    case: Case, arm: Arm, unit: Unit, rule: Rule, counts: Tally, detection: Detection, adjusted: float
) -> _Judged:
    members, controls = arm_scores(case.scores, arm)  # type: ignore[arg-type]
    reasons = apply_rule(counts, rule, detection, np.array([adjusted]))
    verdict: Literal["pass", "fail", "inconclusive"] = "pass"
    if reasons.fail[0]:
        verdict = "fail"
    elif reasons.inconclusive[0]:
        verdict = "inconclusive"
    hits = None
    if case.facts.family == "mediated":  # it can fail a release or be silent
        if case.facts.reach is not None and case.facts.reach <= len(members) + len(controls):
            hits, hits_p = hits_at(members, controls, case.facts.reach, unit)
            if endpoint(case.facts.reach, len(members), len(controls)) is not None:
                verdict = "fail" if hits_p * rule.family <= ALPHA_FAIL else "pass"
        verdict = "fail" if verdict == "fail" else "pass"
    record = ArmRecord(
        verdict=verdict,
        p=float(detection.p[0]),
        p_holm=adjusted,
        r0=Count(members=int(detection.r0[0]), among=len(members), p=float(detection.r0_p[0])),
        top20=None
        if detection.top20 is None
        else Count(members=int(detection.top20[0]), among=TOP_K, p=float(detection.top20_p[0])),
        auc=auc_estimate(members, controls, unit),
        auc_p=float(detection.auc_p[0]),
        tpr_at_1pct_fpr=tpr_estimate(counts, unit),
        hits_at_reach=hits,
        recovery=case.facts.recoveries.get(arm),
        attribution=case.facts.attributions.get(arm),
    )
    return _Judged(record, counts, reasons)


def fresh_checks(cases: Sequence[Case]) -> tuple[FreshCheck, ...]:
    """Two-sided tests on the fresh arm, Holm over all of them at .01: members and controls must look alike there.

    Candidates of one shape share this arm: what several of them have in common is tested once.
    """
    found: dict[tuple[str, float, float], None] = {}
    for case in cases:
        strangers = case.facts.arms[2]
        if case.scores is not None and has_arm(case.scores, strangers):
            auc_p, top_p = two_sided(tally(placements(*arm_scores(case.scores, strangers))))
            found[case.facts.name, auc_p, top_p] = None
    tests = list(found)
    adjusted = holm([min(1.0, 2 * min(auc_p, top_p)) for _, auc_p, top_p in tests])
    return tuple(
        FreshCheck(attack=name, auc_p=auc_p, top20_p=top_p, p_holm=p, passed=p > ALPHA_FAIL)
        for (name, auc_p, top_p), p in zip(tests, adjusted, strict=True)
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value > 0 else "p below 1e-300"


def _arm_reasons(judged: _Judged, rule: Rule, ids: Mapping[str, str], listed: Matches | None) -> list[str]:
    record, reasons, said = judged.record, judged.reasons, list[str]()
    exposed, suspected = (f"rule {ids[metric]}: " if metric in ids else "" for metric in (EXPOSED, SUSPECTED))
    if reasons.detected[0]:
        said.append(f"it ranks members above controls better than chance ({_p(record.p_holm)} after Holm)")
    elif reasons.doubtful[0]:
        said.append(f"its ranking is doubtful ({_p(record.p_holm)} after Holm)")
    if reasons.listed[0]:
        beside = "" if listed is None else f" ({in_words(listed)})"
        said.append(
            f"{suspected}it names members, about {_percent(rule.q)} of them by chance{beside}; none may be named"
        )
    tpr = record.tpr_at_1pct_fpr
    if reasons.above_limit[0]:
        said.append(
            f"{exposed}it exposes at least {_percent(tpr.low)} of the members at 1 % false accusations; the limit is "
            f"{_percent(rule.tpr_limit)}"
        )
    elif reasons.not_below_limit[0]:
        said.append(
            f"{exposed}up to {_percent(tpr.high)} of the members may be exposed at 1 % false accusations; the limit is "
            f"{_percent(rule.tpr_limit)}"
        )
    if reasons.on_top[0] and not reasons.detected[0]:
        said.append(
            f"{record.r0.members} members lie closer to the release than every control (chance: p = {record.r0.p:.2g})"
        )
    return said


def _power(case: Case, innocent: Innocent, rule: Rule, unit: Unit, seed: int) -> dict[str, tuple[Power, ...]]:
    if case.scores is None or case.facts.family == "mediated":
        return {}
    return {
        name.removeprefix(_PLANT): power_curve(
            placements(scores, case.scores[name + _CONTROLS]),
            innocent,
            rule,
            unit,
            seeds.generator(seed, "power", case.facts.name, name),
        )
        for name, scores in case.scores.items()
        if name.startswith(_PLANT) and not name.endswith(_CONTROLS)
    }


def _no_support(case: Case, arms: dict[Arm, ArmRecord | None], limits: dict[str, Power | None]) -> tuple[str, ...]:
    """limits: by kind of planted member; empty where none was planted."""
    if case.facts.family == "mediated":
        return ("it does not hold the release: it can fail a candidate, its silence says little",)
    missing = []
    _, sanity, validity = case.facts.arms
    raw, fresh = arms[sanity], arms[validity]
    if raw is None or raw.verdict != "fail":
        what = (
            "the originals themselves" if sanity == "raw" else "what the engine makes, even where it is told the truth"
        )
        missing.append(f"no power: it does not fail {what}")
    if fresh is None or fresh.verdict == "fail":
        missing.append("not valid: it fails images of strangers")
    if not limits:
        missing.append("its power in this candidate is unknown: it was not tried on planted members")
    elif not any(limit for kind, limit in limits.items() if kind != UNCHANGED):
        missing.append("no power: it found no kind of planted member, unless unchanged, up to 20 % of the members")
    return tuple(missing)


def find(
    cases: Sequence[Case],
    rule_of: dict[str, Rule],
    member_ids: Sequence[str],
    identical: tuple[IdenticalPair, ...],
    innocent: Innocent,
    unit: Unit,
    valid: bool,
    seed: int,
    rule_ids: Mapping[str, str] | None = None,
    audit: AuditFacts | None = None,
    released: Collection[str] = (),
) -> list[AttackRecord]:
    """The findings of all attacks on one release. valid: whether members and controls can be compared.

    rule_ids: names of the policy's rules by metric, for the reasons. audit: tells the groups of the scored units.
    released: names of the classes in the release.
    """
    detections = {arm: _detections(cases, arm) for arm in ALL_ARMS}
    records = []
    for case in cases:
        facts, rule = case.facts, case.judged_by or rule_of[case.facts.family]
        ids = member_ids if case.member_ids is None else case.member_ids
        judged: dict[Arm, _Judged | None] = {
            arm: _judge_arm(case, arm, unit, rule, *detections[arm][facts.name])
            if facts.name in detections[arm]
            else None
            for arm in facts.arms
        }
        arms: dict[Arm, ArmRecord | None] = {arm: part.record if part else None for arm, part in judged.items()}
        release = judged["release"]
        curves = _power(case, case.innocent or innocent, rule, unit, seed)
        limits = {kind: detection_limit(curve) for kind, curve in curves.items()}
        holds = facts.family == "holds_release"
        reasons: list[str] = []
        verdict: Literal["pass", "fail", "inconclusive", "incomplete"] = "incomplete"
        exposed: ExposedShare | None = None
        scale, suspected, closest = None, [], []
        worst, fewest, groups = None, None, tuple[Stratum, ...]()
        listed: Matches | None = None
        if facts.failure is not None or release is None or case.scores is None:
            reasons.append(f"it did not finish: {facts.failure or 'no scores'}")
        else:
            verdict = release.record.verdict
            members, controls = arm_scores(case.scores, "release")
            placed = placements(members, controls)
            suspected = suspected_list(placed, rule.q) if holds else []
            listed = matches(placed, [row for row, _ in suspected])
            reasons = (
                _arm_reasons(release, rule, rule_ids or {}, listed) if holds else mediated_reasons(arms, facts, rule)
            )
            if shows_share(facts.ranks, len(members), len(controls)):
                exposed = exposed_share(release.record.tpr_at_1pct_fpr)
            closest = [ids[int(row)] for row in np.flatnonzero(placed.above + placed.tied == 0)]
            worst, fewest = worst_member(placed, ids), fewest_visible(len(members), len(controls))
            groups = () if audit is None or facts.ranks != "suspects" else strata(case.scores, audit, released)
            raw = judged.get("raw")
            if raw is not None:
                same = tally(placements(members, case.scores["release controls"]))
                scale = leakage(same, raw.counts, unit)
            if not (valid and case.valid) and verdict in ("fail", "inconclusive", "pass"):
                verdict = "inconclusive"
                reasons.append("not valid here: members and controls differ even where nothing leaks")
        no_support = _no_support(case, arms, limits)
        records.append(
            AttackRecord(
                name=facts.name,
                version=facts.version,
                settings=facts.settings,
                verdict=verdict,
                reasons=tuple(reasons),
                family=facts.family,
                supports_pass=not no_support and facts.failure is None and valid and case.valid,
                no_support=no_support,
                threat_model=facts.threat_model,
                seconds=facts.seconds,
                arms=arms,
                exposed_share=exposed,
                leakage=scale,
                detection_limit=limits,
                power=curves,
                identical=identical if holds else (),
                suspected=tuple(Suspected(id=ids[row], fdr=rate) for row, rate in suspected),
                suspected_q=rule.q,
                closest=tuple(closest),
                informs=facts.informs,
                worst=worst,
                fewest_visible=fewest,
                strata=groups,
                ranks=facts.ranks,
                listed=listed,
            )
        )
    return records
