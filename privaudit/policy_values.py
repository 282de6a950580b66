"""What an audit measured for each metric that a policy may limit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from privaudit.evidence import NO_FILES, AuditFacts, ReleaseFacts
from privaudit.policy_metrics import CONTROLS, DETECTION, EXPOSED, IDENTICAL, MEMBERS, SIMILARITY, SUSPECTED
from privaudit.policy_rules import Missing, Value
from privaudit.record import ArmRecord, AttackRecord
from privaudit.release import CLAIM_PARTS, stated
from privaudit.utility.record import Measured

Values = Sequence[Value] | Missing


@dataclass(frozen=True)
class Found:
    """All that was found of one release.

    required: attacks that the policy requires. unjudged: why no finding of an attack can be judged; None: they can.
    unlimited: attacks that rank too few persons for the limit of the policy: their share is held against none.
    """

    facts: AuditFacts
    release: ReleaseFacts
    attacks: Sequence[AttackRecord]
    required: Sequence[str]
    unjudged: Missing | None
    unlimited: Collection[str] = ()


def values_of(metric: str, found: Found) -> Values:
    """What was measured: one value, or one for each attack; or why it was not assessed."""
    if metric in _OF_THE_DATA:
        return (_OF_THE_DATA[metric](found),)
    if metric.startswith("claim."):
        return _claim(metric.removeprefix("claim."), found)
    if metric.startswith("utility."):
        return _utility(metric.removeprefix("utility."), found)
    if metric.startswith(SIMILARITY):
        return _similarity(metric.split(".")[1], found)
    if found.unjudged is not None:
        return found.unjudged
    if metric.startswith(DETECTION):
        return _detection(metric.removeprefix(DETECTION), found)
    if metric == "closest_members":
        count = len({name for attack in found.attacks for name in attack.closest})
        words = f"{_counted(count, 'member lies', 'members lie')} closer to the release than every control"
        return (Value(words, count),)
    arms = [(attack, arm) for attack in found.attacks if (arm := attack.arms["release"]) and _holds(attack)]
    if metric != SUSPECTED:
        arms = [(attack, arm) for attack, arm in arms if attack.name not in found.unlimited]
    else:  # of several lists the longest is told
        arms = sorted(arms, key=lambda one: -len(one[0].suspected))
    if not arms:
        return Missing("no attack that holds the release has finished")
    return [_OF_AN_ATTACK[metric](attack, arm) for attack, arm in arms]


def _holds(attack: AttackRecord) -> bool:
    return attack.family == "holds_release"


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _identical(found: Found) -> Value:
    people = len({pair.id for pair in found.release.identical})
    return Value(f"{_counted(people, 'member is', 'members are')} released unchanged, pixel by pixel", people)


def _traces(found: Found) -> Value:
    told = [one.sentence.rstrip(".") for one in found.release.scan]
    none = "not assessed: no files were given" if NO_FILES in found.release.not_assessed else "no traces were found"
    words = f"the released files carry traces: {'; '.join(told)}" if told else none
    return Value(words, len(told))


def _left_out(found: Found) -> Value:
    left, members = len(found.facts.data.not_assessed_members), found.facts.data.members
    words = f"{left:,} of {members:,} members could not be assessed: other images are nearly the same"
    return Value(words, left / max(1, members), n=members)


def _scored_members(found: Found) -> Value:
    count = found.facts.data.scored_members
    return Value(f"{_counted(count, 'member', 'members')} can be scored", count)


def _scored_controls(found: Found) -> Value:
    count = found.facts.data.scored_controls + found.facts.data.scored_fresh
    return Value(f"{_counted(count, 'control', 'controls')} can be scored", count)


def _images(found: Found) -> Value:
    return Value(f"{_counted(found.release.images, 'image is', 'images are')} released", found.release.images)


_OF_THE_DATA: Mapping[str, Callable[[Found], Value]] = {
    IDENTICAL: _identical,
    "file_traces": _traces,
    "left_out_share": _left_out,
    MEMBERS: _scored_members,
    CONTROLS: _scored_controls,
    "images": _images,
}


def _tpr(attack: AttackRecord, arm: ArmRecord) -> Value:
    tpr = arm.tpr_at_1pct_fpr
    words = f"{attack.name} finds {_percent(tpr.low)} to {_percent(tpr.high)} of the members at 1 % false accusations"
    return Value(words, tpr.estimate, tpr.low, tpr.high, min(tpr.n_members, tpr.n_controls), of=attack.name)


def _suspected(attack: AttackRecord, arm: ArmRecord) -> Value:
    count = len(attack.suspected)
    words = f"{attack.name} names {_counted(count, 'member', 'members') if count else 'no member'}"
    return Value(f"{words} at a false discovery rate of {_percent(attack.suspected_q)}", kept=not count, of=attack.name)


def _persons(attack: AttackRecord, arm: ArmRecord) -> Value:
    tpr = arm.tpr_at_1pct_fpr
    low, high = (0, tpr.n_members) if attack.exposed_share is None else attack.exposed_share.persons
    noun = "person" if tpr.unit == "person" else "member"
    words = f"{attack.name} exposes {low:,} to {_counted(high, noun, f'{noun}s')} beyond chance"
    return Value(words, None, low, high, min(tpr.n_members, tpr.n_controls), of=attack.name)


_OF_AN_ATTACK: Mapping[str, Callable[[AttackRecord, ArmRecord], Value]] = {
    EXPOSED: _tpr,
    SUSPECTED: _suspected,
    "exposed_share.persons": _persons,
}


def _detection(kind: str, found: Found) -> Values:
    # An attack on siblings counts linked persons: its doses are no doses of the scored members.
    required = [attack for attack in found.attacks if attack.name in found.required and attack.ranks == "suspects"]
    doses = [limit.dose for attack in required if (limit := attack.detection_limit.get(kind)) is not None]
    if not any(kind in attack.detection_limit for attack in required):
        return Missing(f"no power: planted members of the kind '{kind}' were not tried by a required attack")
    was = f"from {min(doses)} on" if doses else "not even as 20 % of the members"
    words = f"power: planted members of the kind '{kind}' are found {was}"
    return (Value(words, min(doses, default=None), n=found.facts.data.scored_members),)


def _similarity(name: str, found: Found) -> Values:
    law = next((law for key, law in found.release.similarity.items() if key == name), None)
    if law is None:
        return Missing(f"the similarity {name.upper()} was not assessed", "Audit again without --skip similarity.")
    place = law.place
    words = f"{_percent(place.estimate)} of held-out real images are more alike to a member than half of the release"
    return (Value(words, place.estimate, place.low, place.high, place.n_controls),)


def _utility(name: str, found: Found) -> Values:
    measured: Measured | None = getattr(found.release.utility, name, None)
    if measured is None:
        return Missing("the usefulness was not measured", "Audit again without --skip utility.")
    what = "students of the release keep" if name == "ratio" else "students of the release reach"
    words = f"{what} {_percent(measured.estimate)} {'of the accuracy' if name == 'ratio' else 'accuracy'}"
    return (Value(words, measured.estimate, measured.low, measured.high, measured.n),)


def _claim(name: str, found: Found) -> Values:
    claim = found.release.claim
    if claim is None:
        return (Value("the release comes with no claim of differential privacy"),)
    parts = stated(claim)
    silent = [part for part in CLAIM_PARTS if part not in parts]
    value = parts.get(name)
    if silent or not isinstance(value, int | float):
        told = ", ".join(silent) or name
        return Missing(f"the claim of differential privacy is not complete: it does not state {told}")
    return (Value(f"the claimed {name} is {value:g}", float(value)),)
