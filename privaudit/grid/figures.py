"""From the evidence of one seed to the figures of its cells."""

from __future__ import annotations

from privaudit.evidence import AuditEvidence, ReleaseFacts
from privaudit.findings import arm_scores
from privaudit.grid.record import EXPOSED, UTILITY, Cell
from privaudit.judgement import judge
from privaudit.policy import Policy
from privaudit.record import AuditRecord
from privaudit.selection import only
from privaudit.statistics.paired import levels

TPR = "tpr_at_1pct_fpr"


def cells(evidence: AuditEvidence, rules: Policy) -> list[Cell]:
    """One cell for every candidate of a run, each judged as if it had come alone."""
    digests = evidence.facts.manifest["hashes"]["releases"]
    return [
        _cell(evidence, release, judge(only(evidence, release.name), rules), str(digests[release.name]))
        for release in evidence.facts.releases
    ]


def _cell(evidence: AuditEvidence, facts: ReleaseFacts, record: AuditRecord, digest: str) -> Cell:
    figures: dict[str, float] = {}
    failed = [attack.name for attack in facts.attacks if attack.failure is not None]
    for attack in facts.attacks:
        scores = evidence.scores.get((facts.name, attack.name))
        if scores is not None:
            found = levels(arm_scores(scores, "release"))
            figures |= {f"{attack.name} {metric}": value for metric, value in found.items()}
    held = [attack.name for attack in facts.attacks if attack.family == "holds_release" and attack.ranks == "suspects"]
    shares = [figures[key] for name in held if (key := f"{name} {TPR}") in figures]
    if shares:
        figures[EXPOSED] = max(shares)
    if facts.utility is not None:
        figures[UTILITY] = facts.utility.synthetic.estimate
    failure = f"{' and '.join(failed)} did not finish" if failed else None
    if not evidence.facts.attacked:
        failure = record.sentence
    return Cell(
        setting=facts.name,
        seed=evidence.facts.seed,
        verdict=record.verdict,
        failure=failure,
        release=digest,
        images=facts.images,
        figures=figures,
    )
