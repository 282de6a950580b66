"""PrivImage: the query by hand and against the published selection, the budget, the claim, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_examples import made
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from privaudit import seeds
from privaudit.accounting import epsilon_spent
from privaudit.attack import Context
from privaudit.configuration import load_configuration
from privaudit.dp_audit import judged, observed
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.plugins import make_synthesizer
from privaudit.private_engine import PrivateStage
from privaudit.synth.privimage import PrivImage
from privaudit.synth.privimage.pretraining import relabelled
from privaudit.synth.privimage.query import noisy, query_scores, selected, votes
from privaudit.synthesizer import told_classes

TINY: dict[str, Any] = {
    "public": "digits",
    "epsilon": 8.0,
    "delta": 1e-3,
    "classifier": {"network": "convnet", "epochs": 1, "precision": "float32"},
    "pretraining_images": 64,
    "steps": 2,
    "images_per_class": 3,
    "sampling_steps": 2,
}
PUBLISHED = {
    "airplane": {895, 908, 404, 744, 657},
    "automobile": {511, 436, 817, 717, 479},
    "bird": {9, 13, 12, 21, 85},
    "cat": {285, 282, 281, 287, 283},
    "deer": {351, 353, 352, 349, 350},
    "dog": {153, 157, 154, 260, 194},
    "frog": {32, 30, 68, 62, 43},
    "horse": {339, 246, 355, 159, 354},
    "ship": {510, 628, 814, 554, 536},
    "truck": {867, 569, 675, 864, 654},
}
"""ImageNet classes that the authors' query took for the classes of CIFAR-10, in this order."""


def members(count: int = 24, size: int = 8) -> Images:
    rng = np.random.default_rng(7)
    return Images(rng.integers(0, 256, (count, size, size, 1), dtype=np.uint8), np.arange(count, dtype=np.int64) % 4)


def test_votes_by_hand() -> None:
    answers = np.array([[0.1, 3.0, 2.0], [5.0, 1.0, 4.0], [1.0, 1.0, 1.0]], np.float32)
    labels = np.array([1, 0, 1])
    assert votes(answers, labels, 2, 1).tolist() == [[1, 0, 0], [1, 1, 0]]
    assert votes(answers, labels, 2, 2).tolist() == [[1, 0, 1], [1, 2, 1]]  # of equal answers the first


@given(
    answers=arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(6)), elements=st.floats(-3, 3, width=16)),
    k=st.integers(1, 6),
    data=st.data(),
)
def test_an_image_more_changes_one_row_by_the_root_of_k(answers: np.ndarray, k: int, data: st.DataObject) -> None:
    labels = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(answers), max_size=len(answers))))
    out = data.draw(st.integers(0, len(answers) - 1))
    change = votes(answers, labels, 3, k) - votes(np.delete(answers, out, 0), np.delete(labels, out), 3, k)
    assert np.linalg.norm(change) == pytest.approx(k**0.5)
    assert set(np.flatnonzero(change.any(1))) == {labels[out]}


def test_the_noise_is_the_multiplier_times_the_root_of_k() -> None:
    nothing = np.zeros((100, 100))
    found = noisy(nothing, 4, 3.0, np.random.default_rng(0))
    assert found.std() == pytest.approx(3.0 * 2, rel=0.05)
    assert found.mean() == pytest.approx(0, abs=0.2)


def test_an_earlier_class_takes_its_bins_and_ties_go_to_the_first() -> None:
    assert selected(np.array([[9.0, 5, 1, 0], [9.0, 8, 7, 0]]), 2).tolist() == [[0, 1], [2, 3]]
    assert selected(np.zeros((2, 5)), 2).tolist() == [[0, 1], [2, 3]]
    assert selected(np.array([[-3.0, -1.0], [-9.0, -2.0]]), 1).tolist() == [[1], [0]]  # noise makes bins negative


