"""The first screen: may this be published, why, what was not tested, what to do next. Three lines each at most."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from privaudit.record import AttackRecord, AuditRecord, ReleaseRecord, Unit, Verdict
from privaudit.reporting.criteria import NOT_ASSESSED, criteria
from privaudit.reporting.explanations import VERDICTS, VerdictWords, plant_name
from privaudit.reporting.text import units

SHOWN = 3
"""Lines of each kind on the first screen; the others stand below, behind a link."""

_ANSWERS: Mapping[Verdict, tuple[str, str]] = {
    "pass": (
        "Yes, within the limits of this audit",
        "The attacks that the policy “{policy}” requires found no leak above its limits, and would have found planted "
        "copies; this is no proof that nobody can find one.",
    ),
    "fail": ("No", "Publishing it as it is would break the policy “{policy}”."),
    "inconclusive": (
        "Not on this evidence",
        "The evidence is not enough for a yes or a no: do not read this as a pass.",
    ),
    "incomplete": (
        "Not on this evidence",
        "A part of the audit that the policy “{policy}” requires did not finish: do not read this as a pass.",
    ),
}
_NOT_ALL = "Not all of them"
_RULES = re.compile(r"^rules? [a-z0-9-]+(?:, [a-z0-9-]+)*: ")


@dataclass(frozen=True)
class Lines:
    """At most `SHOWN` lines of a list, and how many there are in all."""

    shown: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class Opening:
    """What stands on the first screen. of: the candidate that it speaks of, where there are several."""

    answer: str
    words: VerdictWords
    sentence: str
    of: str | None
    why: Lines
    untested: Lines
    steps: Lines
    selection: str | None


def opening(record: AuditRecord) -> Opening | None:
    """The first screen; None for a record without releases."""
    if not record.releases:
        return None
    chosen = record.selection.chosen if record.selection is not None and record.verdict == "pass" else None
    worst = next(
        (one for one in record.releases if (one.name == chosen if chosen else one.verdict == record.verdict)),
        record.releases[0],
    )
    answer, sentence = _ANSWERS[record.verdict]
    if len({one.verdict for one in record.releases}) > 1:
        answer = _NOT_ALL if record.verdict == "fail" else answer
        sentence = f"“{worst.name}” decides: the verdict on several candidates is that on the worst. " + sentence
    return Opening(
        answer=answer,
        words=VERDICTS[record.verdict],
        sentence=sentence.format(policy=record.policy.get("name", "unnamed")),
        of=worst.name if len(record.releases) > 1 else None,
        why=_first(why(record, worst)),
        untested=_first(untested(record, worst)),
        steps=_first(next_steps(record, worst)),
        selection=None if record.selection is None else record.selection.sentence,
    )


def _first(lines: Sequence[str]) -> Lines:
    return Lines(tuple(lines[:SHOWN]), len(lines))


def why(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    """The reasons in plain words, the gravest first; for a pass what it rests on and what it is blind to."""
    if release.verdict == "pass":
        return _grounds(record, release)
    by_name = {attack.name: attack for attack in release.attacks}
    found = []
    for reason in release.reasons:
        text = reason.partition(": ")[2] or reason
        name, _, told = text.partition(": ")
        if name in by_name and by_name[name].verdict == "fail":
            found.append(_failing(by_name[name], record.data.unit))
        else:
            found.append(_sentence(f"{name}: {told.split('; ')[0]}" if name in by_name else _RULES.sub("", text)))
    return found


def _grounds(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    required = _required(record, release)
    names = " and ".join(attack.name for attack in required) or "the required attacks"
    lines = [f"{names} found no leak above the limits."]
    seen, blind = _sight(required)
    if seen:
        found = ", ".join(f"{plant_name(kind)} from {dose}" for kind, dose in seen.items())
        lines.append(f"Planted members would have been found: {found} {record.data.unit}s on.")
    if blind:
        kinds = " or ".join(plant_name(kind) for kind in blind)
        lines.append(f"Would not have been found: members that are {kinds}, even 20 % of them.")
    lines += [f"Broken, but waived: {rule.id}." for rule in release.rules if rule.verdict == "waived"]
    return lines


def _required(record: AuditRecord, release: ReleaseRecord) -> list[AttackRecord]:
    names = record.policy.get("required_attacks", ())
    return [attack for attack in release.attacks if attack.name in names]


def _sight(attacks: Sequence[AttackRecord]) -> tuple[dict[str, int], list[str]]:
    """Smallest dose found by kind of plant, and the kinds that were planted and that no attack found."""
    kinds = sorted({kind for attack in attacks for kind in attack.detection_limit if attack.power.get(kind)})
    doses = {
        kind: [one.dose for attack in attacks if (one := attack.detection_limit.get(kind)) is not None]
        for kind in kinds
    }
    return {kind: min(found) for kind, found in doses.items() if found}, [kind for kind in kinds if not doses[kind]]


def _failing(attack: AttackRecord, unit: Unit) -> str:
    if attack.suspected:
        return (
            f"The attack {attack.name} can tell members from strangers, and names {units(len(attack.suspected), unit)}."
        )
    return f"The attack {attack.name} can tell members from strangers better than chance."


def _sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}." if not re.match(r"[a-z0-9]+(-[a-z0-9]+)+\b", text) else f"{text}."


def untested(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    """What nobody looked at, the weightiest first."""
    lines = []
    names = record.policy.get("required_attacks", ())
    done = {attack.name for attack in release.attacks if attack.verdict != "incomplete"}
    missing = [str(name) for name in names if name not in done]
    if missing:
        noun = "attack" if len(missing) == 1 else "attacks"
        lines.append(f"The required {noun} {' and '.join(missing)}: not run to the end.")
    if record.validity.exchangeability == "assumed":
        lines.append("Whether members and controls differ by chance only: assumed; the checks could only refute it.")
    views = criteria(record, release)
    silent = [view for view in views if view.status is NOT_ASSESSED and view.words.id != "singling_out"]
    open_ = [view.words.title for view in silent if not view.attacks]
    lines += [
        f"{view.words.title}: {' and '.join(view.attacks)} found nothing, and has not shown that it would have."
        for view in silent
        if view.attacks
    ]
    if open_:
        listed = f"{', '.join(open_[:-1])} and {open_[-1].lower()}" if len(open_) > 1 else open_[0]
        lines.append(f"{listed}: no attack of this kind was run.")
    _, blind = _sight(_required(record, release))
    if blind and release.verdict != "pass":
        kinds = ", ".join(plant_name(kind) for kind in blind)
        lines.append(f"Members that are {kinds}: not found even at 20 %.")
    left = len(record.data.not_assessed_members)
    if left:
        lines.append(f"{units(left, 'member')}: nearly the same images lie beside them.")
    lines += [_sentence(text) for text in release.not_assessed]
    return [*lines, "Attacks that this report does not name, and what an attacker knows from elsewhere."]


def next_steps(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    """What the verdict asks for."""
    if release.next_steps or release.verdict != "pass":
        return list(release.next_steps) or ["Read the reasons, mend what they name, and audit again."]
    review = record.policy.get("review_by")
    if record.policy.get("name") == "demo":
        return ["Do not publish by the policy “demo”, which is for trying the program: judge by one of your own."]
    return [
        f"Publish exactly the {units(release.images, 'image')} that were audited, and nothing beside them.",
        "Have the policy, and what was not tested, accepted by the person who answers for it.",
        f"Audit again by {review}, and" + " whenever the candidate or the policy changes."
        if review
        else "Audit again whenever the candidate or the policy changes, and set a day for the next review.",
    ]
