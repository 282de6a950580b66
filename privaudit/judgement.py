"""From evidence and policy to a verdict: fail, incomplete, inconclusive, pass, in this order of precedence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from privaudit import seeds
from privaudit.evidence import AuditEvidence, AuditFacts, ReleaseFacts
from privaudit.findings import Case, find, fresh_checks
from privaudit.policy import Policy
from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Validity, Verdict
from privaudit.statistics.power import Innocent, innocent_draws
from privaudit.statistics.rule import Rule

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


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def too_few(facts: AuditFacts, policy: Policy) -> str | None:
    """Why the data are too few for the policy's limit; None where they are enough."""
    members = facts.data.scored_members
    controls = facts.data.scored_controls + facts.data.scored_fresh
    noun = "persons" if facts.data.unit == "person" else "images"
    if policy.enough(members, controls):
        return None
    return (
        f"too few: a limit of {100 * policy.tpr_limit:g} % needs {policy.minimum_members:,} members and "
        f"{policy.minimum_controls:,} controls to be shown; {members:,} and {controls:,} {noun} can be scored"
    )


def _judge_proofs(case: _Case, release: ReleaseFacts, policy: Policy) -> None:
    if release.identical:
        people = len({pair.id for pair in release.identical})
        case.add(
            "fail",
            f"{_counted(people, 'member is', 'members are')} released unchanged, pixel by pixel",
            "Remove the identical copies (they are listed in the report), and find out how they came in.",
        )
    for finding in release.scan:
        text = f"the released files carry traces: {finding.sentence}"
        step = "Write the released files anew, without metadata, with neutral names in random order."
        if policy.file_findings != "ignore":
            case.add(policy.file_findings, text, step)


def _judge_coverage(case: _Case, release: ReleaseFacts, facts: AuditFacts, policy: Policy) -> None:
    """What nobody looked at cannot pass."""
    for artifact in release.unseen:
        case.add(
            "inconclusive",
            f"{artifact}: released, but no attack looks at it",
            "Publish the images without it, or install an attack that looks at it.",
        )
    left_out = len(facts.data.not_assessed_members)
    if left_out > policy.left_out_share * facts.data.members:
        case.add(
            "inconclusive",
            f"{left_out:,} of {facts.data.members:,} members could not be assessed: other images are nearly the "
            f"same; the limit is {100 * policy.left_out_share:g} %",
            "Find controls that do not repeat the members' images.",
        )


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


def _judge_power(case: _Case, attacks: Sequence[AttackRecord], facts: AuditFacts, policy: Policy) -> None:
    by_name = {attack.name: attack for attack in attacks}
    for name in policy.required_attacks:
        if name not in by_name:
            case.add("inconclusive", f"the required attack {name} did not run", f"Run with {name} among --attacks.")
        elif by_name[name].verdict == "pass" and not by_name[name].supports_pass:
            case.add(
                "inconclusive",
                f"{name} is silent, but its silence supports nothing: {'; '.join(by_name[name].no_support)}",
            )
    dose = policy.plant_dose(facts.data.scored_members)
    for kind in policy.required_plants:
        limits = [
            limit.dose
            for name in policy.required_attacks
            if name in by_name and (limit := by_name[name].detection_limit.get(kind)) is not None
        ]
        tried = any(kind in by_name[name].detection_limit for name in policy.required_attacks if name in by_name)
        if not limits or min(limits) > dose:
            found = "were found not even as 20 % of the members" if tried else "were not tried"
            found = f"were found only from {min(limits)} on" if limits else found
            case.add(
                "inconclusive",
                f"no power: planted members of the kind '{kind}' must be found at {dose}; they {found}",
                "Use more controls, a larger effort, or an attack that sees this kind.",
            )
    if policy.closest_members == "none" and any(attack.closest for attack in attacks):
        count = len({name for attack in attacks for name in attack.closest})
        case.add(
            "inconclusive",
            f"{_counted(count, 'member lies', 'members lie')} closer to the release than every control, and the "
            "policy wants none",
            "Look at these pairs in the evidence edition, and sign that they are no copies.",
        )


