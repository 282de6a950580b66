"""Choosing one of several candidates, and confirming the choice on controls that took no part in it.

The best of many candidates on the same suspects looks better than it is. So a third of the controls is held back: the
most useful of the candidates that pass without them is chosen, and judged once more with the controls that were held
back, and with no others. Fewer controls see less: every candidate is judged on all controls too, as if it had come
alone, and neither the choice nor its confirmation makes that verdict any better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit import seeds
from privaudit.attack import Ranked
from privaudit.evidence import AuditEvidence, Scores
from privaudit.policy import Policy
from privaudit.record import AuditRecord, ReleaseRecord, SelectionRecord

HELD_BACK = 1 / 3


@dataclass(frozen=True, eq=False)
class Split:
    """The same evidence with two thirds of the controls, and with the others."""

    choosing: AuditEvidence
    confirming: AuditEvidence


def split(evidence: AuditEvidence, policy: Policy) -> Split | None:
    """Hold a third of the controls back; None where there is no choice, or the policy could not judge with so few."""
    facts = evidence.facts
    if len(facts.releases) < 2 or not facts.attacked:
        return None
    counts = facts.data.scored_controls, facts.data.scored_fresh
    held: _Masks = {"suspects": _held(counts, facts.seed, "held-back controls")}
    if facts.siblings is not None:
        counts = facts.siblings.scored_controls, facts.siblings.scored_fresh
        held["siblings"] = _held(counts, facts.seed, "held-back siblings")
    if not policy.enough(facts.data.scored_members, int(sum(part.sum() for part in held["suspects"]))):
        return None
    chosen: _Masks = {ranked: (~controls, ~fresh) for ranked, (controls, fresh) in held.items()}
    return Split(_with(evidence, chosen), _with(evidence, held))


_Masks = dict[Ranked, tuple[NDArray[np.bool_], NDArray[np.bool_]]]
"""Which controls and which fresh images are kept, of those that attacks rank."""


def _held(counts: tuple[int, int], seed: int, name: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    controls, fresh = counts
    return _drawn(controls, seeds.generator(seed, name, "controls")), _drawn(
        fresh, seeds.generator(seed, name, "fresh")
    )


def _drawn(count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[rng.permutation(count)[: round(count * HELD_BACK)]] = True
    return chosen


def _with(evidence: AuditEvidence, kept: _Masks) -> AuditEvidence:
    """The evidence with these controls and fresh images alone."""
    of = {(one.name, attack.name): attack.ranks for one in evidence.facts.releases for attack in one.attacks}

    def thinned(scores: Scores, ranked: Ranked) -> Scores:
        controls, fresh = kept[ranked]
        both = np.concatenate([controls, fresh])
        found = {}
        for name, values in scores.items():
            if name == "release fresh":
                values = values[fresh]
            elif name.endswith(" controls"):
                values = values[both if name.startswith("plant ") and len(values) == len(both) else controls]
            found[name] = values
        return found

    controls, fresh = kept["suspects"]
    data = evidence.facts.data.model_copy(
        update={"scored_controls": int(controls.sum()), "scored_fresh": int(fresh.sum())}
    )
    units = dict(evidence.facts.units)
    if units:
        units |= {"controls": units["controls"].kept(controls), "fresh": units["fresh"].kept(fresh)}
    update: dict[str, Any] = {"data": data, "units": units}
    if evidence.facts.siblings is not None:
        theirs = {
            f"scored_{part}": int(mask.sum())
            for part, mask in zip(("controls", "fresh"), kept["siblings"], strict=True)
        }
        update["siblings"] = evidence.facts.siblings.model_copy(update=theirs)
    facts = evidence.facts.model_copy(update=update)
    return AuditEvidence(facts, {place: thinned(scores, of[place]) for place, scores in evidence.scores.items()})


def only(evidence: AuditEvidence, name: str) -> AuditEvidence:
    """The evidence on one candidate."""
    releases = tuple(release for release in evidence.facts.releases if release.name == name)
    return replace(
        evidence,
        facts=evidence.facts.model_copy(update={"releases": releases}),
        scores={place: scores for place, scores in evidence.scores.items() if place[0] == name},
    )


def best(record: AuditRecord, choosing: AuditRecord | None = None) -> str | None:
    """Name of the most useful candidate that passes; where utility was not measured, of the one least exposed.

    record: judged on all controls. choosing: judged on those that were not held back; it must pass there too.
    """

    def merit(release: ReleaseRecord) -> tuple[float, float]:
        useful = -1.0 if release.utility is None else release.utility.synthetic.estimate
        shares = [attack.exposed_share.high for attack in release.attacks if attack.exposed_share is not None]
        return useful, -max(shares, default=1.0)

    passed = [
        release
        for release, again in zip(record.releases, (choosing or record).releases, strict=True)
        if release.verdict == again.verdict == "pass"
    ]
    return max(passed, key=merit).name if passed else None


def unconfirmed(record: AuditRecord, why: str) -> AuditRecord:
    """The record of several candidates none of which was judged on controls of its own. why: a clause."""
    count, chosen = len(record.releases), best(record)
    sentence = (
        "None of the candidates passes: there is nothing to choose."
        if chosen is None
        else f"Selected among {count} candidates, not confirmed: {why}. Audit the one you choose again, with controls "
        "that were not used before."
    )
    found = SelectionRecord(candidates=count, chosen=chosen, confirmed=None, held_back_controls=0, sentence=sentence)
    return _told(record, found, {})


AGAIN = "Do not publish yet: audit the candidate that you choose once more, with controls that were not used before."
TOO_FEW = "there are too few controls to hold a third of them back"
NONE_PASSES = "no candidate passes without the controls that were held back"


def used_before(evidence: AuditEvidence) -> str | None:
    """Why no controls are unused, where other candidates of these members were audited before."""
    earlier = int(evidence.facts.manifest.get("earlier_audits_of_these_members", 0))
    if earlier == 0:
        return None
    number = "another candidate" if earlier == 1 else f"{earlier:,} other candidates"
    return f"{number} of these members had been audited before with this store, so that no controls are unused"


def _merit(record: AuditRecord) -> str:
    return "least exposed" if any(release.utility is None for release in record.releases) else "most useful"


def chosen_and_confirmed(record: AuditRecord, confirmation: AuditRecord, held_back: int) -> AuditRecord:
    """The record of several candidates, the chosen one judged once more on controls that were held back."""
    second = confirmation.releases[0]
    confirmed = second.verdict == "pass"
    count = len(record.releases)
    sentence = (
        f"Of {count} candidates '{second.name}' was chosen, as the {_merit(record)} that passes, and "
        + ("confirmed" if confirmed else "not confirmed")
        + f" on {held_back:,} controls that took no part in the choice."
    )
    if not confirmed:
        sentence += " These are used up now: choosing another candidate needs new controls."
    found = SelectionRecord(
        candidates=count, chosen=second.name, confirmed=confirmed, held_back_controls=held_back, sentence=sentence
    )
    changed: dict[str, Any] = {}
    if not confirmed:
        changed = {
            "verdict": second.verdict,
            "sentence": f"Chosen among {count} candidates, but {held_back:,} held-back controls do not confirm it. "
            + second.sentence,
            "reasons": tuple(
                f"{kind}: on the held-back controls: {text}"
                for kind, _, text in (reason.partition(": ") for reason in second.reasons)
            ),
            "next_steps": second.next_steps,
        }
    return _told(record, found, changed)


def _told(record: AuditRecord, found: SelectionRecord, changed: dict[str, Any]) -> AuditRecord:
    """The record with the selection, and every candidate that passes with what that is worth."""
    releases = []
    for release in record.releases:
        if release.name == found.chosen and changed:
            releases.append(release.model_copy(update=changed))
            continue
        note, steps = "", release.next_steps
        if release.verdict == "pass":
            if not (release.name == found.chosen and found.confirmed):
                steps = (*steps, AGAIN)
            if found.held_back_controls == 0:
                note = f" Selected among {found.candidates} candidates, not confirmed on controls of its own."
            elif release.name == found.chosen:
                note = f" Chosen among {found.candidates} candidates, and confirmed on {found.held_back_controls:,} "
                note += "controls that took no part in the choice."
            else:
                note = f" Not confirmed: the held-back controls were used for '{found.chosen}'."
        releases.append(release.model_copy(update={"sentence": release.sentence + note, "next_steps": steps}))
    return record.model_copy(update={"releases": tuple(releases), "selection": found})
