"""Rules in a judgement: what they name, what a waiver lifts, and what was not assessed."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from audit_examples import DEMO, changed, clean_scores, evidence_of, hurry, usefulness

from privaudit.evidence import AuditEvidence
from privaudit.judgement import judge
from privaudit.policy import Policy, PolicyRule, Waiver, load_policy
from privaudit.record import AuditRecord, Estimate, ReleaseRecord, ScanFinding, Similarity
from privaudit.rule_record import RuleRecord
from privaudit.utility.record import UtilityRecord

REQUIRED = ("nearest-copy", "density-ratio")
TODAY = datetime.date(2026, 6, 1)
SOON = Waiver(by="Ada", until="2026-06-30", why="a closed trial")
CLAIM = {
    "epsilon": 4.0,
    "delta": 1e-6,
    "unit": "image",
    "adjacency": "add/remove",
    "mechanism": {"noise": 1.1, "sampling_rate": 0.01},
    "accountant": "PRV 1.0",
    "trust_model": "the publisher saw the data",
}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def evidence(copies: int = 0, **of_release: Any) -> AuditEvidence:
    """Clean evidence, or with members on top of the ranking of nearest-copy."""
    rng = np.random.default_rng(3)
    scores = {name: clean_scores(300, 200, 100, rng) for name in REQUIRED}
    scores["nearest-copy"]["release members"][:copies] = 20 + np.arange(copies)
    found = evidence_of(scores)
    release = found.facts.releases[0].model_copy(update=of_release)
    return AuditEvidence(found.facts.model_copy(update={"releases": (release,)}), found.scores)


def judged(found: AuditEvidence, policy: Policy) -> tuple[AuditRecord, ReleaseRecord]:
    record = judge(found, policy, TODAY)
    return record, record.releases[0]


def with_rule(policy: Policy, **values: Any) -> Policy:
    one = PolicyRule.model_validate({"id": "mine", "severity": "fail", "reason": "a test"} | values)
    return policy.model_copy(update={"rules": (*policy.rules, one)})


def of(release: ReleaseRecord, name: str) -> RuleRecord:
    return next(rule for rule in release.rules if rule.id == name)


def test_every_rule_has_its_place_in_the_record() -> None:
    record, release = judged(evidence(), DEMO)
    assert record.verdict == "pass"
    assert [rule.id for rule in release.rules] == [rule.id for rule in DEMO.rules]
    assert {rule.verdict for rule in release.rules} == {"kept"}
    exposed = of(release, "exposed-share")
    assert exposed.value is not None
    assert exposed.value.n == 300
    highest = max(arm.tpr_at_1pct_fpr.high for attack in release.attacks if (arm := attack.arms["release"]) is not None)
    assert exposed.value.high == highest <= exposed.limit == 0.1
    assert of(release, "mirrored-copies").limit == 10


def test_reasons_name_the_rule() -> None:
    scan = (ScanFinding(kind="metadata", sentence="3 files carry EXIF.", count=3, examples=("r-000001",)),)
    release = judged(evidence(100, scan=scan), DEMO)[1]
    assert release.reasons[0] == (
        "fail: rule file-traces: the released files carry traces: 3 files carry EXIF; the limit is none"
    )
    nearest = next(reason for reason in release.reasons if reason.startswith("fail: nearest-copy"))
    assert "rule suspected-list: it names members" in nearest
    assert "rule exposed-share: it exposes at least" in nearest or "rule exposed-share: up to" in nearest
    assert sum("exposed-share" in reason for reason in release.reasons) == 1
    assert of(release, "suspected-list").leads_to == "fail"


def test_a_waived_rule_is_a_note_and_lifts_nothing_else() -> None:
    tight = changed(DEMO, "exposed-share", at_most=0.02)
    assert judged(evidence(), tight)[0].verdict == "inconclusive"
    waived = changed(tight, "exposed-share", waiver=SOON)
    record, release = judged(evidence(), waived)
    assert record.verdict == "pass"
    assert "Broken, but waived: exposed-share." in record.sentence
    assert of(release, "exposed-share").verdict == "waived"
    assert "waived by Ada until 2026-06-30: a closed trial" in of(release, "exposed-share").sentence
    assert record.policy_notes == ()
    leak = judged(evidence(12), waived)
    assert leak[0].verdict == "fail"
    assert any("better than chance" in reason for reason in leak[1].reasons)


def test_an_expired_waiver_lifts_nothing_and_is_said() -> None:
    expired = SOON.model_copy(update={"until": "2026-05-31"})
    policy = changed(changed(DEMO, "exposed-share", at_most=0.02), "exposed-share", waiver=expired)
    record, release = judged(evidence(), policy)
    assert record.verdict == "inconclusive"
    assert record.policy_notes == ("rule exposed-share: its waiver by Ada expired on 2026-05-31, so it lifts nothing",)
    assert "expired on 2026-05-31" in of(release, "exposed-share").sentence


def test_a_waiver_lifts_no_lack_of_evidence() -> None:
    waived = changed(DEMO, "exposed-share", waiver=SOON)
    none = evidence_of({}, attacked=False, exchangeability="no controls", n_controls=0, n_fresh=0)
    assert judged(none, waived)[0].verdict == "inconclusive"
    crops = changed(DEMO, "cropped-copies", waiver=SOON)
    blind = evidence()
    for scores in blind.scores.values():
        np.subtract(scores["plant cropped"], 20, out=scores["plant cropped"])
    assert judged(blind, DEMO)[0].verdict == "inconclusive"
    record, release = judged(blind, crops)
    assert (record.verdict, of(release, "cropped-copies").verdict) == ("pass", "waived")


def test_a_review_that_is_due_is_said_and_changes_no_verdict() -> None:
    policy = DEMO.model_copy(update={"review_by": "2026-05-31"})
    record, _ = judged(evidence(), policy)
    assert record.verdict == "pass"
    assert record.policy_notes == ("the policy 'demo' was to be reviewed by 2026-05-31: have it reviewed",)


def test_too_few_is_said_before_what_they_cannot_show() -> None:
    record = judged(evidence(), changed(DEMO, "exposed-share", at_most=0.02, minimum_n=1000))[0]
    assert record.sentence.startswith("Not shown to be publishable: rules exposed-share, suspected-list, ")
    assert "too few: a limit of 2 % needs 1,000 members" in record.sentence


def test_rules_that_share_a_cause_are_told_together() -> None:
    few = evidence_of({}, n_members=200, attacked=False)
    release = judged(few, DEMO)[1]
    (reason,) = release.reasons
    names = "exposed-share, suspected-list, mirrored-copies, jpeg-copies, cropped-copies"
    assert reason.startswith(f"inconclusive: rules {names}: too few: a limit of 10 % needs 270 members")
    assert [rule.id for rule in release.rules if rule.verdict == "kept"] == [
        "identical-copies",
        "file-traces",
        "left-out",
    ]


@pytest.mark.parametrize(
    ("claim", "expected", "said"),
    [
        (None, "fail", "rule epsilon: the release comes with no claim of differential privacy; the limit is 8"),
        (CLAIM, "pass", ""),
        (CLAIM | {"epsilon": 9.0}, "fail", "rule epsilon: the claimed epsilon is 9; the limit is 8"),
        (CLAIM | {"delta": 0.001}, "fail", "rule delta: the claimed delta is 0.001; the limit is 1e-05"),
        (CLAIM | {"accountant": ""}, "inconclusive", "is not complete: it does not state accountant"),
    ],
)
def test_a_claim_is_complete_or_does_not_count(claim: dict[str, Any] | None, expected: str, said: str) -> None:
    policy = changed(load_policy("dp-claim"), "exposed-share", at_most=0.1, minimum_n=270)
    record, release = judged(evidence(claim=claim), policy)
    assert record.verdict == expected
    assert any(said in reason for reason in release.reasons) or not said


@pytest.mark.parametrize(
    ("utility", "expected"),
    [
        (None, "inconclusive"),
        (usefulness(0.8, 0.9), "pass"),
        (usefulness(0.7, 0.9), "inconclusive"),
        (usefulness(0.6, 0.7), "fail"),
        (usefulness(0.8, 0.9, 99), "inconclusive"),
    ],
)
@pytest.mark.parametrize("name", ["ratio", "synthetic"])
def test_usefulness(name: str, utility: UtilityRecord | None, expected: str) -> None:
    policy = with_rule(DEMO, metric=f"utility.{name}", side="lower", at_least=0.8, minimum_n=100)
    assert judged(evidence(utility=utility), policy)[0].verdict == expected


@pytest.mark.parametrize(("high", "expected"), [(0.6, "pass"), (0.4, "inconclusive"), (None, "inconclusive")])
def test_likeness_raises_a_doubt_at_most(high: float | None, expected: str) -> None:
    laws = {}
    if high is not None:
        place = Estimate(
            estimate=high - 0.1,
            low=high - 0.2,
            high=high,
            n_members=300,
            n_controls=200,
            unit="image",
            method="test",
            direction="descriptive",
        )
        laws["ssim"] = Similarity(name="ssim", release={}, controls={}, place=place)
    policy = with_rule(
        DEMO, metric="similarity.ssim.place", side="upper", at_least=0.5, minimum_n=200, severity="inconclusive"
    )
    assert judged(evidence(similarity=laws), policy)[0].verdict == expected


def test_persons_and_the_size_of_the_release() -> None:
    record, release = judged(evidence(), with_rule(DEMO, metric="exposed_share.persons", side="upper", at_most=300))
    assert record.verdict == "pass"
    value = of(release, "mine").value
    assert value is not None
    assert (value.low, value.estimate) == (0, None)
    none = with_rule(DEMO, metric="exposed_share.persons", side="upper", at_most=0)
    assert judged(evidence(), none)[0].verdict == "inconclusive"
    assert judged(evidence(), with_rule(DEMO, metric="images", at_most=300))[0].verdict == "pass"
    assert judged(evidence(), with_rule(DEMO, metric="images", at_most=299))[0].verdict == "fail"
