"""Whole audits of scikit-learn's digits: planted leaks are found, clean candidates are not flagged, nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audit_examples import (
    DEMO,
    REQUIRED,
    Distance,
    audited,
    candidate,
    dataset,
    digits,
    hurry,
    install_fakes,
    only_plants,
    plan_for,
    random_images,
    without_times,
)
from PIL import Image

from privaudit import execution
from privaudit.audit import Plan, collect
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Dataset, Images, concatenate
from privaudit.policy import Policy
from privaudit.record import ReleaseRecord
from privaudit.store import Store

THREE = ("mirrored", "jpeg", "cropped")
FAST: dict[str, dict[str, Any]] = {"distance": {}}
FAST_POLICY = only_plants(DEMO.model_copy(update={"required_attacks": ("distance",)}), "mirrored")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    install_fakes(monkeypatch)
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def judged(plan: Plan, root: Path, policy: Policy = DEMO) -> ReleaseRecord:
    return audited(plan, root, policy)[1].releases[0]


def with_members(rows: np.ndarray, seed: int = 0) -> Images:
    data = digits(seed)
    mixed = concatenate([data.unseen.images, data.members.images.take(rows)])
    return mixed.take(np.random.default_rng(seed).permutation(len(mixed)))


def noise(seed: int) -> Images:
    return random_images(300, seed, side=16, classes=10)


def mean_image() -> Images:
    images = digits().members.images
    means = [images.pixels[images.labels == label].mean(axis=0) for label in range(10)]
    return Images(np.rint(np.stack(means * 30)).astype(np.uint8), np.tile(np.arange(10), 30).astype(np.int64))


# What must be found, and what must not.


def test_members_themselves_fail(shared: Path) -> None:
    release = judged(plan_for(digits().members.images), shared)
    assert release.verdict == "fail"
    assert all(attack.verdict == "fail" for attack in release.attacks)
    assert len({pair.id for pair in release.identical}) > 440


def test_one_percent_exact_copies_fail_and_are_named_exactly(shared: Path) -> None:
    rows = np.array([11, 57, 203, 318])
    release = judged(plan_for(with_members(rows)), shared)
    assert release.verdict == "fail"
    named = {pair.id for pair in release.identical}
    copies = set(digits().members.images.take(rows).image_digests())
    expected = {
        f"m-{row:06d}" for row, digest in enumerate(digits().members.images.image_digests()) if digest in copies
    }
    assert named == expected
    assert len(release.identical) == len(expected)


def test_mirrored_members_fail_without_any_identical_copy(shared: Path) -> None:
    data = digits()
    some = data.members.images.take(np.arange(45))
    flipped = Images(some.pixels[:, :, ::-1].copy(), some.labels)
    release = judged(plan_for(concatenate([data.unseen.images, flipped])), shared)
    assert release.verdict == "fail"
    assert release.identical == ()
    nearest = next(attack for attack in release.attacks if attack.name == "nearest-copy")
    planted = {f"m-{row:06d}" for row in range(45)}
    suspected = {found.id for found in nearest.suspected}
    assert len(suspected & planted) >= 40
    assert len(suspected - planted) <= 0.2 * len(suspected)


def test_unseen_digits_do_not_fail_and_the_same_seed_gives_the_same_bytes(shared: Path, tmp_path: Path) -> None:
    first, record = audited(plan_for(digits().unseen.images, kinds=THREE), shared)
    assert record.verdict in ("pass", "inconclusive")
    assert all(attack.arms["raw"] and attack.arms["raw"].verdict == "fail" for attack in record.releases[0].attacks)
    second, again = audited(plan_for(digits().unseen.images, kinds=THREE), tmp_path)
    assert set(first.scores) == set(second.scores)
    for place, scores in first.scores.items():
        assert list(scores) == list(second.scores[place])
        for name, values in scores.items():
            np.testing.assert_array_equal(values, second.scores[place][name])
    ours, theirs = (without_times(found.model_dump(mode="json")) for found in (record, again))
    ours["manifest"].pop("earlier_audits_of_these_members")
    theirs["manifest"].pop("earlier_audits_of_these_members")
    assert ours == theirs


def test_noise_and_mean_images_do_not_fail(shared: Path) -> None:
    assert judged(plan_for(noise(1)), shared).verdict in ("pass", "inconclusive")
    assert judged(plan_for(mean_image()), shared).verdict in ("pass", "inconclusive")


@pytest.mark.slow
def test_clean_candidates_hardly_ever_fail_over_20_seeds(tmp_path: Path) -> None:
    """Statistics.md rule 18: fail in at most 1 of 20."""
    verdicts: dict[str, list[str]] = {"unseen": [], "noise": []}
    for seed in range(20):
        for name, released in (("unseen", digits(seed).unseen.images), ("noise", noise(seed))):
            plan = plan_for(released, seed=seed, kinds=THREE)
            verdicts[name].append(judged(plan, tmp_path / str(seed)).verdict)
    assert verdicts["unseen"].count("fail") <= 1, verdicts
    assert verdicts["noise"].count("fail") <= 1, verdicts
    assert set(verdicts["unseen"] + verdicts["noise"]) <= {"pass", "inconclusive", "fail"}


# What can never pass.


def test_without_controls_nothing_passes_but_a_copy_fails(shared: Path) -> None:
    clean = plan_for(digits().unseen.images, controls=None, fresh=None, reference=None)
    evidence, record = audited(clean, shared)
    assert record.verdict == "inconclusive"
    assert evidence.scores == {}
    copied = plan_for(with_members(np.array([3])), controls=None, fresh=None, reference=None)
    assert audited(copied, shared)[1].verdict == "fail"


def test_too_few_are_not_attacked_but_a_copy_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    computed = count_tasks(monkeypatch)
    small = digits().members.take(np.arange(200))
    record = audited(plan_for(digits().unseen.images, members=small), tmp_path)[1]
    assert record.verdict == "inconclusive"
    assert "too few" in record.sentence
    copied = plan_for(with_members(np.array([3])), members=small)
    assert audited(copied, tmp_path)[1].verdict == "fail"
    assert computed == []


def changed(data: Dataset, change: str) -> Dataset:
    pixels = data.images.pixels.copy()
    if change == "corner marker":
        pixels[:, 1:3, -3:-1] = 255
    elif change == "gamma":
        pixels = np.rint(255 * (pixels / 255) ** 0.8).astype(np.uint8)
    else:
        small = [Image.fromarray(image[:, :, 0]).resize((10, 10)).resize((16, 16)) for image in pixels]
        pixels = np.stack([np.asarray(image) for image in small])[:, :, :, None]
    return replace(data, images=Images(pixels, data.images.labels))


@pytest.mark.parametrize("change", ["corner marker", "resampled", "gamma"])
def test_controls_of_another_source_are_inconclusive(change: str, tmp_path: Path) -> None:
    data = digits()
    others: dict[str, Any] = {name: changed(getattr(data, name), change) for name in ("controls", "fresh", "reference")}
    for released in (data.unseen.images, changed(data.unseen, change).images):
        record = audited(plan_for(released, FAST, random_split=False, **others), tmp_path, FAST_POLICY)[1]
        assert record.verdict == "inconclusive"
        assert not record.validity.passed


@pytest.mark.slow
@pytest.mark.parametrize("change", ["corner marker", "resampled", "gamma"])
def test_controls_of_another_source_are_inconclusive_for_the_shipped_attacks(change: str, tmp_path: Path) -> None:
    for seed in range(5):
        data = digits(seed)
        others: dict[str, Any] = {
            name: changed(getattr(data, name), change) for name in ("controls", "fresh", "reference")
        }
        plan = plan_for(data.unseen.images, seed=seed, kinds=THREE, **others)
        assert audited(plan, tmp_path)[1].verdict == "inconclusive"


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 20), marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["hash-only", "three-percent", "size-of-release", "no-opinion"])
def test_attacks_without_power_never_support_a_pass(name: str, seeds: range, tmp_path: Path) -> None:
    policy = FAST_POLICY.model_copy(update={"required_attacks": (name,)})
    for seed in seeds:
        kinds = ("exact", *THREE)  # a hash finds unchanged copies, which shows no power
        plan = plan_for(digits(seed).unseen.images, {name: {}}, seed=seed, kinds=kinds)
        release = judged(plan, tmp_path, policy)
        attack = release.attacks[0]
        assert release.verdict != "pass"  # it may fail by chance, in about one of a hundred
        assert not attack.supports_pass
        if name in ("hash-only", "size-of-release"):
            assert attack.arms["raw"] is not None
            assert attack.arms["raw"].verdict == "fail"
            assert not any(limit for kind, limit in attack.detection_limit.items() if kind != "exact")


def test_hash_only_attack_does_not_see_mirrored_members_and_says_so(tmp_path: Path) -> None:
    members = digits().members.images
    mirrored = Images(members.pixels[:, :, ::-1].copy(), members.labels)
    policy = FAST_POLICY.model_copy(update={"required_attacks": ("hash-only",)})
    assert judged(plan_for(mirrored, {"hash-only": {}}), tmp_path, policy).verdict == "inconclusive"


def test_required_attack_left_out_never_passes(tmp_path: Path) -> None:
    release = judged(plan_for(digits().unseen.images, FAST), tmp_path)
    assert release.verdict == "inconclusive"
    assert any("nearest-copy did not run" in reason for reason in release.reasons)


# Crashes, resumption, reuse.


@pytest.mark.parametrize("name", ["crashing", "wrong-shape", "sees-objects"])
def test_one_attack_that_fails_leaves_the_other_its_result(name: str, tmp_path: Path) -> None:
    evidence, record = audited(plan_for(digits().unseen.images, FAST | {name: {}}), tmp_path, FAST_POLICY)
    assert record.verdict == "incomplete"
    assert ("candidate", "distance") in evidence.scores
    assert ("candidate", name) not in evidence.scores
    by_name = {attack.name: attack for attack in record.releases[0].attacks}
    assert by_name[name].verdict == "incomplete"
    assert by_name["distance"].arms["release"] is not None
    assert by_name["distance"].verdict != "incomplete"


def count_tasks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    computed: list[str] = []
    real = execution._compute

    def counting(tasks: Any, *arguments: Any) -> Any:
        computed.extend(task.function.split(":")[1] for task in tasks)
        return real(tasks, *arguments)

    monkeypatch.setattr(execution, "_compute", counting)
    return computed


def test_second_run_computes_nothing_and_a_new_candidate_reuses_the_arms(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    computed = count_tasks(monkeypatch)
    plan = plan_for(digits().unseen.images, FAST)
    first = audited(plan, tmp_path, FAST_POLICY)
    assert computed.count("expose") == computed.count("attack") == 4  # three arms and a run with plants
    computed.clear()
    second = audited(plan, tmp_path, FAST_POLICY)
    assert computed == []
    assert first[1] == second[1]
    unseen = digits().unseen.images
    other = Images(np.bitwise_xor(unseen.pixels, 1), unseen.labels)
    audited(plan_for(other, FAST), tmp_path, FAST_POLICY)
    assert computed.count("expose") == computed.count("attack") == 2  # raw and fresh depend on the shape only


@pytest.mark.parametrize("change", ["seed", "effort", "controls", "reference"])
def test_what_a_result_depends_on_is_computed_anew(
    change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    computed = count_tasks(monkeypatch)
    plan = plan_for(digits().unseen.images, FAST)
    collect(plan, FAST_POLICY, Store(tmp_path))
    before = len(computed)
    changes: dict[str, Any] = {
        "seed": 1,
        "effort": "quick",
        "controls": digits().controls.take(np.arange(500)),
        "reference": digits().reference.take(np.arange(100)),
    }
    collect(replace(plan, **{change: changes[change]}), FAST_POLICY, Store(tmp_path))
    assert computed[before:].count("attack") == 4


def test_version_of_an_attack_is_in_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    computed = count_tasks(monkeypatch)
    plan = plan_for(digits().unseen.images, FAST)
    collect(plan, FAST_POLICY, Store(tmp_path))
    attacked = [name for name in computed if name in ("expose", "attack")]
    monkeypatch.setattr(Distance, "version", 2)
    computed.clear()
    collect(plan, FAST_POLICY, Store(tmp_path))
    assert sorted(computed) == sorted(attacked)  # and nothing that does not depend on the attack


@pytest.mark.parametrize("damage", ["bit", "cut", "deleted", "entry"])
def test_damaged_store_is_mended(damage: str, tmp_path: Path) -> None:
    plan = plan_for(digits().unseen.images, FAST)
    first, record = audited(plan, tmp_path, FAST_POLICY)
    folder = "entries" if damage == "entry" else "blobs"
    for number, path in enumerate(sorted((tmp_path / folder).rglob("*.*"))):
        content = path.read_bytes()
        if damage == "deleted" and number % 2:
            path.unlink()
        elif damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif damage in ("bit", "entry"):
            place = len(content) * 3 // 4
            path.write_bytes(content[:place] + bytes([content[place] ^ 8]) + content[place + 1 :])
    second, again = audited(plan, tmp_path, FAST_POLICY)
    for pair, scores in first.scores.items():
        for name, values in scores.items():
            np.testing.assert_array_equal(values, second.scores[pair][name])
    assert without_times(record.model_dump(mode="json")) == without_times(again.model_dump(mode="json"))


@pytest.mark.slow
def test_worker_processes_give_the_same_evidence(tmp_path: Path) -> None:
    plan = plan_for(digits().unseen.images)
    inside = collect(plan, DEMO, Store(tmp_path / "a"))
    outside = collect(replace(plan, workers=2), DEMO, Store(tmp_path / "b"))
    for place, scores in inside.scores.items():
        for name, values in scores.items():
            np.testing.assert_array_equal(values, outside.scores[place][name])


# Blindness.


def test_the_attack_learns_nothing_from_the_order_of_the_suspects(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Places of members in the pile are spread evenly, and another answer gives another order."""
    orders: list[np.ndarray] = []
    real = Distance.attack

    def watched(self: Distance, seen: Any, suspects: Images, own: Any) -> Any:
        mine = set(digits().members.images.image_digests())
        orders.append(np.array([digest in mine for digest in suspects.image_digests()]))
        assert own.reference is not None
        assert not suspects.pixels.flags.writeable
        return real(self, seen, suspects, own)

    monkeypatch.setattr(Distance, "attack", watched)
    collect(plan_for(digits().unseen.images, FAST), FAST_POLICY, Store(tmp_path))
    swapped = plan_for(digits().unseen.images, FAST, members=digits().members.take(np.arange(450)[::-1]))
    collect(swapped, FAST_POLICY, Store(tmp_path / "other"))
    lengths = {len(order) for order in orders}
    assert len(lengths) == 2  # with and without the fresh images
    for order in orders:
        places = np.flatnonzero(order) / len(order)
        assert 0.45 < places.mean() < 0.55
    longest = [order for order in orders if len(order) == max(lengths)]
    assert any((longest[0] != order).any() for order in longest)


