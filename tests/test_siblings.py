"""Other images of persons: who gives one, who is assessed, and what an audit says of linkage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_examples import DEMO, audited, candidate, changed, dataset, hurry
from person_examples import named, persons

from privaudit import audit
from privaudit import evidence as evidence_files
from privaudit.attack import ranks
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.judgement import judge
from privaudit.plan import Plan
from privaudit.plugins import make_attack
from privaudit.pools import Pools, make_pools
from privaudit.record import AttackRecord, AuditRecord
from privaudit.reporting.criteria import NOT_ASSESSED, criteria
from privaudit.reporting.summary import summary_markdown
from privaudit.selection import split
from privaudit.siblings import FEWEST, SHARE_NEEDS, find_siblings, lacking_siblings, one_each, set_aside, shows_share


def joined(*parts: Dataset) -> Dataset:
    groups = np.concatenate([part.groups for part in parts if part.groups is not None])
    pixels = np.concatenate([part.images.pixels for part in parts])
    return dataset(Images(pixels, np.concatenate([part.images.labels for part in parts])), groups)


def pooled(members: Dataset, controls: Dataset, fresh: Dataset) -> Pools:
    return make_pools(members, controls, fresh, persons(named("r", 30), 1, 9), max_suspects=1000, seed=0)


def test_one_image_of_everybody_with_two_different_ones() -> None:
    data = joined(persons(["a", "b"], 3, 1), persons(["c"], 1, 2))
    twins = persons(["d"], 1, 3)
    data = joined(data, twins, twins)  # two images of d, but the same picture twice
    unknown = dataset(persons(["u"], 2, 4).images, np.array(["", ""]))
    data = joined(data, unknown)
    rows = one_each(data, np.random.default_rng(0))
    assert sorted(data.units[rows]) == ["group a", "group b"]
    assert one_each(dataset(data.images), np.random.default_rng(0)).tolist() == []


def test_what_is_set_aside_is_gone_from_both_sides_and_nobody_vanishes() -> None:
    parts = {
        "members": joined(persons(named("m", 30), 2, 1), persons(named("k", 10), 1, 2)),
        "controls": persons(named("c", 30), 3, 3),
        "fresh": persons(named("f", 5), 2, 4),
    }
    kept, siblings = set_aside(parts, 0)
    assert siblings is not None
    assert len(siblings) == 30 + 30 + 5
    for name, part in parts.items():
        assert set(kept[name].units) == set(part.units)
        mine = set(kept[name].images.image_digests()) | set(siblings.images.image_digests())
        assert set(part.images.image_digests()) <= mine
        assert len(kept[name]) == len(part) - int(np.isin(siblings.units, part.units).sum())
    again, _ = set_aside(parts, 0)
    assert again["members"].images.digest == kept["members"].images.digest


def test_nothing_is_set_aside_for_too_few_persons() -> None:
    parts = {
        "members": persons(named("m", FEWEST - 1), 2, 1),
        "controls": persons(named("c", 40), 2, 2),
        "fresh": persons(named("f", 5), 1, 3),
    }
    kept, siblings = set_aside(parts, 0)
    assert siblings is None
    assert kept == parts


def test_siblings_of_controls_are_taken_from_the_controls_where_none_are_given() -> None:
    members, controls, fresh = (
        persons(named("m", 30), 1, 1),
        persons(named("c", 30), 2, 2),
        persons(named("f", 9), 1, 3),
    )
    pools = pooled(members, controls, fresh)
    given = joined(persons(named("m", 25), 2, 4), members.take(np.array([27])))  # the last one was fed: no sibling
    found = find_siblings(pools, given, None, 0)
    assert found is not None
    assert (found.count("members"), found.count("controls")) == (25, len(np.unique(pools.units("controls"))))
    assert found.count("fresh") == 0
    assert len(set(found.units("members"))) == 25
    known = set(pools.images("controls").image_digests())
    assert set(found.images("controls").image_digests()) <= known
    both = joined(given, persons(named("c", 12), 1, 5))
    shown = find_siblings(pools, both, None, 0)
    assert shown is not None
    theirs = {unit for unit in pools.units("controls") if unit in set(both.units)}
    assert set(shown.units("controls")) == theirs  # now those that were given, and no others
    assert 0 < len(theirs) <= 12


def test_an_image_that_is_public_already_is_no_sibling() -> None:
    pools = pooled(persons(named("m", 30), 1, 1), persons(named("c", 30), 2, 2), persons(named("f", 9), 1, 3))
    given = persons(named("m", 30), 1, 4)
    found = find_siblings(pools, given, given.images.take(slice(0, 4)), 0)
    assert found is not None
    assert found.count("members") == 26


def test_why_linkage_is_not_run() -> None:
    linkage, copies = make_attack("linkage", {}), make_attack("nearest-copy", {})
    pools = pooled(persons(named("m", 30), 1, 1), persons(named("c", 30), 2, 2), persons(named("f", 9), 1, 3))
    assert lacking_siblings(copies, pools) is None
    assert "no other images of the members' persons are known" in str(lacking_siblings(linkage, pools))
    few = replace(pools, siblings=find_siblings(pools, persons(named("m", 7), 1, 4), None, 0))
    assert "known of 7 persons of the members and of 30 of the controls; it needs 20 of each" in str(
        lacking_siblings(linkage, few)
    )
    nobody = replace(pools, unit="image")
    assert "do not say which images show the same person (groups)" in str(lacking_siblings(linkage, nobody))


def test_a_share_needs_three_hundred_persons() -> None:
    assert shows_share("suspects", 5, 5)
    assert shows_share("siblings", SHARE_NEEDS, SHARE_NEEDS)
    assert not shows_share("siblings", SHARE_NEEDS - 1, 5000)


def test_an_attack_ranks_suspects_or_siblings(monkeypatch: pytest.MonkeyPatch) -> None:
    linkage = make_attack("linkage", {})
    assert ranks(linkage) == "siblings"
    monkeypatch.setattr(type(linkage), "ranks", "neighbours")
    with pytest.raises(InputError, match=r"ranks 'neighbours'\. Allowed: suspects, siblings"):
        ranks(linkage)


# Whole audits of synthetic persons.

M, C, F = 60, 60, 30
MEMBERS, CONTROLS = persons(named("m", M), 2, 1), persons(named("c", C), 2, 2)
FRESH, OWN = persons(named("f", F), 2, 3), persons(named("r", 40), 2, 4)
STRANGERS = persons(named("x", M), 2, 5)
POLICY = changed(DEMO, "exposed-share", minimum_n=50)
QUICK: dict[str, dict[str, Any]] = {"linkage": {"steps": 30}}


def of(released: Dataset, **changes: Any) -> Plan:
    members, siblings = set_aside({"members": MEMBERS, "controls": CONTROLS, "fresh": FRESH}, 0)
    settings: dict[str, Any] = {
        "attacks": QUICK,
        "siblings": siblings,
        "kinds": ("mirrored", "jpeg"),
        "effort": "quick",
        "random_split": True,
    }
    return Plan(
        members["members"],
        [candidate(released.images)],
        controls=members["controls"],
        fresh=members["fresh"],
        reference=OWN,
        **(settings | changes),
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def linked(record: AuditRecord) -> AttackRecord:
    (attack,) = record.releases[0].attacks
    return attack


def test_members_themselves_are_linked_to_their_siblings(shared: Path) -> None:
    plan = of(MEMBERS)
    fed = of(plan.members)
    evidence, record = audited(fed, shared, POLICY)
    attack = linked(record)
    assert attack.verdict == "fail", attack.reasons
    assert attack.ranks == "siblings"
    release = attack.arms["release"]
    assert release is not None
    assert (release.auc.n_members, release.auc.n_controls, release.auc.unit) == (M, C + F, "person")
    assert release.auc.estimate > 0.9
    assert record.data.linked_members == M
    assert record.data.linked_controls == C + F
    assert attack.exposed_share is None  # fewer than 300 persons
    assert set(attack.closest) <= {f"m-{row:06d}" for row in range(len(fed.members))}
    names = dict(zip(evidence.facts.siblings.member_ids, np.unique(fed.members.units), strict=True))  # type: ignore[union-attr]
    row = int(attack.closest[0].removeprefix("m-"))
    assert fed.members.units[row] == names[attack.closest[0]]
    (view,) = [one for one in criteria(record, record.releases[0]) if one.words.id == "linkability"]
    assert view.status.word == "Leak found"
    assert any("another image of theirs" in line for line in view.lines)
    evidence_files.save(evidence, shared / "evidence")
    assert judge(evidence_files.load(shared / "evidence"), POLICY) == record


def test_strangers_are_linked_to_nobody(shared: Path) -> None:
    _, record = audited(of(STRANGERS), shared, POLICY)
    attack = linked(record)
    assert attack.verdict != "fail", attack.reasons
    raw, fresh = attack.arms["raw"], attack.arms["fresh"]
    assert raw is not None
    assert fresh is not None
    assert raw.verdict == "fail"
    assert fresh.verdict != "fail"
    assert attack.power["jpeg"]  # planted persons were looked for through their siblings
    (view,) = [one for one in criteria(record, record.releases[0]) if one.words.id == "linkability"]
    assert view.status is not NOT_ASSESSED
    text = summary_markdown(record)
    assert "not assessed: 60 persons of the members have another image; a share needs 300" in text


def test_without_persons_linkability_stays_not_assessed(shared: Path) -> None:
    plain = of(STRANGERS, siblings=None)
    _, record = audited(plain, shared, POLICY)
    assert record.releases[0].attacks == ()
    assert any(text.startswith("linkage was not run") for text in record.releases[0].not_assessed)
    (view,) = [one for one in criteria(record, record.releases[0]) if one.words.id == "linkability"]
    assert view.status is NOT_ASSESSED


def test_siblings_are_thinned_with_the_controls(shared: Path) -> None:
    evidence, _ = audited(of(STRANGERS), shared, POLICY)
    (release,) = evidence.facts.releases
    second = release.model_copy(update={"name": "second"})
    two = replace(
        evidence,
        facts=evidence.facts.model_copy(update={"releases": (release, second)}),
        scores={(name, "linkage"): evidence.scores["candidate", "linkage"] for name in ("candidate", "second")},
    )
    few = changed(DEMO, "exposed-share", minimum_n=20)
    parts = split(two, few)
    assert parts is not None
    sizes = [
        [len(side.scores["candidate", "linkage"][f"release {part}"]) for part in ("members", "controls", "fresh")]
        for side in (parts.choosing, parts.confirming)
    ]
    assert sizes == [[M, C - C // 3, F - F // 3], [M, C // 3, F // 3]]
    assert parts.confirming.facts.siblings is not None
    assert parts.confirming.facts.siblings.persons == (M, C // 3 + F // 3)


def test_siblings_that_differ_by_themselves_take_away_only_what_is_said_of_siblings(shared: Path) -> None:
    """Another scanner for the members' siblings: linkage is not valid, and nothing else is touched."""
    plan = of(STRANGERS)
    assert plan.siblings is not None
    theirs = np.isin(plan.siblings.units, plan.members.units)
    darker = np.where(theirs[:, None, None, None], plan.siblings.images.pixels // 3, plan.siblings.images.pixels)
    siblings = replace(plan.siblings, images=Images(darker, plan.siblings.images.labels))
    evidence, record = audited(of(STRANGERS, siblings=siblings), shared, POLICY)
    assert evidence.facts.siblings is not None
    assert evidence.facts.siblings.blind_baseline is not None
    assert not evidence.facts.siblings.blind_baseline.passed
    attack = linked(record)
    assert attack.verdict == "inconclusive"
    assert "not valid here" in attack.reasons[-1]
    assert not attack.supports_pass
    assert record.validity.passed


def test_members_are_the_same_members_with_and_without_siblings(shared: Path) -> None:
    """A second audit of other candidates counts the first, whether siblings were set aside or not."""
    split = of(STRANGERS)
    whole = replace(split, members=MEMBERS, siblings=None)
    assert audit._members_digest(split) == audit._members_digest(whole)
    assert audit._members_digest(split) != audit._members_digest(replace(whole, members=STRANGERS))
