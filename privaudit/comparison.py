"""Compare two finished runs: is the second leakier than the first, beyond the noise?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from privaudit import seeds
from privaudit.errors import InputError
from privaudit.evidence import AuditEvidence, ReleaseFacts
from privaudit.findings import arm_scores
from privaudit.judgement import judge
from privaudit.policy import Policy
from privaudit.record import Verdict
from privaudit.selection import only
from privaudit.statistics.detection import holm
from privaudit.statistics.paired import Change, changes

ALPHA = 0.05

METRICS = {
    "auc": "chance that a member is ranked above a control (0.5: no leak)",
    "tpr_at_1pct_fpr": "share of members found at 1 % false accusations",
    "tpr_at_0_1pct_fpr": "share of members found at 0.1 % false accusations",
    "r0": "share of members above every control",
}
"""What the values of an attack mean that are compared between runs or settings."""


@dataclass(frozen=True)
class Compared:
    """One metric of one attack in both runs; `verdict` after Holm over all metrics and attacks, each direction."""

    attack: str
    change: Change
    verdict: Literal["worse", "better", "no difference shown"]


@dataclass(frozen=True)
class Comparison:
    """All metrics of the attacks that finished in both runs, and the names of those that did not."""

    parts: tuple[Compared, ...]
    left_out: tuple[str, ...]


def _only_release(evidence: AuditEvidence, name: str | None, which: str) -> ReleaseFacts:
    names = [release.name for release in evidence.facts.releases]
    if name is None and len(names) == 1:
        return evidence.facts.releases[0]
    if name not in names:
        raise InputError(f"The {which} holds the candidates {', '.join(names)}; name one of them.")
    return evidence.facts.releases[names.index(name)]


def verdicts(
    baseline: AuditEvidence, run: AuditEvidence, baseline_name: str | None, run_name: str | None, rules: Policy
) -> tuple[Verdict, Verdict]:
    """What each candidate gets, judged alone by the same policy."""

    def judged(side: AuditEvidence, name: str | None, which: str) -> Verdict:
        return judge(only(side, _only_release(side, name, which).name), rules).verdict

    return judged(baseline, baseline_name, "baseline"), judged(run, run_name, "run")


def compare(
    baseline: AuditEvidence, run: AuditEvidence, baseline_name: str | None = None, run_name: str | None = None
) -> Comparison:
    """Paired comparison on the same suspects.

    Raises InputError where the runs cannot be compared: other data, seed, suspects, effort or attack versions.
    """
    for evidence, which in ((baseline, "baseline"), (run, "run")):
        if not evidence.facts.attacked:
            raise InputError(f"The {which} was not attacked (too few images, or no controls): nothing to compare.")
    mine, theirs = baseline.facts.manifest, run.facts.manifest
    for what, before, after in (
        (
            "other data (members, controls, fresh, reference, test, or what is public already)",
            mine["hashes"]["data"],
            theirs["hashes"]["data"],
        ),
        ("another --seed", mine["seeds"], theirs["seeds"]),
        ("another --effort", mine["effort"], theirs["effort"]),
        ("another --max-suspects", mine["max_suspects"], theirs["max_suspects"]),
        ("other members among its suspects", baseline.facts.member_ids, run.facts.member_ids),
    ):
        if before != after:
            raise InputError(
                f"The two runs cannot be compared: the second has {what}. Audit both candidates with the same data "
                "and settings."
            )
    before, after = _only_release(baseline, baseline_name, "baseline"), _only_release(run, run_name, "run")
    versions = {attack.name: (attack.version, attack.settings) for attack in before.attacks}
    found: list[tuple[str, Change]] = []
    for attack in after.attacks:
        if attack.name not in versions:
            continue
        if versions[attack.name] != (attack.version, attack.settings):
            raise InputError(
                f"The two runs cannot be compared: {attack.name} has another version or other settings in them. "
                "Audit the baseline again."
            )
        sides = [
            evidence.scores.get((release.name, attack.name)) for evidence, release in ((baseline, before), (run, after))
        ]
        if sides[0] is not None and sides[1] is not None:
            pair = arm_scores(sides[0], "release"), arm_scores(sides[1], "release")
            rng = seeds.generator(baseline.facts.seed, "comparison", attack.name)
            found += [(attack.name, change) for change in changes(*pair, rng)]
    if not found:
        raise InputError("The two runs cannot be compared: no attack finished in both.")
    worse = holm([change.p_worse for _, change in found])
    better = holm([change.p_better for _, change in found])
    compared = {name for name, _ in found}
    return Comparison(
        tuple(
            Compared(name, change, "worse" if p <= ALPHA else "better" if q <= ALPHA else "no difference shown")
            for (name, change), p, q in zip(found, worse, better, strict=True)
        ),
        tuple(sorted({*versions, *(attack.name for attack in after.attacks)} - compared)),
    )