# Persons.


def people(seed: int, n_members: int = 300, n_others: int = 300, each: int = 3) -> dict[str, Any]:
    """Persons with three images each: digits with noise of their own, dealt by person."""
    images = load("digits").images
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(images))
    made: dict[str, Any] = {}
    start = 0
    for name, count in (("members", n_members), ("controls", n_others), ("fresh", 150), ("reference", 60)):
        rows = np.repeat(order[start : start + count], each)
        shown = images.pixels[rows].astype(int) + rng.integers(-60, 61, (len(rows), 16, 16, 1))
        pixels = np.clip(shown, 0, 255).astype(np.uint8)
        groups = np.array([f"{name} {number}" for number in np.repeat(np.arange(count), each)])
        made[name] = dataset(Images(pixels, images.labels[rows]), groups)
        start += count
    made["unseen"] = dataset(images.take(order[start : start + 300]))
    return made


def test_counts_are_persons_and_a_person_is_exposed_once(tmp_path: Path) -> None:
    data = people(0)
    unseen = data.pop("unseen").images
    rows = np.arange(36)  # all three images of each of twelve members
    released = concatenate([unseen, data["members"].images.take(rows)])
    evidence, record = audited(plan_for(released, FAST, **data), tmp_path, FAST_POLICY)
    scores = evidence.scores["candidate", "distance"]
    assert record.data.unit == "person"
    assert (record.data.members, record.data.scored_members) == (900, len(scores["release members"]))
    assert 290 <= record.data.scored_members <= 300
    assert {name: len(values) for name, values in scores.items() if name.startswith("release")} == {
        "release members": record.data.scored_members,
        "release controls": record.data.scored_controls,
        "release fresh": record.data.scored_fresh,
    }
    release = record.releases[0]
    assert release.verdict == "fail"
    assert len(release.identical) == 36
    attack = release.attacks[0]
    assert attack.exposed_share is not None
    assert attack.arms["release"] is not None
    assert attack.arms["release"].auc.unit == "person"
    exposed = {f"m-{3 * person:06d}" for person in range(12)}
    assert exposed <= set(attack.closest)
    assert len(set(attack.closest)) == len(attack.closest)
    assert len(attack.closest) <= 20


