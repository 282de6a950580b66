"""Findings: which scores are compared with which, Holm over the declared family, power, what supports a pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from audit_examples import FLOATS, attack_facts, clean_scores

from privaudit import seeds
from privaudit.findings import Case, arm_scores, find, fresh_checks
from privaudit.record import AttackRecord, Recovery
from privaudit.statistics.detection import holm
from privaudit.statistics.power import Innocent, innocent_draws
from privaudit.statistics.rule import Rule
from privaudit.utility.record import Measured

N, C, F = 300, 200, 100
IDS = [f"m-{row:06d}" for row in range(N)]


@pytest.fixture(scope="module")
def innocent() -> Innocent:
    return innocent_draws(N, C + F, seeds.generator(0, "innocent draws"))


def records(
    innocent: Innocent, scores: dict[str, dict[str, FLOATS] | None], valid: bool = True, family: Any = "holds_release"
) -> dict[str, AttackRecord]:
    cases = [
        Case(attack_facts(name, None if found is not None else "it crashed", family), found)
        for name, found in scores.items()
    ]
    rules = {kind: Rule(0.1, len(cases), 0.1) for kind in ("holds_release", "mediated")}
    return {one.name: one for one in find(cases, rules, IDS, (), innocent, "image", valid, 0)}


def scores(seed: int) -> dict[str, FLOATS]:
    return clean_scores(N, C, F, np.random.default_rng(seed))


def test_fresh_images_are_controls_in_the_release_arm_only() -> None:
    found = scores(0)
    members, controls = arm_scores(found, "release")
    assert (len(members), len(controls)) == (N, C + F)
    assert {len(arm_scores(found, arm)[1]) for arm in ("raw", "fresh")} == {C}


def test_clean_attack_supports_a_pass(innocent: Innocent) -> None:
    one = records(innocent, {"a": scores(1)})["a"]
    assert one.verdict == "pass"
    assert one.reasons == ()
    assert one.supports_pass
    assert one.no_support == ()
    assert {kind: limit.dose for kind, limit in one.detection_limit.items() if limit} == dict.fromkeys(
        ("cropped", "jpeg", "mirrored"), 10
    ) or all(limit is not None and limit.dose <= 15 for limit in one.detection_limit.values())
    release = one.arms["release"]
    assert release is not None
    assert (release.auc.n_members, release.auc.n_controls) == (N, C + F)


def test_planted_leak_is_found_named_and_counted(innocent: Innocent) -> None:
    leak = scores(2)
    leak["release members"][[7, 40, 99]] = 30.0
    leak["release members"][100:140] += 25
    one = records(innocent, {"a": leak})["a"]
    assert one.verdict == "fail"
    assert {"m-000007", "m-000040", "m-000099"} <= set(one.closest)
    assert set(one.closest) >= {f"m-{row:06d}" for row in range(100, 140)}
    assert {found.id for found in one.suspected} >= set(one.closest)
    assert one.exposed_share is not None
    assert one.exposed_share.low <= 43 / N <= one.exposed_share.high


def test_members_that_tie_with_a_control_are_not_closest(innocent: Innocent) -> None:
    tied = scores(3)
    tied["release members"][5] = tied["release fresh"][0] = 50.0
    assert records(innocent, {"a": tied})["a"].closest == ()


def test_holm_counts_attacks_that_did_not_finish(innocent: Innocent) -> None:
    leak = scores(4)
    leak["release members"][:12] = 30.0
    alone = records(innocent, {"a": leak})["a"].arms["release"]
    with_crash = records(innocent, {"a": leak, "b": None, "c": None})
    together = with_crash["a"].arms["release"]
    assert alone is not None
    assert together is not None
    assert together.p == alone.p == alone.p_holm
    assert together.p_holm == pytest.approx(min(1.0, 3 * alone.p))
    assert with_crash["b"].verdict == "incomplete"
    assert not with_crash["b"].supports_pass
    assert "it crashed" in with_crash["b"].reasons[0]


def test_holm_over_three_attacks(innocent: Innocent) -> None:
    several = {str(number): scores(10 + number) for number in range(3)}
    several["1"]["release members"][:9] = 30.0
    found = records(innocent, dict(several))
    arms = [found[name].arms["release"] for name in several]
    adjusted = holm([arm.p for arm in arms if arm])
    assert [arm.p_holm for arm in arms if arm] == adjusted


def test_power_is_measured_against_the_controls_of_the_same_run(innocent: Innocent) -> None:
    """Scores of a run with plants may all be higher: that is no power."""
    shifted = scores(5)
    for kind in ("mirrored", "jpeg", "cropped"):
        rng = np.random.default_rng(6)
        shifted[f"plant {kind}"] = rng.standard_normal(60) + 1000
        shifted[f"plant {kind} controls"] = rng.standard_normal(C + F) + 1000
    one = records(innocent, {"a": shifted})["a"]
    assert one.detection_limit == dict.fromkeys(("mirrored", "jpeg", "cropped"))
    assert not one.supports_pass
    assert "no kind of planted member" in one.no_support[0]


def test_raw_must_fail_and_fresh_must_not(innocent: Innocent) -> None:
    blind = scores(7)
    blind["raw members"] = blind["raw members"] - 20
    assert "originals" in records(innocent, {"a": blind})["a"].no_support[0]
    wolf = scores(8)
    wolf["fresh members"] = wolf["fresh members"] + 1
    one = records(innocent, {"a": wolf})["a"]
    assert "strangers" in one.no_support[0]
    assert not one.supports_pass


def test_no_opinion_and_equal_scores_say_nothing(innocent: Innocent) -> None:
    for value in (np.nan, 0.0):
        silent = {name: np.full_like(found, value) for name, found in scores(9).items()}
        one = records(innocent, {"a": silent})["a"]
        assert one.verdict == "inconclusive"  # no threshold fixes the TPR: its upper bound is 1
        assert one.closest == ()
        assert one.suspected == ()
        assert not one.supports_pass


def test_invalid_pools_take_every_statistical_verdict_away(innocent: Innocent) -> None:
    leak = scores(11)
    leak["release members"][:50] = 30.0
    found = records(innocent, {"a": leak, "b": scores(12), "c": None}, valid=False)
    assert (found["a"].verdict, found["b"].verdict, found["c"].verdict) == (
        "inconclusive",
        "inconclusive",
        "incomplete",
    )
    assert not any(one.supports_pass for one in found.values())


def test_mediated_attacks_fail_or_are_silent(innocent: Innocent) -> None:
    doubtful = scores(13)
    doubtful["release members"][:6] = 30.0
    leak = scores(14)
    leak["release members"][:60] = 30.0
    found = records(innocent, {"a": doubtful, "b": leak}, family="mediated")
    assert found["a"].verdict == "pass"
    assert found["b"].verdict == "fail"
    assert not found["a"].supports_pass
    assert found["a"].power == {}


def test_fresh_checks_are_two_sided_and_corrected() -> None:
    def shifted(by: float, seed: int) -> Case:
        found = scores(seed)
        found["fresh members"] = found["fresh members"] + by
        return Case(attack_facts(f"a{seed}"), found)

    checks = fresh_checks([shifted(1, 20), shifted(-1, 21), shifted(0, 22), Case(attack_facts("gone", "x"), None)])
    assert [check.passed for check in checks] == [False, False, True]
    raw = [min(1.0, 2 * min(check.auc_p, check.top20_p)) for check in checks]
    assert [check.p_holm for check in checks] == holm(raw)


def test_findings_do_not_depend_on_the_order_of_the_attacks(innocent: Innocent) -> None:
    forward = records(innocent, {"a": scores(30), "b": scores(31)})
    backward = records(innocent, {"b": scores(31), "a": scores(30)})
    assert forward == {name: backward[name] for name in forward}


def recovery(share: float, chance: float = 0.1) -> Recovery:
    low = max(0.0, share - 0.1)
    measured = Measured(estimate=share, low=low, high=min(1.0, share + 0.1), n=64, method="by hand")
    return Recovery(
        images=64,
        victims=16,
        own=measured,
        own_chance=chance,
        decoys=9,
        own_psnr=measured,
        nearest_is_member=measured,
        nearest_is_member_chance=0.4,
        similarity={},
        counts={},
        diagnostics={},
    )


@pytest.mark.parametrize(
    ("raw_found", "release", "raw", "says"),
    [
        (True, 0.9, 1.0, "would have found verbatim copies of members"),
        (True, 0.4, 1.0, "it did not work on this release: it recovered 40 %"),
        (False, 0.9, 0.9, "no power here: it does not find members even where the originals were used"),
        (False, 0.9, 0.15, "they show what a class looks like"),
        (True, 0.05, 0.06, "could not have shown a leak of any size"),
    ],
)
def test_the_silence_of_a_mediated_attack_is_explained(
    innocent: Innocent, raw_found: bool, release: float, raw: float, says: str
) -> None:
    quiet = scores(40)
    if not raw_found:
        quiet["raw members"] = quiet["raw members"] - 20
    facts = attack_facts("a", family="mediated").model_copy(
        update={"reach": 64, "recoveries": {"release": recovery(release), "raw": recovery(raw)}}
    )
    rules = {kind: Rule(0.1, 1, 0.1) for kind in ("holds_release", "mediated")}
    (found,) = find([Case(facts, quiet)], rules, IDS, (), innocent, "image", True, 0)
    assert found.verdict == "pass"
    assert says in found.reasons[0]


def silence(innocent: Innocent, raw_found: int | None, reach: int | None = 64) -> str:
    """What is said of an attack that returns a ranking. raw_found: members ahead of all others where originals were
    used; None: all of them.
    """
    quiet = scores(40)
    if raw_found is not None:
        quiet["raw members"] = quiet["raw controls"][: len(quiet["raw members"])] + 0.3
        quiet["raw members"][:raw_found] = 50.0
    facts = attack_facts("a", family="mediated").model_copy(update={"reach": reach})
    rules = {kind: Rule(0.1, 1, 0.1) for kind in ("holds_release", "mediated")}
    (found,) = find([Case(facts, quiet)], rules, IDS, (), innocent, "image", True, 0)
    assert found.verdict == "pass"
    return found.reasons[0]


def test_what_the_silence_of_a_ranking_hides_follows_from_what_it_found_in_originals(innocent: Innocent) -> None:
    perfect, half, weak = (silence(innocent, found) for found in (None, 40, 8))
    assert "finding its victims' images as often as where originals were used, it would have found" in perfect
    shares = [int(said.rpartition("at least ")[2].partition(" %")[0]) for said in (perfect, half)]
    assert 20 < shares[0] < shares[1] <= 100
    assert "could not have shown a leak of any size" in weak


def test_a_ranking_of_all_suspects_tells_what_it_found_in_originals(innocent: Innocent) -> None:
    said = silence(innocent, 40, reach=None)
    assert "of the members at 1 % false accusations, and a weaker trace than theirs may be hidden" in said
    assert "%" in said.partition("it found ")[2].partition(" of the members")[0]


def test_unchanged_copies_show_no_power(innocent: Innocent) -> None:
    """What a list of hashes finds too supports no pass; a changed kind does."""
    found = {name: values for name, values in scores(50).items() if not name.startswith("plant")}
    for kind, supports in (("exact", False), ("mirrored", True)):
        planted = found | {f"plant {kind}": np.full(60, 30.0), f"plant {kind} controls": found["release controls"]}
        record = records(innocent, {"a": planted})["a"]
        assert record.detection_limit[kind] is not None
        assert record.supports_pass is supports


def test_hits_judge_only_within_a_tenth_of_the_pool(innocent: Innocent) -> None:
    leak = scores(41)
    leak["release members"][:40] = 30.0
    rules = {kind: Rule(0.1, 1, 0.1) for kind in ("holds_release", "mediated")}
    for reach in (20, 300):
        facts = attack_facts("a", family="mediated").model_copy(update={"reach": reach})
        (found,) = find([Case(facts, leak)], rules, IDS, (), innocent, "image", True, 0)
        release = found.arms["release"]
        assert release is not None
        assert release.hits_at_reach is not None
        assert found.verdict == "fail"  # by hits, and by the members ahead of every control
