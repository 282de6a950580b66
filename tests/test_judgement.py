"""From evidence to verdict: precedence, the required set, and what can never pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
from audit_examples import DEMO, FLOATS, changed, clean_scores, evidence_of, only_plants

from privaudit.evidence import AuditEvidence
from privaudit.judgement import judge
from privaudit.policy import Policy, load_policy
from privaudit.reasons import worst
from privaudit.record import BlindBaseline, Estimate, IdenticalPair, ScanFinding, Verdict

REQUIRED = ("nearest-copy", "density-ratio")


def clean(seed: int, names: tuple[str, ...] = REQUIRED) -> dict[str, dict[str, FLOATS] | None]:
    rng = np.random.default_rng(seed)
    return {name: clean_scores(300, 200, 100, rng) for name in names}


def verdict(evidence: AuditEvidence, policy: Policy = DEMO) -> Verdict:
    record = judge(evidence, policy)
    assert record.verdict == record.releases[0].verdict
    assert bool(record.releases[0].reasons) == (record.verdict != "pass")
    return record.verdict


def test_precedence() -> None:
    assert worst(["pass", "inconclusive", "incomplete", "fail"]) == "fail"
    assert worst(["pass", "inconclusive", "incomplete"]) == "incomplete"
    assert worst(["pass", "inconclusive"]) == "inconclusive"
    assert worst([]) == "pass"


def test_clean_evidence_passes_and_says_on_what_it_rests() -> None:
    record = judge(evidence_of(clean(1)), DEMO)
    assert record.verdict == "pass"
    assert all(name in record.sentence for name in REQUIRED)
    assert "mirrored from" in record.sentence
    assert "split at random" in record.sentence
    assumed = judge(evidence_of(clean(1), exchangeability="assumed"), DEMO)
    assert "assumed exchangeable" in assumed.sentence


def test_silence_that_supports_nothing_is_named_as_such() -> None:
    found = evidence_of(clean(1, (*REQUIRED, "gradient-matching", "another")))
    (release,) = found.facts.releases
    attacks = tuple(
        attack.model_copy(update={"family": "mediated"}) if attack.name == "gradient-matching" else attack
        for attack in release.attacks
    )
    releases = (release.model_copy(update={"attacks": attacks}),)
    facts = found.facts.model_copy(update={"releases": releases})
    record = judge(AuditEvidence(facts, found.scores), DEMO)
    assert record.verdict == "pass"
    assert "Also silent: another. Silent, but not decisive here: gradient-matching." in record.sentence


def test_judging_twice_gives_the_same_bytes() -> None:
    texts = [judge(evidence_of(clean(2)), DEMO).model_dump_json() for _ in range(2)]
    assert texts[0] == texts[1]
    assert "NaN" not in texts[0]
    json.loads(texts[0])


def exposed(seed: int, count: int, names: tuple[str, ...] = ("nearest-copy",)) -> AuditEvidence:
    scores = clean(seed)
    rows = np.random.default_rng(seed).choice(300, count, replace=False)
    for name in names:
        found = scores[name]
        assert found is not None
        found["release members"][rows] = 20 + np.arange(count)
    return evidence_of(scores, seed=seed)


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 106), marks=pytest.mark.slow)])
def test_five_exposed_members_at_equal_pools_never_pass(seeds: range) -> None:
    for seed in seeds:
        assert verdict(exposed(seed, 5)) != "pass"


@pytest.mark.parametrize("seed", range(3))
def test_many_exposed_members_fail(seed: int) -> None:
    record = judge(exposed(seed, 12), DEMO)
    assert record.verdict == "fail"
    assert record.sentence.startswith("Do not publish")
    assert len(record.releases[0].attacks[0].closest) >= 12


@pytest.mark.slow
def test_clean_evidence_mostly_passes_and_hardly_ever_fails() -> None:
    verdicts = [verdict(evidence_of(clean(seed), seed=seed)) for seed in range(100, 200)]
    assert verdicts.count("fail") <= 4
    assert verdicts.count("pass") >= 80


def test_identical_copy_fails_whatever_else_is_true() -> None:
    pair = (IdenticalPair(id="m-000003", release_id="r-000001"),)
    assert verdict(evidence_of(clean(3), identical=pair)) == "fail"
    assert verdict(evidence_of({}, attacked=False, exchangeability="no controls", identical=pair)) == "fail"
    assert verdict(evidence_of(dict.fromkeys(REQUIRED), identical=pair)) == "fail"
    assert verdict(evidence_of({}, n_members=20, attacked=False, identical=pair)) == "fail"


def test_crashed_attack_is_incomplete_but_a_leak_found_by_the_other_is_a_fail() -> None:
    scores = clean(4)
    scores["density-ratio"] = None
    assert verdict(evidence_of(scores)) == "incomplete"
    found = scores["nearest-copy"]
    assert found is not None
    found["release members"][:15] = 30.0
    record = judge(evidence_of(scores), DEMO)
    assert record.verdict == "fail"
    assert any(reason.startswith("incomplete: density-ratio") for reason in record.releases[0].reasons)


def test_a_crashed_attack_that_is_not_required_is_incomplete_too() -> None:
    assert verdict(evidence_of({**clean(5), "other": None})) == "incomplete"


def test_missing_required_attack_never_passes() -> None:
    record = judge(evidence_of(clean(6, ("nearest-copy",))), DEMO)
    assert record.verdict == "inconclusive"
    assert "density-ratio did not run" in record.sentence


@pytest.mark.parametrize("change", ["raw", "plants", "fresh"])
def test_required_attack_without_power_or_validity_never_passes(change: str) -> None:
    scores = clean(7)
    found = scores["density-ratio"]
    assert found is not None
    if change == "raw":
        found["raw members"] -= 20
    elif change == "fresh":
        found["fresh members"] += 1
    else:
        for name in list(found):
            if name.startswith("plant") and not name.endswith("controls"):
                found[name] -= 20
    assert verdict(evidence_of(scores)) == "inconclusive"


def test_power_is_shown_jointly_but_by_required_attacks_only() -> None:
    scores = clean(8, (*REQUIRED, "third"))
    for name in REQUIRED:
        found = scores[name]
        assert found is not None
        found["plant cropped"] -= 20
    record = judge(evidence_of(scores), DEMO)
    assert record.verdict == "inconclusive"
    assert "'cropped'" in record.sentence
    found = scores["density-ratio"]
    assert found is not None
    found["plant cropped"] += 20
    assert verdict(evidence_of(scores)) == "pass"


def test_required_plants_that_were_never_planted_are_not_found() -> None:
    scores = clean(9)
    for found in scores.values():
        assert found is not None
        del found["plant jpeg"], found["plant jpeg controls"]
    assert verdict(evidence_of(scores)) == "inconclusive"
    lenient = only_plants(DEMO, "mirrored")
    assert verdict(evidence_of(scores), lenient) == "pass"


def test_no_controls_and_too_few_never_pass() -> None:
    none = judge(evidence_of({}, attacked=False, exchangeability="no controls", n_controls=0, n_fresh=0), DEMO)
    assert none.verdict == "inconclusive"
    assert "no controls" in none.sentence
    few = judge(evidence_of({}, n_members=200, attacked=False), DEMO)
    assert few.verdict == "inconclusive"
    assert "too few" in few.sentence
    assert "200 and 300 images" in few.sentence


def test_evidence_that_was_never_attacked_is_incomplete_under_a_policy_that_wants_less() -> None:
    small = changed(DEMO, "exposed-share", minimum_n=10)
    assert verdict(evidence_of({}, n_members=200, attacked=False), small) == "incomplete"


def test_what_nobody_looked_at_cannot_pass() -> None:
    assert verdict(evidence_of(clean(10))) == "pass"
    soft = judge(evidence_of(clean(10), unseen=("soft labels",)), DEMO)
    assert soft.verdict == "inconclusive"
    assert "soft labels: released, but no attack looks at it" in soft.sentence
    members = evidence_of(clean(10)).facts.data.members
    for share, expected in ((0.09, "pass"), (0.11, "inconclusive")):
        left_out = tuple(f"m-{row:06d}" for row in range(int(share * members)))
        assert verdict(evidence_of(clean(10), not_assessed_members=left_out)) == expected


def test_a_leak_found_by_an_attack_fails_even_where_the_data_are_too_few_for_a_pass() -> None:
    leaky = clean(10)
    scores = {name: dict(found) if found is not None else None for name, found in leaky.items()}
    for found in scores.values():
        if found is not None:
            found["release members"] = found["release members"] + 100.0
    strict = changed(DEMO, "exposed-share", minimum_n=100_000)
    assert verdict(evidence_of(scores), strict) == "fail"
    assert verdict(evidence_of(leaky), strict) == "inconclusive"


def test_stricter_policy_on_finished_evidence_never_passes() -> None:
    evidence = evidence_of(clean(10))
    assert verdict(evidence) == "pass"
    stricter = [
        changed(DEMO, "exposed-share", minimum_n=1000),
        changed(DEMO, "exposed-share", at_most=0.02),
        DEMO.model_copy(update={"required_attacks": (*REQUIRED, "another")}),
        only_plants(DEMO, "mirrored", "blend"),
    ]
    for policy in stricter:
        assert verdict(evidence, policy) == "inconclusive", policy


def test_policy_that_wants_no_closest_member() -> None:
    scores = clean(11)
    for found in scores.values():
        assert found is not None
        found["release members"] = np.minimum(found["release members"], found["release controls"].max())
    first = scores["nearest-copy"]
    assert first is not None
    first["release members"][7] = 30.0
    evidence = evidence_of(scores)
    assert verdict(evidence) == "pass"
    none = load_policy("strict").rules_on("closest_members")
    assert verdict(evidence, DEMO.model_copy(update={"rules": (*DEMO.rules, *none)})) == "inconclusive"


@pytest.mark.parametrize(("meaning", "expected"), [("fail", "fail"), ("inconclusive", "inconclusive"), (None, "pass")])
def test_traces_in_files_mean_what_the_policy_says(meaning: str | None, expected: str) -> None:
    scan = (ScanFinding(kind="metadata", sentence="3 files carry EXIF.", count=3, examples=("r-000001",)),)
    policy = changed(DEMO, "file-traces", severity=meaning)
    if meaning is None:
        policy = DEMO.model_copy(update={"rules": tuple(rule for rule in DEMO.rules if rule.id != "file-traces")})
    assert verdict(evidence_of(clean(12), scan=scan), policy) == expected


def baseline(passed: bool) -> BlindBaseline:
    auc = Estimate(
        estimate=0.7,
        low=0.6,
        high=0.8,
        n_members=300,
        n_controls=300,
        unit="image",
        method="test",
        direction="descriptive",
    )
    return BlindBaseline(auc=auc, p=0.002, passed=passed)


def test_members_unlike_controls_are_inconclusive_however_strong_the_leak() -> None:
    for count in (0, 100):
        evidence = exposed(13, count)
        facts = evidence.facts.model_copy(update={"blind_baseline": baseline(False)})
        record = judge(AuditEvidence(facts, evidence.scores), DEMO)
        assert record.verdict == "inconclusive"
        assert "differ even where nothing leaks" in record.sentence
        assert not record.validity.passed


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_two_sided_fresh_gate(shift: float) -> None:
    evidence = exposed(14, 100)
    scores = {place: dict(found) for place, found in evidence.scores.items()}
    place = ("candidate", "nearest-copy")
    scores[place]["fresh members"] = scores[place]["fresh members"] + shift
    assert verdict(AuditEvidence(evidence.facts, scores)) == "inconclusive"


def test_of_several_candidates_the_worst_counts() -> None:
    good = evidence_of(clean(15))
    bad = good.facts.releases[0].model_copy(
        update={"name": "bad", "identical": (IdenticalPair(id="m-000001", release_id="r-000001"),)}
    )
    facts = good.facts.model_copy(update={"releases": (good.facts.releases[0], bad)})
    scores = dict(good.scores) | {("bad", name): found for (_, name), found in good.scores.items()}
    record = judge(AuditEvidence(facts, scores), DEMO)
    assert [release.verdict for release in record.releases] == ["pass", "fail"]
    assert record.verdict == "fail"
    assert record.sentence.startswith("Of 2 candidates the worst")
