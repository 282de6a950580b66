"""From the evidence of one seed to the figures of its cells."""

from __future__ import annotations

from privaudit.evidence import AuditEvidence
from privaudit.findings import arm_scores
from privaudit.grid.record import EXPOSED, UTILITY, Cell
from privaudit.record import AuditRecord
from privaudit.statistics.paired import levels

TPR = "tpr_at_1pct_fpr"


def cells(evidence: AuditEvidence, record: AuditRecord, digests: dict[str, str]) -> list[Cell]:
    """One cell for every candidate of a run. digests: of the released images, by candidate."""
    return [
        _cell(evidence, record, place, digests[release.name]) for place, release in enumerate(evidence.facts.releases)
    ]


def _cell(evidence: AuditEvidence, record: AuditRecord, place: int, digest: str) -> Cell:
    facts, judged = evidence.facts.releases[place], record.releases[place]
    figures: dict[str, float] = {}
    failed = [attack.name for attack in facts.attacks if attack.failure is not None]
    for attack in facts.attacks:
        scores = evidence.scores.get((facts.name, attack.name))
        if scores is not None:
            found = levels(arm_scores(scores, "release"))
            figures |= {f"{attack.name} {metric}": value for metric, value in found.items()}
    held = [attack.name for attack in facts.attacks if attack.family == "holds_release"]
    shares = [figures[key] for name in held if (key := f"{name} {TPR}") in figures]
    if shares:
        figures[EXPOSED] = max(shares)
    if facts.utility is not None:
        figures[UTILITY] = facts.utility.synthetic.estimate
    failure = f"{' and '.join(failed)} did not finish" if failed else None
    if not evidence.facts.attacked:
        failure = judged.sentence
    return Cell(
        setting=facts.name,
        seed=evidence.facts.seed,
        verdict=judged.verdict,
        failure=failure,
        release=digest,
        images=facts.images,
        figures=figures,
    )
