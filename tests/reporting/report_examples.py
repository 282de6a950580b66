"""Records of audits that never ran: one for every verdict, and one with hostile names."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from privaudit.evidence import PAIRS, Gallery
from privaudit.record import (
    ArmRecord,
    AttackRecord,
    AuditRecord,
    BlindBaseline,
    Count,
    DataRecord,
    Estimate,
    ExposedShare,
    FreshCheck,
    IdenticalPair,
    Power,
    Recovery,
    ReleaseRecord,
    ScanFinding,
    Similarity,
    Stratum,
    Suspected,
    Validity,
    Verdict,
    WorstMember,
)
from privaudit.reporting import ArmScores
from privaudit.rule_record import RuleRecord, RuleValue
from privaudit.utility.record import Beside, Frechet, Measured, UtilityRecord

Arm = Literal["release", "raw", "fresh"]
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e|`x`](https://evil.example) @all \ud800"
KINDS = ("mirror", "jpeg", "crop", "blur", "noise", "blend")


def estimate(
    value: float, low: float, high: float, direction: Any = "lower is safer", members: int = 3000, controls: int = 7000
) -> Estimate:
    return Estimate(
        estimate=value,
        low=low,
        high=high,
        n_members=members,
        n_controls=controls,
        unit="image",
        method="rule 7",
        direction=direction,
    )


def arm(
    verdict: Any, p: float, tpr: tuple[float, float, float], r0: int, top: int, auc: float, hits: Estimate | None = None
) -> ArmRecord:
    return ArmRecord(
        verdict=verdict,
        p=min(1.0, p),
        p_holm=min(1.0, 2 * p),
        r0=Count(members=r0, among=3000, p=0.3**r0),
        top20=Count(members=top, among=20, p=min(1.0, p / 3)),
        auc=estimate(auc, auc - 0.012, auc + 0.012),
        auc_p=min(1.0, p / 3),
        tpr_at_1pct_fpr=estimate(*tpr),
        hits_at_reach=hits,
    )


def recovery(found: float, name: str) -> Recovery:
    def measured(value: float) -> Measured:
        return Measured(estimate=value, low=0.9 * value, high=min(1.0, 1.1 * value), n=64, method="by hand")

    law = {"n": 64.0, "median": 0.41, "p95": 0.58, "max": 0.71}
    return Recovery(
        images=64,
        victims=16,
        own=measured(found),
        own_chance=0.02,
        decoys=49.5,
        own_psnr=Measured(estimate=21.5, low=20.1, high=22.9, n=64, method="by hand"),
        nearest_is_member=measured(0.5),
        nearest_is_member_chance=0.43,
        similarity={"ssim": similarity(law, law), "psnr": similarity(law, law), "lpips": None},
        counts={name: measured(0.8)},
        diagnostics={"final cost": 0.0123},
    )


def galleries_of(record: AuditRecord) -> dict[tuple[str, str], dict[str, Gallery]]:
    """Twelve rows of grey pictures for each arm in which something was recovered; pairs for the other attacks."""
    rng = np.random.default_rng(0)
    names = ("shown recovered", "shown source", "shown member", "shown control")
    found: dict[tuple[str, str], dict[str, Gallery]] = {}
    for release in record.releases:
        for attack in release.attacks:
            found[release.name, attack.name] = {
                str(arm): {name: rng.integers(0, 256, (12, 8, 8, 1), dtype=np.uint8) for name in names}
                for arm, one in attack.arms.items()
                if one is not None and one.recovery is not None
            }
            if attack.family == "holds_release":
                found[release.name, attack.name][PAIRS] = some_pairs(rng)
    return found


def some_pairs(rng: np.random.Generator, count: int = 5) -> Gallery:
    """Pairs of grey pictures, the last two drawn at random; the attack tells the released row of all but the first."""
    pictures = {
        name: rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8) for name in ("released", "member", "control")
    }
    rows = np.arange(count)
    return {
        **pictures,
        "member row": rows + 40,
        "released row": rows + 70,
        "rank": rows + 1,
        "score": 9.5 - rows,
        "control score": np.where(rows == 1, -np.inf, 0.25),
        "drawn": rows >= count - 2,
        "told": rows > 0,
    }


def power(kind: str) -> tuple[Power, ...]:
    skill = {"mirror": 9, "jpeg": 8, "crop": 12, "blur": 25, "noise": 60, "blend": 900}[kind]
    rows = []
    for dose in (5, 10, 30, 150, 600):
        found = 1 / (1 + math.exp(-2.2 * (math.log(dose) - math.log(skill)) - 1))
        bounds = estimate(found, max(0, found - 0.015), min(1, found + 0.015), "higher is better")
        rows.append(Power(dose=dose, share=dose / 3000, power=bounds))
    return tuple(rows)


def stratum(name: str, members: int = 300, p: float = 0.6) -> Stratum:
    few = members < 20
    return Stratum(
        kind="class",
        name=name,
        members=members,
        controls=700,
        auc=None if few else estimate(0.51, 0.47, 0.55, members=members, controls=700),
        above_threshold=None if few else estimate(0.013, 0.004, 0.034, "descriptive", members, 700),
        p_holm=None if few else p,
        stands_out=not few and p <= 0.05,
    )


def attack(name: str, verdict: Verdict, release: ArmRecord, **changes: Any) -> AttackRecord:
    powers = {kind: power(kind) for kind in KINDS}
    limits = {kind: next((one for one in rows if one.power.low >= 0.95), None) for kind, rows in powers.items()}
    values: dict[str, Any] = {
        "name": name,
        "version": 1,
        "settings": {"blocks": [4, 8, 16], "shifts": 2, "mirror": True},
        "verdict": verdict,
        "reasons": (),
        "family": "holds_release",
        "supports_pass": True,
        "no_support": (),
        "threat_model": "The published images and their labels, and one photograph of each person he suspects.",
        "seconds": 41.75,
        "arms": {
            "release": release,
            "raw": arm("fail", 1e-12, (1.0, 0.998, 1.0), 2991, 20, 0.999),
            "fresh": arm("pass", 0.61, (0.0103, 0.006, 0.0147), 0, 7, 0.501),
        },
        "exposed_share": ExposedShare(low=0.0, high=0.0062, persons=(0, 19)),
        "leakage": estimate(0.003, 0.0, 0.009, "descriptive"),
        "detection_limit": limits,
        "power": powers,
        "identical": (),
        "suspected": (),
        "suspected_q": 0.05,
        "closest": (),
        "worst": WorstMember(id="m-000123", above=0, tied=0, among=7000, chance=2.33, p=0.3),
        "fewest_visible": 3,
        "strata": (stratum("class 0"), stratum("class 1", p=0.004), stratum("class 2", members=7)),
    }
    return AttackRecord(**(values | changes))


def release(name: str, verdict: Verdict, attacks: tuple[AttackRecord, ...], **changes: Any) -> ReleaseRecord:
    values: dict[str, Any] = {
        "name": name,
        "verdict": verdict,
        "sentence": f"{verdict.capitalize()}: this rests on nearest-copy and density-ratio.",
        "reasons": ("Every required attack was silent and has shown its power.",),
        "next_steps": ("Let a second person look at the policy before publication.",),
        "claim": None,
        "images": 3000,
        "size": (32, 32, 3),
        "class_counts": {f"class {number}": 300 for number in range(10)},
        "identical": (),
        "common": 2,
        "scan": (),
        "not_assessed": ("Linkage: no groups were given.", "Utility: skipped.", "Similarity: not built yet."),
        "attacks": attacks,
        "similarity": {"ssim": None, "psnr": None, "lpips": None},
        "utility": None,
    }
    return ReleaseRecord(**(values | changes))


def rule(verdict: Any, leads_to: Any, name: str = "exposed-share", words: str = "nearest-copy finds 3 %") -> RuleRecord:
    value = RuleValue(estimate=0.03, low=0.01, high=0.06, n=3000, of="nearest-copy")
    return RuleRecord(
        id=name,
        metric="tpr_at_1pct_fpr",
        verdict=verdict,
        leads_to=leads_to,
        value=None if verdict == "not assessed" else value,
        side="upper",
        bound="at_most",
        limit=0.05,
        minimum_n=1000,
        severity="fail",
        sentence=words,
        reason=words,
    )


def audit(verdict: Verdict, releases: tuple[ReleaseRecord, ...], **changes: Any) -> AuditRecord:
    checks = tuple(
        FreshCheck(attack=name, auc_p=0.72, top20_p=0.41, p_holm=0.82, passed=True)
        for name in ("nearest-copy", "density-ratio")
    )
    values: dict[str, Any] = {
        "schema": 1,
        "verdict": verdict,
        "sentence": releases[0].sentence,
        "releases": releases,
        "validity": Validity(
            blind_baseline=BlindBaseline(auc=estimate(0.503, 0.49, 0.516, "descriptive"), p=0.64, passed=True),
            fresh=checks,
            exchangeability="random split",
            passed=True,
        ),
        "data": DataRecord(
            members=3000,
            controls=4200,
            fresh=1400,
            reference=1400,
            unit="image",
            scored_members=2998,
            scored_controls=4197,
            scored_fresh=1400,
            not_assessed_members=("m-000017", "m-002044"),
            left_out_controls=3,
            near_duplicate_threshold=0.97,
            notes=("12 images had an alpha channel; it was laid on white.",),
        ),
        "policy": {
            "name": "default",
            "required_attacks": ["nearest-copy", "density-ratio"],
            "rules": [
                {"id": "exposed-share", "metric": "tpr_at_1pct_fpr", "side": "upper", "at_most": 0.05, "reason": "Law."}
            ],
        },
        "manifest": {
            "versions": {"privaudit": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
            "hashes": {"members": "b1946ac92492d2347c6235b4d2611184", "policy": "591785b794601e212b260e25925636fd"},
            "seeds": {"run": 20, "split": 20},
            "family": ["nearest-copy", "density-ratio"],
            "created": "2025-11-21",
        },
    }
    return AuditRecord(**(values | changes))


def similarity(of_release: dict[str, float], of_controls: dict[str, float], name: str = "ssim") -> Similarity:
    place = estimate(0.48, 0.44, 0.52, "descriptive")
    return Similarity(name=name, release=of_release, controls=of_controls, place=place)


def utility(words: str = "convnet, 30 epochs") -> UtilityRecord:
    def measured(middle: float) -> Measured:
        return Measured(estimate=middle, low=middle - 0.02, high=middle + 0.02, n=2000, method=words)

    return UtilityRecord(
        synthetic=measured(0.71),
        real=measured(0.8),
        ratio=measured(0.89),
        chance=0.1,
        recipe=words,
        seeds=3,
        n_release=3000,
        n_real=3000,
        labels="hard",
        frechet=Frechet(release=8.5, members=0.7, feature_space=words, features=256, n=2000),
        precision=Beside(release=0.6, members=0.9),
        recall=Beside(release=0.5, members=0.9),
        notes=(words,),
    )


def quiet(p: float = 0.44) -> ArmRecord:
    return arm("pass", p, (0.0113, 0.0071, 0.0162), 1, 8, 0.504)


def passing() -> AuditRecord:
    attacks = (
        attack("nearest-copy", "pass", quiet()),
        attack("density-ratio", "pass", quiet(0.21), detection_limit={}, power={}),
    )
    law = {"median": 0.41, "p95": 0.58, "max": 0.71}
    laws = {"ssim": similarity(law, law), "psnr": None, "lpips": None}
    return audit("pass", (release("cifar-synthetic-a", "pass", attacks, similarity=laws, utility=utility()),))


def failing() -> AuditRecord:
    loud = arm("fail", 4e-9, (0.061, 0.05, 0.073), 148, 20, 0.54)
    pairs = tuple(IdenticalPair(id=f"m-{row:06d}", release_id=f"r-{row + 7:06d}") for row in range(30))
    listed = tuple(Suspected(id=f"m-{row:06d}", fdr=0.04) for row in range(160))
    hit = attack(
        "nearest-copy",
        "fail",
        loud,
        reasons=("Corrected p < 0.0001 is at or under 0.01.", "160 members are suspected at a rate of 10 %."),
        exposed_share=ExposedShare(low=0.04, high=0.064, persons=(121, 192)),
        leakage=estimate(0.052, 0.04, 0.066, "descriptive"),
        identical=pairs,
        suspected=listed,
        suspected_q=0.1,
        closest=tuple(f"m-{row:06d}" for row in range(148)),
    )
    reach = estimate(0.52, 0.43, 0.61)
    mediated = attack(
        "gradient-matching",
        "pass",
        arm("pass", 0.4, (0.01, 0.0, 0.02), 0, 6, 0.5, reach),
        family="mediated",
        supports_pass=False,
        no_support=("It recovers 64 images only.",),
        threat_model="The gradients of a model that trains on the release.",
        leakage=None,
        arms={
            name: arm("pass", 0.4, (0.01, 0.0, 0.02), 0, 6, 0.5, reach).model_copy(
                update={"recovery": recovery(share, "host right on held-out images")}
            )
            for name, share in (("release", 0.4), ("raw", 0.97), ("fresh", 0.95))
        },
    )
    bad = release(
        "cifar-planted",
        "fail",
        (hit, mediated),
        sentence="Fail: 30 private images are released unchanged, and nearest-copy finds 160 members.",
        reasons=("30 members are released pixel by pixel.", "nearest-copy: corrected p < 0.0001."),
        next_steps=("Remove the listed images and find out how they came in.", "Audit again."),
        identical=pairs,
        rules=(
            rule("broken", "fail"),
            rule("waived", "pass", "left-out", "a note; waived by Ada until 2027-01-31: a trial"),
            rule("not assessed", "inconclusive", "usefulness", "the usefulness was not measured"),
            rule("kept", "pass", "file-traces"),
        ),
        scan=(
            ScanFinding(kind="metadata", sentence="Files carry EXIF data.", count=4, examples=("r-000001", "r-000002")),
        ),
        claim={"epsilon": 8.0, "delta": 1e-5, "unit": "image", "mechanism": {"sigma": 1.9}},
    )
    return audit("fail", (bad, passing().releases[0]))


def inconclusive() -> AuditRecord:
    """No controls: most numbers are None."""
    blank = attack(
        "nearest-copy",
        "inconclusive",
        quiet(),
        arms={"release": None, "raw": None, "fresh": None},
        exposed_share=None,
        leakage=None,
        detection_limit={"mirror": None},
        power={},
        supports_pass=False,
        no_support=("There are no controls.",),
        reasons=("There are no controls, so nothing can be compared with chance.",),
    )
    lonely = release("given-elsewhere", "inconclusive", (blank,), reasons=("No controls were given.",))
    data = audit("pass", (lonely,)).data.model_copy(
        update={"controls": 0, "scored_controls": 0, "fresh": 0, "near_duplicate_threshold": None}
    )
    validity = Validity(blind_baseline=None, fresh=(), exchangeability="no controls", passed=False)
    return audit("inconclusive", (lonely,), validity=validity, data=data)


def incomplete() -> AuditRecord:
    crashed = attack(
        "density-ratio",
        "incomplete",
        quiet(),
        arms={"release": None, "raw": quiet(), "fresh": None},
        exposed_share=None,
        leakage=None,
        reasons=("The attack crashed: out of memory.",),
        supports_pass=False,
    )
    return audit("incomplete", (release("half-done", "incomplete", (crashed,)),))


def hostile() -> AuditRecord:
    power_of = {HOSTILE: power("mirror")}
    bad = attack(
        HOSTILE,
        "fail",
        quiet(),
        threat_model=HOSTILE,
        reasons=(HOSTILE,),
        power=power_of,
        detection_limit={HOSTILE: None},
        strata=(stratum(HOSTILE, p=0.001),),
        worst=WorstMember(id=HOSTILE, above=3, tied=1, among=9, chance=2.0, p=0.4),
    )
    told = quiet().model_copy(update={"recovery": recovery(0.5, HOSTILE)})
    mediated = attack(
        f"{HOSTILE} 2", "pass", told, family="mediated", supports_pass=False, power={}, detection_limit={}
    )
    listed = release(
        HOSTILE,
        "fail",
        (bad, mediated),
        sentence=HOSTILE,
        reasons=(HOSTILE,),
        not_assessed=(HOSTILE,),
        class_counts={HOSTILE: 3000},
        rules=(rule("broken", "fail", HOSTILE, HOSTILE),),
        claim={HOSTILE: HOSTILE},
        similarity={"ssim": similarity({"median": 0.4}, {"median": 0.5}, HOSTILE), "psnr": None, "lpips": None},
        utility=utility(HOSTILE),
    )
    return audit(
        "fail",
        (listed,),
        manifest={HOSTILE: {HOSTILE: HOSTILE}},
        policy={HOSTILE: 1, "rules": [{"id": HOSTILE, "metric": HOSTILE, "at_most": 1, "reason": HOSTILE}]},
    )


RECORDS = {
    "pass": passing,
    "fail": failing,
    "inconclusive": inconclusive,
    "incomplete": incomplete,
    "hostile": hostile,
}


def scores_of(record: AuditRecord) -> dict[tuple[str, str], ArmScores]:
    """Scores for every attack that has arms; some are NaN."""
    result = {}
    for one in record.releases:
        for place, found in enumerate(one.attacks):
            generator = np.random.default_rng(place)
            controls: dict[str, Any] = {
                name: generator.normal(size=7000) for name, value in found.arms.items() if value
            }
            members: dict[str, Any] = {name: generator.normal(size=3000) for name in controls}
            if "raw" in members:
                members["raw"] = generator.normal(6, 0.5, size=3000)
            if found.verdict == "fail" and "release" in members:
                members["release"][:160] += 5
            if "release" in members:
                members["release"][-40:] = np.nan
            result[one.name, found.name] = ArmScores(members, controls)
    return result
