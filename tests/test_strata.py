"""Groups of members: sizes, corrected marks, and evidence that does not tell groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from audit_examples import dataset, evidence_of, random_images

from privaudit.evidence import AuditFacts, Scores, UnitFacts
from privaudit.images import Images
from privaudit.pools import make_pools
from privaudit.statistics.units import unit_scores
from privaudit.strata import OTHERS, SEVERAL, strata, unit_facts

BOTH = ("cat", "<script>")
RNG = np.random.default_rng(3)


def facts_of(
    classes: dict[Any, tuple[int, ...]], unit: Any = "image", images: dict[Any, tuple[int, ...]] | None = None
) -> AuditFacts:
    counts = images or {part: (1,) * len(labels) for part, labels in classes.items()}
    facts = evidence_of({}).facts
    units = {part: UnitFacts(classes=labels, images=counts[part]) for part, labels in classes.items()}
    data = facts.data.model_copy(update={"unit": unit})
    return facts.model_copy(update={"class_names": ("cat", "<script>"), "units": units, "data": data})


def two_classes(members: int, controls: int, leak: float) -> tuple[Scores, AuditFacts]:
    """The members of the second class lie `leak` higher; half of each pool belongs to each class."""
    labels = {"members": np.arange(members) % 2, "controls": np.arange(controls) % 2}
    mine = RNG.normal(size=members) + leak * labels["members"]
    scores = {"release members": mine, "release controls": RNG.normal(size=controls)}
    return scores, facts_of({part: tuple(value.tolist()) for part, value in labels.items()})


def test_the_class_that_leaks_stands_out_and_no_other() -> None:
    found = strata(*two_classes(400, 800, 2.0), BOTH)
    assert [(one.name, one.members, one.controls, one.stands_out) for one in found] == [
        ("cat", 200, 400, False),
        ("<script>", 200, 400, True),
    ]
    assert found[1].auc is not None
    assert found[1].auc.low > 0.8
    assert found[1].above_threshold is not None
    assert found[1].above_threshold.estimate > 0.1


def test_share_above_the_threshold_of_all_controls_by_hand() -> None:
    """200 controls, so that two may stand above; 3 of 20 members of the first class do as well as these."""
    controls = np.arange(200.0)
    first = np.concatenate([[198.5, 197.5, 500.0], np.full(17, -1.0)])
    scores = {"release members": np.concatenate([first, np.full(20, -1.0)]), "release controls": controls}
    facts = facts_of({"members": (0,) * 20 + (1,) * 20, "controls": (0, 1) * 100})
    found = strata(scores, facts, BOTH)
    assert found[0].above_threshold is not None
    assert found[0].above_threshold.estimate == 3 / 20
    assert found[1].above_threshold is not None
    assert found[1].above_threshold.estimate == 0


def test_small_groups_are_too_few_and_take_no_part_in_the_correction() -> None:
    scores, facts = two_classes(400, 800, 0.0)
    few = {"members": (0,) * 381 + (1,) * 19, "controls": (0, 1) * 400}
    found = strata(scores, facts_of(few), BOTH)
    assert [(one.members, one.auc is None, one.p_holm is None) for one in found] == [
        (381, False, False),
        (19, True, True),
    ]
    assert not found[1].stands_out
    assert strata(scores, facts, BOTH)[0].p_holm is not None


def test_small_and_unreleased_classes_are_told_together_and_without_names() -> None:
    scores, facts = two_classes(400, 800, 2.0)
    found = strata(scores, facts, ("cat",))
    assert [(one.name, one.members, one.stands_out) for one in found] == [("cat", 200, False), (OTHERS, 200, True)]
    (both,) = strata(scores, facts, ())
    assert (both.name, both.members, both.controls) == (OTHERS, 400, 800)


def test_fresh_images_are_controls_too() -> None:
    scores, facts = two_classes(100, 100, 0.0)
    units = {**facts.units, "fresh": UnitFacts(classes=(0,) * 30, images=(1,) * 30)}
    found = strata({**scores, "release fresh": RNG.normal(size=30)}, facts.model_copy(update={"units": units}), BOTH)
    assert [one.controls for one in found] == [80, 50]


def test_evidence_without_groups_or_of_other_length_tells_none() -> None:
    scores, facts = two_classes(60, 60, 0.0)
    assert strata(scores, facts.model_copy(update={"units": {}}), BOTH) == ()
    assert strata({**scores, "release members": np.zeros(59)}, facts, BOTH) == ()


def test_persons_are_told_by_their_number_of_images() -> None:
    scores, _ = two_classes(80, 120, 0.0)
    images = {"members": (1, 3) * 40, "controls": (1, 2) * 60}
    facts = facts_of({"members": (0,) * 80, "controls": (SEVERAL,) * 120}, "person", images)
    found = [(one.kind, one.name, one.members, one.controls) for one in strata(scores, facts, BOTH)]
    assert found == [
        ("class", OTHERS, 80, 120),
        ("images per person", "1 image", 40, 60),
        ("images per person", "2 to 3 images", 40, 60),
    ]


def test_clean_groups_are_rarely_marked() -> None:
    """At .05 over 200 clean audits of two classes, 20 marks or more have probability below .002 (binomial)."""
    marks = sum(any(one.stands_out for one in strata(*two_classes(120, 240, 0.0), BOTH)) for _ in range(200))
    assert marks < 20


@pytest.mark.parametrize("grouped", [False, True])
def test_unit_facts_are_in_the_order_of_the_scores(grouped: bool) -> None:
    def part(count: int, seed: int) -> Any:
        images = random_images(count, seed)
        labels = np.random.default_rng(seed).integers(0, 2, count)
        names = np.array([f"{seed} {row % 7 if row % 3 else row}" for row in range(count)])
        return dataset(Images(images.pixels, labels), names if grouped else None)

    pools = make_pools(part(40, 1), part(60, 2), part(30, 3), part(20, 4), max_suspects=35, seed=0, random_split=True)
    found = unit_facts(pools)
    for name in ("members", "controls", "fresh"):
        rows, labels = getattr(pools, f"scored_{name}"), getattr(pools, name).images.labels
        units = pools.units(name)
        _, order, _ = unit_scores(np.zeros(len(rows)), units)
        assert found[name].images == tuple(int((units == unit).sum()) for unit in order)
        for unit, one in zip(order, found[name].classes, strict=True):
            own = set(labels[rows][units == unit].tolist())
            assert one == (own.pop() if len(own) == 1 else SEVERAL)
    assert (SEVERAL in found["members"].classes) == grouped
