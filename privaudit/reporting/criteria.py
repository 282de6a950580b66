"""The criteria of WP216: what was found by each, or that it was not assessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord
from privaudit.reporting.explanations import VerdictWords
from privaudit.reporting.frameworks import CriterionWords, frameworks
from privaudit.reporting.text import count, units
from privaudit.rule_record import RuleRecord

NOT_ASSESSED = VerdictWords("Not assessed", "–", "Nobody looked: the risk is unknown, not small.")
FOUND = VerdictWords("Leak found", "✕", "The release gives this away.")
UNCLEAR = VerdictWords("Unclear", "?", "The evidence is not enough for a yes or a no.")
UNFINISHED = VerdictWords("Not finished", "!", "A part of the evidence is missing.")
NOTHING_FOUND = VerdictWords(
    "Nothing found", "✓", "The attacks named here found nothing above the limits of the policy. Others may find more."
)


@dataclass(frozen=True)
class CriterionView:
    """One criterion of one release. lines: what was found, one sentence each. attacks: names of those behind it."""

    words: CriterionWords
    status: VerdictWords
    lines: tuple[str, ...]
    attacks: tuple[str, ...]


def criteria(record: AuditRecord, release: ReleaseRecord) -> tuple[CriterionView, ...]:
    """All criteria, in the order of `frameworks.yaml`."""
    return tuple(_view(words, record, release) for words in frameworks().criteria)


def _view(words: CriterionWords, record: AuditRecord, release: ReleaseRecord) -> CriterionView:
    attacks = [one for one in release.attacks if words.id in one.informs or one.name in words.attacks]
    rules = [rule for rule in release.rules if _listed(rule.metric, words.metrics)]
    status = _status(words, attacks, rules, record, release)
    lines = list(_copies(release)) if "identical_copies" in words.metrics else []
    if "file_traces" in words.metrics and release.scan:
        lines += [f"{one.sentence} ({units(one.count, 'file')})" for one in release.scan]
    elif "file_traces" in words.metrics:
        lines.append(
            "The released files themselves were not looked at: none were given."
            if not_scanned(release)
            else "The released files carry nothing beside the images."
        )
    lines += [line for attack in attacks if words.id in attack.informs for line in _found(attack, record)]
    if status is NOT_ASSESSED or not attacks:
        lines.append(words.not_assessed)
    return CriterionView(words, status, tuple(lines), tuple(one.name for one in attacks))


def not_scanned(release: ReleaseRecord) -> bool:
    """Whether no files were given, so that none could be searched for traces."""
    return any(text.startswith("traces in the released files") for text in release.not_assessed)


def _listed(metric: str, metrics: Sequence[str]) -> bool:
    return any(metric == one or (one.endswith(".") and metric.startswith(one)) for one in metrics)


def _status(
    words: CriterionWords,
    attacks: Sequence[AttackRecord],
    rules: Sequence[RuleRecord],
    record: AuditRecord,
    release: ReleaseRecord,
) -> VerdictWords:
    asked = {rule.leads_to for rule in rules if rule.verdict == "broken"}
    found = {attack.verdict for attack in attacks}
    proof = (release.identical and "identical_copies" in words.metrics) or (
        release.scan and "file_traces" in words.metrics
    )
    if proof or "fail" in asked | found:
        return FOUND
    if not attacks:
        return NOT_ASSESSED
    if "incomplete" in found:
        return UNFINISHED
    waived = any(rule.verdict == "waived" for rule in rules)
    silent = [one for one in attacks if one.verdict == "pass" and one.supports_pass]
    if "inconclusive" in asked | found or waived or not record.validity.passed or release.verdict != "pass":
        return UNCLEAR if any(one.arms.get("release") for one in attacks) else NOT_ASSESSED
    return NOTHING_FOUND if silent else NOT_ASSESSED


def _copies(release: ReleaseRecord) -> tuple[str, ...]:
    number = len(release.identical)
    if not number:
        return ("No private image is released unchanged, pixel by pixel.",)
    noun, verb = ("image", "is") if number == 1 else ("images", "are")
    return (f"{count(number)} private {noun} {verb} released unchanged, pixel by pixel.",)


def _found(attack: AttackRecord, record: AuditRecord) -> list[str]:
    if attack.family == "mediated" or attack.arms.get("release") is None:
        return []
    unit, listed = record.data.unit, len(attack.suspected)
    named = f"puts {units(listed, unit)} on the list of suspected members" if listed else "suspects no member by name"
    share = attack.exposed_share
    if attack.ranks == "siblings":
        return [
            f"{attack.name} looked for {units(record.data.linked_members, 'person')} of the members by another image "
            f"of theirs, beside {units(record.data.linked_controls, 'person')} of the controls, and {named}."
        ]
    if share is None:
        return [f"{attack.name} {named}."]
    return [
        f"{attack.name} {named}, and exposes between {count(share.persons[0])} and {units(share.persons[1], unit)}."
    ]
