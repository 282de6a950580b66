"""What is published beside the images: what the attacks that look at it found, and what leaving it out would change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from privaudit.evidence import ReleaseFacts
from privaudit.record import ArtifactRecord, AttackRecord, ReleaseRecord, Verdict

_Found = Literal["fail", "inconclusive", "silent", "not assessed"]


def without(release: ReleaseFacts, artifact: str) -> ReleaseFacts:
    """The facts of the same candidate published without it: what attacks that look at it found is gone."""
    words = artifact.replace("_", " ")
    update = {
        "attacks": tuple(attack for attack in release.attacks if artifact not in attack.looks_at),
        "unseen": tuple(text for text in release.unseen if not text.startswith(words)),
        "not_assessed": tuple(text for text in release.not_assessed if not text.startswith(words)),
        "artifacts": tuple(name for name in release.artifacts if name != artifact),
    }
    return release.model_copy(update=update)


def artifact_records(
    release: ReleaseFacts,
    record: ReleaseRecord,
    required: Sequence[str],
    judged: Callable[[ReleaseFacts], Verdict],
) -> tuple[ArtifactRecord, ...]:
    """One record for each thing that is published beside the images.

    required: attacks on which a pass rests. judged: the verdict on a candidate, from its facts.
    """
    return tuple(_record(release, record, artifact, required, judged) for artifact in release.artifacts)


def _record(
    release: ReleaseFacts,
    record: ReleaseRecord,
    artifact: str,
    required: Sequence[str],
    judged: Callable[[ReleaseFacts], Verdict],
) -> ArtifactRecord:
    names = [attack.name for attack in release.attacks if artifact in attack.looks_at]
    attacks = [attack for attack in record.attacks if attack.name in names]
    found = _found(attacks)
    verdict = judged(without(release, artifact))
    words = artifact.replace("_", " ").capitalize()
    without_it = "Without them" if words.endswith("s") else "Without it"
    start = {
        "fail": f"{words}: looked at by {_listed(attacks)}: a leak was found.",
        "inconclusive": f"{words}: looked at by {_listed(attacks)}: in doubt, or not finished.",
        "silent": f"{words}: looked at by {_listed(attacks)}: nothing was found.",
        "not assessed": f"{words}: no attack looked at what this gives away.",
    }[found]
    if found == "silent" and not any(attack.supports_pass for attack in attacks):
        start += " Their power in this candidate is not shown, so that this silence supports nothing."
    end = (
        f" {without_it} the verdict would be the same, {verdict}."
        if verdict == record.verdict
        else f" {without_it} the verdict would be {verdict}."
    )
    if verdict == "pass" and required:
        end += f" It would rest on {' and '.join(required)}, and be confirmed by no audit: audit the candidate without."
    return ArtifactRecord(
        name=artifact, attacks=tuple(names), found=found, verdict_without=verdict, sentence=start + end
    )


def _found(attacks: Sequence[AttackRecord]) -> _Found:
    verdicts = {attack.verdict for attack in attacks}
    if "fail" in verdicts:
        return "fail"
    if verdicts - {"pass"}:
        return "inconclusive"
    return "silent" if attacks else "not assessed"


def _listed(attacks: Sequence[AttackRecord]) -> str:
    return " and ".join(attack.name for attack in attacks)