def _sentence(verdict: Verdict, case: _Case, attacks: Sequence[AttackRecord], policy: Policy, facts: AuditFacts) -> str:
    first = {verdict: texts[0] for verdict, texts in case.reasons.items() if texts}
    count = sum(len(texts) for texts in case.reasons.values()) - 1
    more = f" ({_counted(count, 'more reason', 'more reasons')} below)" if count > 0 else ""
    assumed = (
        " Members and controls are assumed exchangeable."
        if facts.exchangeability == "assumed"
        else " Members and controls were split at random."
        if facts.exchangeability == "random split"
        else ""
    )
    if verdict != "pass":
        word = {
            "fail": "Do not publish",
            "inconclusive": "Not shown to be publishable",
            "incomplete": "Not finished",
        }[verdict]
        return f"{word}: {first[verdict]}{more}.{assumed if facts.attacked else ''}"
    by_name = {attack.name: attack for attack in attacks}
    required = [by_name[name] for name in policy.required_attacks]
    kinds = sorted({kind for attack in required for kind in attack.detection_limit})
    limits = {
        kind: min((limit.dose for attack in required if (limit := attack.detection_limit[kind])), default=None)
        for kind in kinds
    }
    seen = ", ".join(f"{kind} from {dose}" for kind, dose in limits.items() if dose is not None)
    unseen = [kind for kind, dose in limits.items() if dose is None]
    blind = f" Not found even at 20 %: {', '.join(unseen)}." if unseen else ""
    others = [attack.name for attack in attacks if attack.name not in policy.required_attacks]
    chosen = (
        f" Judged on the same images as {_counted(len(facts.releases) - 1, 'other candidate', 'others')}: "
        "choosing among them by their verdicts is not confirmed by controls of its own."
        if len(facts.releases) > 1
        else ""
    )
    beside = f" Also silent: {', '.join(others)}." if others else ""
    return (
        f"No leak was found by {' and '.join(policy.required_attacks)}, which would have found planted members in this "
        f"candidate ({seen} images on).{blind}{beside}{assumed}{chosen}"
    )


def _judge_release(
    evidence: AuditEvidence, release: ReleaseFacts, policy: Policy, validity: Validity, innocent: Innocent | None
) -> ReleaseRecord:
    facts, case, attacks = evidence.facts, _Case(), list[AttackRecord]()
    _judge_proofs(case, release, policy)
    _judge_coverage(case, release, facts, policy)
    few = too_few(facts, policy) if facts.exchangeability != "no controls" else None
    if facts.exchangeability == "no controls":
        case.add(
            "inconclusive",
            "there are no controls: without images that were never used, no leak can be told from chance",
            "Give images from the same source that were never used, with --controls.",
        )
    elif few is not None:
        case.add("inconclusive", few, "Collect more members or controls, or choose a policy with a larger limit.")
    elif innocent is None:
        case.add("incomplete", "the attacks have not been run on this candidate", "Run the audit again.")
    if innocent is not None:
        families = {
            family: Rule(policy.tpr_limit, max(1, sum(a.family == family for a in release.attacks)), policy.suspected_q)
            for family in ("holds_release", "mediated")
        }
        attacks = find(
            [Case(attack, evidence.scores.get((release.name, attack.name))) for attack in release.attacks],
            families,
            facts.member_ids,
            release.identical,
            innocent,
            facts.data.unit,
            validity.passed,
            facts.seed,
        )
        if not validity.passed:
            case.add(
                "inconclusive",
                _invalid(validity),
                "Find controls from the same source, handled in the same way as the members.",
            )
        _judge_leaks(case, attacks, policy)
        if few is None:
            _judge_power(case, attacks, facts, policy)
    verdict = case.verdict
    return ReleaseRecord(
        name=release.name,
        verdict=verdict,
        sentence=_sentence(verdict, case, attacks, policy, facts),
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
    checks = tuple(
        check
        for release in facts.releases
        for check in fresh_checks([Case(a, evidence.scores.get((release.name, a.name))) for a in release.attacks])
    )
    blind = facts.blind_baseline
    return Validity(
        blind_baseline=blind,
        fresh=checks,
        exchangeability=facts.exchangeability,
        passed=(blind is None or blind.passed) and all(check.passed for check in checks),
    )


def judge(evidence: AuditEvidence, policy: Policy) -> AuditRecord:
    """Judge evidence under a policy. Deterministic: equal evidence and policy give an equal record."""
    facts = evidence.facts
    validity = _validity(evidence)
    innocent = None
    if facts.attacked:
        controls = facts.data.scored_controls + facts.data.scored_fresh
        rng = seeds.generator(facts.seed, "innocent draws")
        innocent = innocent_draws(facts.data.scored_members, controls, rng)
    releases = tuple(_judge_release(evidence, release, policy, validity, innocent) for release in facts.releases)
    verdict = worst(release.verdict for release in releases)
    sentence = next(release.sentence for release in releases if release.verdict == verdict)
    return AuditRecord(
        verdict=verdict,
        sentence=sentence if len(releases) == 1 else f"Of {len(releases)} candidates the worst: {sentence}",
        releases=releases,
        validity=validity,
        data=facts.data,
        policy=policy.model_dump(mode="json", by_alias=True),
        manifest=facts.manifest,
    )
