"""What is published beside the images: who is shown it, what stands for it in the other arms, and what is concluded."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from audit_examples import (
    DEMO,
    Distance,
    audited,
    clean_scores,
    dataset,
    digits,
    evidence_of,
    hurry,
    only_plants,
    plan_for,
    random_images,
)

from privaudit import execution, plugins
from privaudit.artifacts import grown, read_release
from privaudit.attack import Attack, Context, Evidence, Seen, Settings, Sight
from privaudit.images import Images, concatenate
from privaudit.judgement import judge
from privaudit.learning import Architecture, Network, logits
from privaudit.learning.training import seeded
from privaudit.plan import Candidate, Plan
from privaudit.plugins import make_attack
from privaudit.record import AuditRecord
from privaudit.release import Release
from privaudit.utility import recipes
from privaudit.views import drawn

HANDED: list[tuple[Images, Network, np.ndarray]] = []


class LooksAtAll(Distance):
    """Ranks by distance, and keeps what it was handed."""

    name: ClassVar[str] = "looks-at-all"
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.RELEASE, Sight.TEACHER, Sight.SOFT_LABELS})

    def expose(self, release: Release, world: Context) -> Seen:
        assert release.teacher is not None
        assert release.soft_labels is not None
        shown: dict[str, Any] = {f"network {name}": array for name, array in release.teacher.arrays().items()}
        shown |= {"pixels": release.images.pixels, "labels": release.images.labels}
        return Seen(shown | {"soft_labels": release.soft_labels})

    def attack(self, seen: Seen, suspects: Images, own: Context) -> Evidence:
        arrays = {name.removeprefix("network "): array for name, array in seen.arrays.items() if "network " in name}
        HANDED.append((seen.images, Network.from_arrays(arrays), seen.arrays["soft_labels"]))
        return super().attack(seen, suspects, own)


class LooksAtStatistics(Distance):
    name: ClassVar[str] = "looks-at-statistics"
    sees: ClassVar[frozenset[Sight]] = frozenset({Sight.RELEASE, Sight.STATISTICS})


class Plain(Distance):
    """An attack that asks for no more than images may not be shown more."""

    name: ClassVar[str] = "plain"

    def expose(self, release: Release, world: Context) -> Seen:
        assert release.artifacts == ()
        return super().expose(release, world)


ALL: dict[str, dict[str, Any]] = {"looks-at-all": {}, "plain": {}}
POLICY = only_plants(DEMO.model_copy(update={"required_attacks": ("plain",)}), "mirrored")


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = plugins.installed
    fakes = {one.name: EntryPoint(one.name, f"{__name__}:{one.__name__}", plugins.ATTACKS) for one in _FAKES}
    monkeypatch.setattr(plugins, "installed", lambda group: real(group) | (fakes if group == plugins.ATTACKS else {}))
    hurry(monkeypatch)
    monkeypatch.setattr(recipes, "FEWEST_STEPS", 200)
    HANDED.clear()


_FAKES = (LooksAtAll, LooksAtStatistics, Plain)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


def network(seed: int = 0) -> Network:
    with seeded(seed):
        return Network(Architecture(name="mlp", channels=1, classes=10, side=16)).eval()


def published(teacher: Network | None, soft: bool = True, **changes: Any) -> Plan:
    images = digits().unseen.images.take(slice(0, 60))
    rows = np.random.default_rng(0).dirichlet(np.ones(10), 60).astype(np.float32) if soft else None
    release = Release(images, soft_labels=rows, teacher=teacher, trained_on=changes.pop("trained_on", "members"))
    settings: dict[str, Any] = {"attacks": ALL, "candidates": [Candidate("candidate", release, dataset(images))]}
    return plan_for(images, **(settings | changes))


def public() -> Images:
    return digits().unseen.images.take(slice(60, 70))


def judged(plan: Plan, root: Path) -> AuditRecord:
    return audited(plan, root, POLICY)[1]


def test_an_attack_is_shown_what_it_declares_and_an_analogue_in_the_other_arms(shared: Path) -> None:
    teacher = network()
    record = judged(published(teacher, also_released=public()), shared)
    attack = record.releases[0].attacks[0]
    assert attack.name == "looks-at-all"
    assert attack.verdict != "incomplete", attack.reasons
    assert len(HANDED) == 4  # three arms, and one run with plants
    first = "body.hidden.weight"
    users = [shown for shown in HANDED if shown[1].state_dict()[first].equal(teacher.state_dict()[first])]
    assert sorted(len(images) for images, _, _ in users) == [70, 70 + 17]  # the candidate, and with plants in it
    for images, _, soft in users:
        without = ~np.isfinite(soft).all(axis=1)
        assert images.take(without).digest != images.digest
        assert without.sum() == 10  # what was public already came without soft labels
        np.testing.assert_allclose(soft[~without].sum(axis=1), 1, rtol=1e-5)
    for images, trained, soft in HANDED:
        if any(images is shown[0] for shown in users):
            continue
        assert trained.architecture == teacher.architecture
        assert (logits(trained, images).argmax(1) == images.labels).mean() > 0.95  # learned by heart
        np.testing.assert_array_equal(soft.argmax(1), logits(trained, images).argmax(1))
        np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)
    assert not any("no attack looks at it" in reason for reason in record.releases[0].reasons)


def test_another_teacher_leaves_the_other_attacks_alone(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    first, second = (published(network(seed), also_released=public()) for seed in (0, 1))
    judged(first, shared)
    computed: list[str] = []
    real = execution._compute

    def counting(tasks: Any, *arguments: Any) -> Any:
        computed.extend(task.label for task in tasks)
        return real(tasks, *arguments)

    monkeypatch.setattr(execution, "_compute", counting)
    judged(second, shared)
    assert [label for label in computed if label.startswith("plain")] == []
    assert {label for label in computed if label.startswith("looks-at-all")} == {
        "looks-at-all on the candidate",
        "looks-at-all on planted members, part 1",
    }
    assert first.facts()["releases"] != second.facts()["releases"]


def test_what_no_attack_is_shown_is_inconclusive(shared: Path) -> None:
    alone: dict[str, dict[str, Any]] = {"plain": {}}
    for plan, said in (
        (published(None, attacks=alone), "soft labels: released, but no attack looks at it"),
        (published(network(), soft=False, attacks=alone), "teacher: released, but no attack looks at it"),
        (published(network(), trained_on="unknown"), "teacher, of which nobody knows what it was trained on: released"),
    ):
        record = judged(plan, shared)
        assert record.verdict == "inconclusive"
        assert any(said in reason for reason in record.releases[0].reasons), record.releases[0].reasons


def test_soft_labels_of_views_are_shown_for_the_images_as_they_are(shared: Path) -> None:
    images = digits().unseen.images.take(slice(0, 60))
    soft = np.random.default_rng(0).dirichlet(np.ones(10), (60, 4)).astype(np.float32)
    views = drawn(4, images.size[:2], False, np.random.default_rng(0))
    release = Release(images, soft_labels=soft, views=views, teacher=network(), trained_on="members")
    plan = published(network(), candidates=[Candidate("candidate", release, dataset(images))], also_released=public())
    record = judged(plan, shared)
    of_candidate = [
        shown
        for shown in HANDED
        if shown[1].state_dict()["body.hidden.weight"].equal(network().state_dict()["body.hidden.weight"])
    ]
    for _, _, told in of_candidate:
        assert told.ndim == 2
    (shown,) = [told for images_, _, told in of_candidate if len(images_) == 70]
    np.testing.assert_array_equal(shown[:60], soft[:, 0])
    assert record.verdict == "inconclusive"
    said = "soft labels of views, but for the images as they are: released, but no attack looks at it"
    assert any(said in reason for reason in record.releases[0].reasons)


@pytest.mark.parametrize("teacher", [None, network(0)])
def test_an_attack_on_what_is_not_published_is_not_run(teacher: Network | None, shared: Path) -> None:
    plan = published(teacher, soft=False, attacks={**ALL, "looks-at-statistics": {}})
    release = judged(plan, shared).releases[0]
    assert [attack.name for attack in release.attacks] == ["plain"]
    lacks = "soft labels" if teacher else "soft labels and teacher"
    assert f"looks-at-all was not run: it looks at {lacks}, which it is not shown here" in release.not_assessed
    assert any(text.startswith("looks-at-statistics was not run") for text in release.not_assessed)


def test_a_look_without_power_is_none() -> None:
    """Three attacks without a finding; the one that looks at the teacher never finds anything."""
    rng = np.random.default_rng(0)
    useless = {name: rng.standard_normal(len(values)) for name, values in clean_scores(300, 200, 100, rng).items()}
    scores = {"plain": clean_scores(300, 200, 100, rng), "useless": useless}
    evidence = evidence_of(scores)
    (release,) = evidence.facts.releases
    reasons = {}
    for name in ("plain", "useless"):
        attacks = tuple(
            one.model_copy(update={"looks_at": ("teacher",) if one.name == name else ()}) for one in release.attacks
        )
        facts = evidence.facts.model_copy(update={"releases": (release.model_copy(update={"attacks": attacks}),)})
        reasons[name] = judge(replace(evidence, facts=facts), POLICY).releases[0].reasons
    said = "inconclusive: teacher: released, and looked at only by useless, whose silence supports nothing"
    assert said in reasons["useless"]
    assert not any("teacher" in reason for reason in reasons["plain"])


def test_plants_wear_soft_labels_of_their_class() -> None:
    images = random_images(6, 0, classes=3)
    soft = np.eye(3, dtype=np.float32)[images.labels]
    soft[5] = np.nan  # an image that was public already
    plants = Images(random_images(4, 1).pixels, np.array([0, 1, 2, 2]))
    order = np.random.default_rng(0).permutation(10)
    found = grown(Release(images, soft_labels=soft), plants, order, np.random.default_rng(0))
    assert found.images.digest == concatenate([images, plants]).take(order).digest
    assert found.soft_labels is not None
    back = found.soft_labels[np.argsort(order)]
    np.testing.assert_array_equal(back[:6], soft)
    np.testing.assert_array_equal(back[6:], np.eye(3)[plants.labels])


def test_a_digest_tells_everything_that_is_published_apart() -> None:
    images = random_images(6, 0)
    soft = np.full((6, 2), 0.5, np.float32)
    releases = [
        Release(images),
        Release(images, soft_labels=soft),
        Release(images, soft_labels=soft[:, ::-1] * np.float32(0.5)),
        Release(images, teacher=network()),
        Release(images, teacher=network(1)),
        Release(images, teacher=network(), trained_on="members"),
    ]
    assert len({release.digest for release in releases}) == len(releases)
    assert releases[0].digest == images.digest
    assert read_release({"pixels": images.pixels, "labels": images.labels}).artifacts == ()


def test_the_contract_of_the_fakes() -> None:
    for one in _FAKES:
        assert isinstance(make_attack(one.name, {}), Attack)
        assert issubclass(one, Settings)