def test_innocent_persons_are_not_flagged(tmp_path: Path) -> None:
    failed = 0
    for seed in range(2):
        data = people(seed)
        unseen = data.pop("unseen").images
        plan = plan_for(unseen, FAST, seed=seed, **data)
        failed += audited(plan, tmp_path, FAST_POLICY)[1].verdict == "fail"
    assert failed == 0


# Odd data.


def test_two_candidates_are_judged_apart_and_need_names(tmp_path: Path) -> None:
    plan = plan_for(digits().unseen.images, FAST)
    bad = candidate(with_members(np.arange(30)), "bad")
    record = audited(replace(plan, candidates=[*plan.candidates, bad]), tmp_path, FAST_POLICY)[1]
    assert [release.verdict == "fail" for release in record.releases] == [False, True]
    assert record.verdict == "fail"
    with pytest.raises(InputError, match="name of its own"):
        collect(replace(plan, candidates=[*plan.candidates, replace(bad, name="candidate")]), DEMO, Store(tmp_path))
    with pytest.raises(InputError, match="nothing to audit"):
        collect(replace(plan, candidates=[]), DEMO, Store(tmp_path))


@pytest.mark.parametrize("case", ["one class", "one image", "larger than members", "flat"])
def test_odd_candidates_end_without_a_fail_or_a_crash(case: str, tmp_path: Path) -> None:
    unseen = digits().unseen.images
    released = {
        "one class": unseen.take(unseen.labels == 3),
        "one image": unseen.take(slice(0, 1)),
        "larger than members": concatenate([noise(seed) for seed in range(3)]),
        "flat": Images(np.full((50, 16, 16, 1), 90, np.uint8), np.zeros(50, np.int64)),
    }[case]
    record = audited(plan_for(released, kinds=THREE), tmp_path)[1]
    assert record.verdict in ("pass", "inconclusive"), record.releases[0].reasons
    if case == "one image":
        assert record.verdict == "inconclusive"


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (6, 14, 3), (4, 4, 1)])
def test_small_and_oblong_images(height: int, width: int, channels: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def made(count: int) -> Dataset:
        pixels = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
        return dataset(Images(pixels, np.arange(count, dtype=np.int64) % 3))

    parts: dict[str, Any] = {"members": made(300), "controls": made(300), "fresh": made(100), "reference": made(80)}
    unseen = made(200).images
    assert audited(plan_for(unseen, **parts), tmp_path)[1].verdict in ("pass", "inconclusive")
    copied = parts["members"].images.take(np.arange(40))
    mirrored = Images(copied.pixels[:, :, ::-1].copy(), copied.labels)
    assert audited(plan_for(concatenate([unseen, mirrored]), **parts), tmp_path)[1].verdict == "fail"


def test_max_suspects_bounds_what_is_scored(tmp_path: Path) -> None:
    plan = plan_for(digits().unseen.images, FAST, max_suspects=300)
    evidence, record = audited(plan, tmp_path, FAST_POLICY)
    assert (record.data.scored_members, record.data.scored_controls) == (300, 300)
    assert len(evidence.facts.member_ids) == 300 == len(set(evidence.facts.member_ids))
    copies = plan_for(with_members(np.arange(450)), FAST, max_suspects=300)
    assert len({pair.id for pair in audited(copies, tmp_path, FAST_POLICY)[1].releases[0].identical}) > 440


def test_plan_is_written_down_without_paths() -> None:
    plan = plan_for(digits().unseen.images, REQUIRED)
    facts = plan.facts()
    assert set(facts["family"]) == set(REQUIRED)
    assert all({"version", "settings"} == set(one) for one in facts["family"].values())
    assert replace(plan, seed=1).facts() != facts
