"""What is public already: attacks see it together with the candidate, and members in it are no news."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from audit_examples import (
    DEMO,
    Distance,
    audited,
    candidate,
    dataset,
    digits,
    hurry,
    only_plants,
    plan_for,
    random_images,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from privaudit import plugins
from privaudit.attack import Context, Evidence, Seen
from privaudit.comparison import compare
from privaudit.errors import InputError
from privaudit.evidence import AuditEvidence
from privaudit.identical import public_already
from privaudit.images import Images, concatenate
from privaudit.pools import make_pools
from privaudit.record import AuditRecord
from privaudit.release import Release, together


class OneTimePads(Distance):
    """Looks for members in the release, and in the exclusive or of its first half with its second."""

    name: ClassVar[str] = "one-time-pads"

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        images, half = seen.images, len(seen.images) // 2
        opened = np.bitwise_xor(images.pixels[:half], images.pixels[half : 2 * half])
        both = Images(np.concatenate([images.pixels, opened]), np.concatenate([images.labels, images.labels[:half]]))
        return super().attack(Seen({"pixels": both.pixels, "labels": both.labels}), suspects, own)


ATTACK: dict[str, dict[str, Any]] = {"one-time-pads": {}}
POLICY = only_plants(DEMO.model_copy(update={"required_attacks": ("one-time-pads",)}), "mirrored")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.installed

    def installed(group: str) -> dict[str, EntryPoint]:
        fake = {"one-time-pads": EntryPoint("one-time-pads", f"{__name__}:OneTimePads", group)}
        return real(group) | (fake if group == plugins.ATTACKS else {})

    monkeypatch.setattr(plugins, "installed", installed)
    hurry(monkeypatch)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def run(released: Images, public: Images | None, root: Path) -> tuple[AuditEvidence, AuditRecord]:
    return audited(plan_for(released, ATTACK, also_released=public), root, POLICY)


def pads(count: int) -> tuple[Images, Images, set[str]]:
    """Two releases that tell nothing one by one, each being noise; together they are so many members."""
    members = digits().members.images.take(np.arange(count))
    noise = np.random.default_rng(0).integers(0, 256, members.pixels.shape, dtype=np.uint8)
    first = Images(noise, members.labels)
    second = Images(np.bitwise_xor(members.pixels, noise), members.labels)
    return first, second, {f"m-{row:06d}" for row in range(count)}


def test_two_releases_that_leak_only_together_fail_only_together(shared: Path) -> None:
    first, second, hidden = pads(60)
    alone, other = run(first, None, shared)[1], run(second, None, shared)[1]
    assert {alone.verdict, other.verdict} <= {"pass", "inconclusive"}
    assert (alone.data.also_released, alone.data.already_public) == (0, ())
    evidence, both = run(first, second, shared)
    assert both.verdict == "fail"
    assert both.data.also_released == 60
    assert "together with 60 images that are public already" in both.sentence
    release = both.releases[0]
    assert (release.images, release.identical) == (60, ())  # the candidate's own
    assert len({found.id for found in release.attacks[0].suspected} & hidden) >= 55
    with pytest.raises(InputError, match="what is public already"):
        compare(run(first, None, shared)[0], evidence)


def test_members_that_are_public_already_do_not_fail_a_candidate(shared: Path) -> None:
    data = digits()
    some = data.members.images.take(np.arange(40))
    public, candidate_ = (
        concatenate([some, data.unseen.images.take(slice(0, 100))]),
        data.unseen.images.take(slice(100, None)),
    )
    assert run(concatenate([candidate_, public]), None, shared)[1].verdict == "fail"  # as one release they are a leak
    evidence, record = run(candidate_, public, shared)
    assert record.verdict in ("pass", "inconclusive")
    assert record.releases[0].identical == ()
    named = {f"m-{row:06d}" for row in range(40)}
    assert named <= set(record.data.already_public)
    assert not named & set(evidence.facts.member_ids)
    left_out = set(record.data.already_public) | set(record.data.not_assessed_members)
    assert record.data.scored_members == 450 - len(left_out) >= 380
    assert not left_out & set(evidence.facts.member_ids)
    attack = record.releases[0].attacks[0]
    assert attack.arms["raw"] is not None
    assert attack.arms["raw"].verdict == "fail"  # the attack still has its power


def test_members_that_are_public_in_a_changed_form_are_found(shared: Path) -> None:
    data = digits()
    some = data.members.images.take(np.arange(40))
    public = Images(some.pixels[:, :, ::-1].copy(), some.labels)
    record = run(data.unseen.images, public, shared)[1]
    assert record.verdict == "fail"
    assert set(record.data.already_public) <= {f"m-{row:06d}" for row in range(450)} - {"m-000000"}


def test_what_is_public_is_in_the_plan() -> None:
    first, second, _ = pads(20)
    plans = [plan_for(first, ATTACK, also_released=public) for public in (None, first, second)]
    facts = [plan.facts() for plan in plans]
    assert "also_released" not in facts[0]["data"]
    assert len({str(one["data"]) for one in facts}) == 3
    assert len({str(one["releases"]) for one in facts}) == 1


# Few copies in each of several releases: what the shipped attacks gain from seeing them together.


@pytest.mark.slow
def test_copies_too_few_to_be_found_add_up_over_releases(shared: Path) -> None:
    data = digits()
    rows = np.random.default_rng(1).permutation(450)[:9].reshape(3, 3)

    def release(place: int) -> Images:
        some = data.members.images.take(rows[place])
        mirrored = Images(some.pixels[:, :, ::-1].copy(), some.labels)
        return concatenate([data.unseen.images.take(slice(99 * place, 99 * place + 99)), mirrored])

    def verdict(released: Images, public: Images | None) -> str:
        plan = plan_for(released, {"nearest-copy": {}}, also_released=public)
        policy = only_plants(DEMO.model_copy(update={"required_attacks": ("nearest-copy",)}), "mirrored")
        return audited(plan, shared, policy)[1].verdict

    assert all(verdict(release(place), None) != "fail" for place in range(3))
    assert verdict(release(0), concatenate([release(1), release(2)])) == "fail"


# Pools.


def test_the_same_rule_leaves_out_members_and_controls() -> None:
    """Member 3 and control 5 are public; their persons, and what is nearly the same, are not assessed."""
    members, controls = random_images(40, 1), random_images(40, 2)
    members.pixels[4] = np.clip(members.pixels[3].astype(int) + 1, 0, 255)  # nearly the same as member 3
    groups = [np.array([f"{part}{row // 2}" for row in range(40)]) for part in ("m", "c")]
    public = Images(
        np.stack([members.pixels[3], controls.pixels[5], random_images(1, 3).pixels[0]]), np.zeros(3, np.int64)
    )
    for random_split in (False, True):
        found = make_pools(
            dataset(members, groups[0]),
            dataset(controls, groups[1]),
            dataset(random_images(20, 4), np.array([f"f{row}" for row in range(20)])),
            dataset(random_images(20, 5), np.array([f"r{row}" for row in range(20)])),
            max_suspects=1000,
            seed=0,
            random_split=random_split,
            public=public,
        )
        assert found.public_members.tolist() == [3]
        assert {2, 4, 5} <= set(found.straddling_members.tolist())
        assert not {2, 3, 4, 5} & set(found.scored_members.tolist())
        assert not {4, 5} & set(found.scored_controls.tolist())
        assert len(found.scored_fresh) == 20


@given(st.lists(st.integers(0, 9), max_size=12), st.lists(st.integers(0, 9), max_size=12))
@settings(max_examples=50, deadline=None)
def test_together_is_the_release_and_what_it_does_not_repeat(mine: list[int], public: list[int]) -> None:
    images = random_images(10, 7)
    soft = np.full((len(mine), 2), 0.5, np.float32)
    ours, theirs = images.take(np.array(mine, np.int64)), images.take(np.array(public, np.int64))
    release = Release(ours, soft_labels=soft)
    both = together(release, theirs)
    fresh = [row for row in public if row not in mine]
    assert both.images.digest == images.take(np.array(mine + fresh, np.int64)).digest
    assert both.soft_labels is not None
    assert np.isfinite(both.soft_labels).all(axis=1).tolist() == [True] * len(mine) + [False] * len(fresh)
    assert public_already(theirs, ours).tolist() == [row in mine for row in public]
    assert together(release, None) is release


def test_images_of_another_size_are_never_taken_for_the_same() -> None:
    grey, colour = random_images(3, 0, side=8), random_images(3, 0, side=8, channels=3)
    assert not public_already(grey, colour).any()
    assert public_already(grey, None).tolist() == [False] * 3
    assert candidate(grey).release.digest == grey.digest