@given(
    histogram=arrays.arrays(np.float64, st.just((3, 7)), elements=st.floats(-100, 100)),
    k=st.integers(1, 2),
)
def test_no_public_class_is_taken_twice_and_no_better_one_is_left(histogram: np.ndarray, k: int) -> None:
    found = selected(histogram, k)
    assert len(np.unique(found)) == found.size == 3 * k
    for row, taken in enumerate(found):
        free = np.setdiff1d(np.arange(7), found[: row + 1])
        assert not len(free) or histogram[row, taken].min() >= histogram[row, free].max()


def test_the_published_selection() -> None:
    """Every class likes what earlier ones took even more than its own five bins, so that only the rule keeps apart."""
    histogram = np.zeros((10, 1000))
    for row, (mine, earlier) in enumerate(zip(PUBLISHED.values(), np.cumsum([0, *[5] * 9]).tolist(), strict=True)):
        before = [number for taken in list(PUBLISHED.values())[:row] for number in taken]
        assert len(before) == earlier
        histogram[row, before] = 1000
        histogram[row, sorted(mine)] = [50, 40, 30, 20, 10]
    assert [set(row) for row in selected(histogram, 5).tolist()] == list(PUBLISHED.values())


def test_too_few_public_classes_are_named() -> None:
    with pytest.raises(InputError, match="4 private classes take 3 public classes each, but the public images have 10"):
        selected(np.zeros((4, 10)), 3)


def test_selected_public_images_get_the_class_that_took_theirs() -> None:
    public = members(8)  # labels 0, 1, 2, 3, 0, 1, 2, 3
    found = relabelled(public, np.array([[3], [1]]))
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert np.array_equal(found.pixels, public.pixels[[1, 3, 5, 7]])


def test_the_claim_counts_query_and_fine_tuning(tmp_path: Path) -> None:
    engine = PrivImage(**TINY)
    release = made(engine, members(), tmp_path)
    claim = release.claim
    assert claim is not None
    training, query = engine.mechanisms()
    assert (query.sampling_rate, query.steps, training.steps) == (1.0, 1, 2)
    assert claim.epsilon == epsilon_spent([training, query], 1e-3)
    assert 7.8 < claim.epsilon <= 8
    assert epsilon_spent([query], 1e-3) == pytest.approx(0.8, rel=0.02)
    assert claim.mechanism["query_noise_multiplier"] == query.noise_multiplier
    assert np.bincount(release.images.labels).tolist() == [3, 3, 3, 3]
    assert release.provenance["public"]["images"] == 1797
    assert "digits" not in str(release.provenance["settings"])  # a path would tell where somebody keeps images


def test_seeded_noise_makes_no_claim_and_equal_bits(tmp_path: Path) -> None:
    engine = PrivImage(**TINY, noise="seeded")
    first = made(engine, members(), tmp_path / "one")
    assert first.claim is None
    assert made(engine, members(), tmp_path / "two").digest == first.digest


def test_secret_noise_is_drawn_once_per_store(tmp_path: Path) -> None:
    engine = PrivImage(**TINY)
    first = made(engine, members(), tmp_path / "one")
    more = made(engine.model_copy(update={"images_per_class": 4}), members(), tmp_path / "one")
    again = made(engine, members(), tmp_path / "one")
    assert again.digest == first.digest
    assert len(more.images) == 16
    assert made(engine, members(), tmp_path / "two").images.digest != first.images.digest


def test_secret_noise_needs_a_store() -> None:
    engine = PrivImage(**TINY)
    context = Context(seeds.generator(0, "unused"), reference=engine.public_images((8, 8, 1)))
    with pytest.raises(RuntimeError, match="every part draws its own"):
        engine.make(engine.shards(members())[0], members(), context)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"public": None}, "privimage needs public images with classes, of any source: --set public=DATA"),
        ({"public": "nowhere"}, "nowhere"),
        ({"classes_each": 3}, "Choose a smaller classes_each, or public images of more classes"),
        ({"epsilon": None, "delta": None}, "privimage needs a budget"),
        ({"delta": 0.05}, "must be below 1 / members"),
    ],
)
def test_what_cannot_be_done_is_said(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        made(PrivImage(**(TINY | changes)), members(), tmp_path)


def test_members_among_the_public_images_are_found(tmp_path: Path) -> None:
    some = members()
    np.savez(tmp_path / "public.npz", images=some.pixels[5:7], labels=np.array([0, 1]))
    engine = PrivImage(**(TINY | {"public": str(tmp_path / "public.npz")}))
    with pytest.raises(InputError, match="2 of the public images of 'privimage' are members, pixel by pixel"):
        made(engine, some, tmp_path / "store")


def test_public_classes_without_images_are_left_out(tmp_path: Path) -> None:
    """Or noise could choose one, and there would be nothing to learn from."""
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "public.npz", images=pixels, labels=np.repeat([0, 3, 50, 99], 10))
    engine = PrivImage(**(TINY | {"public": str(tmp_path / "public.npz")}))
    assert np.unique(engine.public_images((8, 8, 1)).labels).tolist() == [0, 1, 2, 3]
    assert len(made(engine, members(), tmp_path / "store").images) == 12


def test_how_many_classes_there_are_does_not_depend_on_the_members(tmp_path: Path) -> None:
    some = members()
    without_last = some.take(np.flatnonzero(some.labels < 3))
    plans = [
        told_classes(PrivImage(**TINY), 5).shards(images)  # the source names five
        for images in (some, without_last)
    ]
    assert plans[0] == plans[1]
    assert len(plans[0]) == 5
    assert PrivImage(**TINY, classes=6).class_count(some) == 6
    assert told_classes(PrivImage(**TINY, classes=6), 5) == PrivImage(**TINY, classes=6)
    with pytest.raises(InputError, match="classes is 3, but a member has the class number 3"):
        PrivImage(**TINY, classes=3).shards(some)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(InputError, match=r"pip install 'privaudit\[diffusion\]'"):
        PrivImage(**TINY).shards(members())


def test_the_public_images_of_a_configuration_lie_beside_it(tmp_path: Path) -> None:
    text = (
        "schema: 1\ndata: {members: a, controls: b}\n"
        "candidates:\n- {name: a, synthesizer: privimage, settings: {public: pictures}}\n"
        "- {name: b, synthesizer: privimage, settings: {public: digits}}\n"
    )
    (tmp_path / "audit.yaml").write_text(text)
    found = load_configuration(tmp_path / "audit.yaml").candidates
    assert found[0].settings["public"] == str(tmp_path / "pictures")
    assert found[1].settings["public"] == "digits"


def stages(**changes: Any) -> list[PrivateStage]:
    engine: Any = make_synthesizer("privimage", TINY | {"sampling_rate": 1.0, "divisor": 24.0} | changes)
    context = Context(seeds.generator(0, "audit"), reference=engine.public_images((8, 8, 1)))
    return list(engine.private_stages(members(), context))


@pytest.mark.parametrize("number", [0, 1])
def test_the_audit_holds_what_is_honest(number: int) -> None:
    stage = stages()[number]
    found = judged(stage, observed(stage, 1000, 0), 0, 1e-3, 2)
    assert not found.test.refuted
    assert found.test.could_refute


def test_the_audit_refutes_a_query_with_a_tenth_of_the_noise() -> None:
    honest = stages()[0]

    def weak(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return query_scores(honest.claimed.noise_multiplier / 10, members(), 4, 10, 1, inside, rng)

    stage = PrivateStage("query", honest.claimed, weak, one_run=False)
    assert judged(stage, observed(stage, 1000, 0), 0, 1e-3, 2).test.refuted


def test_the_audit_refutes_votes_for_more_classes_than_are_counted() -> None:
    """Each image votes for five classes, the noise is that of one vote."""
    honest = stages()[0]

    def more(inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return query_scores(honest.claimed.noise_multiplier / 5**0.5, members(), 4, 10, 5, inside, rng)

    stage = PrivateStage("query", honest.claimed, more, one_run=False)
    assert judged(stage, observed(stage, 4000, 0), 0, 1e-3, 2).test.refuted
