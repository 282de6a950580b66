"""The engine as a whole: what goes where, what is refused, and what the release tells."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_examples import made
from stable_diffusion_example import write
from test_engine_contract import members

from privaudit import seeds
from privaudit.attack import Context
from privaudit.attacks.membership import pipeline
from privaudit.configuration import load_configuration
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.synth.spinml import SpinML

TINY: dict[str, Any] = {
    "public": "digits",
    "segmenter": "otsu",
    "pretraining_images": 64,
    "edges_images": 64,
    "fine_tuning_steps": 2,
    "fine_tuning_batch": 4,
    "sampling_steps": 2,
    "images_per_class": 3,
}
WHOLE = Images(members().pixels, members().labels)


def engine(**changes: Any) -> SpinML:
    return SpinML(**(TINY | changes))


def with_masks(folder: Path, images: Images, masks: np.ndarray) -> dict[str, str]:
    """Settings with masks of these images, in the order of their rows."""
    np.savez(folder / "images.npz", images=images.pixels, labels=images.labels)
    np.savez(folder / "masks.npz", images=masks.astype(np.uint8)[..., None] * 255, labels=images.labels)
    return {"masked": str(folder / "images.npz"), "masks": str(folder / "masks.npz")}


@pytest.mark.parametrize("levels", [("L1", "L0"), ("L2", "L0"), ("L0", "L2"), ("L1", "L2")])
def test_every_pair_of_levels_makes_a_release(levels: tuple[Any, Any], tmp_path: Path) -> None:
    found = made(engine(foreground=levels[0], background=levels[1]), WHOLE, tmp_path)
    assert found.images.labels.tolist() == [0] * 3 + [1] * 3 + [3] * 3
    assert found.claim is None
    told = found.provenance
    assert (told["settings"]["foreground"], told["settings"]["background"]) == levels
    assert "digits" not in str(told)  # a path would tell where somebody keeps images


def test_without_pixels_and_edges_members_change_nothing_but_the_classes(tmp_path: Path) -> None:
    others = Images(255 - WHOLE.pixels, WHOLE.labels)
    first, second = (
        made(engine(foreground="L0"), images, tmp_path / name) for images, name in ((WHOLE, "one"), (others, "two"))
    )
    assert first.images.digest == second.images.digest


@pytest.mark.parametrize("levels", [pytest.param(("L1", "L0"), marks=pytest.mark.slow), ("L2", "L0")])
def test_hidden_backgrounds_change_nothing(levels: tuple[Any, Any], tmp_path: Path) -> None:
    """And foregrounds do; with masks of the user's."""
    masks = np.zeros((len(WHOLE), 8, 8), bool)
    masks[:, 2:6, 2:6] = True
    other = masks.copy()
    other[:, 2:6, 4] = False  # a line in the foreground, dark in a third of the releases
    found = []
    for name, bright, back in (("plain", masks, 0), ("back", masks, 90), ("front", other, 0)):
        (tmp_path / name).mkdir()
        ground = np.where(masks, 0, WHOLE.pixels[..., 0] // 4 + back)
        images = Images(np.where(bright, 220, ground).astype(np.uint8)[..., None], WHOLE.labels)
        settings = with_masks(tmp_path / name, images, masks)
        maker = engine(foreground=levels[0], background=levels[1], edges_images=640, images_per_class=1, **settings)
        found.append(made(maker, images, tmp_path / name / "store").images.digest)
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_other_masks_of_the_same_name_are_other_masks(tmp_path: Path) -> None:
    """A store must not give back what was made with masks that are no more."""
    masks = np.random.default_rng(0).random((len(WHOLE), 8, 8)) < 0.5
    maker = engine(foreground="L2", **with_masks(tmp_path, WHOLE, masks))
    first = made(maker, WHOLE, tmp_path / "store")
    with_masks(tmp_path, WHOLE, ~masks)
    assert made(maker, WHOLE, tmp_path / "store").images.digest != first.images.digest


def test_members_keep_their_masks_in_another_order(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((len(WHOLE), 8, 8)) < 0.5
    maker = engine(foreground="L2", **with_masks(tmp_path, WHOLE, masks))
    rows = np.array([6, 0, 3, 2])
    context = Context(seeds.generator(0, "unused"), masks=maker.member_masks(WHOLE.take(rows)))
    np.testing.assert_array_equal(maker.references(WHOLE.take(rows), context).shown, masks[rows])


def test_each_image_is_steered_by_a_reference_of_its_own(tmp_path: Path) -> None:
    """In random order, all before one twice, over the shards of a class."""
    maker = engine(batch_size=3, images_per_class=15)
    references = maker.references(WHOLE, Context(seeds.generator(0, "unused"), seed=4))
    marked = replace(references, edges=np.zeros((len(WHOLE), 1, 64), bool))
    marked.edges[np.arange(len(WHOLE)), 0, np.arange(len(WHOLE))] = True  # reference i has its edge at i
    shards = [shard for shard in maker.shards(WHOLE) if shard.arguments["label"] == 0]
    drawn = [maker.steering(marked, shard, 4) for shard in shards]
    used = np.concatenate([np.flatnonzero(image) for part in drawn if part is not None for image in part])
    mine = np.flatnonzero(WHOLE.labels == 0)
    assert len(used) == 15
    assert sorted(used[: len(mine)].tolist()) == mine.tolist()
    assert used[: len(mine)].tolist() != mine.tolist()
    assert used[len(mine) :].tolist() == used[: 15 - len(mine)].tolist()


def test_references_are_so_many_of_each_class_and_others_change_nothing(tmp_path: Path) -> None:
    maker = engine(foreground="L2", background="L2", references_per_class=2)
    chosen = maker.chosen(WHOLE, 5)
    assert np.bincount(WHOLE.labels[chosen]).tolist() == [2, 2, 0, 2]
    assert not np.array_equal(chosen, maker.chosen(WHOLE, 6))
    first = made(maker, WHOLE, tmp_path / "one", seed=5)
    pixels = 255 - WHOLE.pixels
    pixels[chosen] = WHOLE.pixels[chosen]
    second = made(maker, Images(pixels, WHOLE.labels), tmp_path / "two", seed=5)
    assert first.images.digest == second.images.digest


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"public": None}, "spinml needs public images with the members' classes"),
        ({"public": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        made(engine(**changes), WHOLE, tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"masks": "a"}, "masks and masked belong together"),
        ({"controlnet": "a"}, "controlnet belongs to stable_diffusion"),
        ({"stable_diffusion": "a"}, "needs controlnet"),
        ({"stable_diffusion": "a", "foreground": "L0"}, "needs subjects"),
        ({"foreground": "L3"}, "L0"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        engine(**changes)


def test_public_images_without_a_class_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((4, 8, 8), np.uint8), labels=np.array([0, 0, 1, 1]))
    with pytest.raises(InputError, match="none of class 3, counted from 0, which members have"):
        made(engine(public=str(tmp_path / "few.npz")), WHOLE, tmp_path / "store")


def test_members_among_the_public_images_are_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "public.npz", images=WHOLE.pixels[:9], labels=WHOLE.labels[:9])
    with pytest.raises(InputError, match="9 of the public images of 'spinml' are members"):
        made(engine(public=str(tmp_path / "public.npz")), WHOLE, tmp_path / "store")


@pytest.mark.parametrize("package", ["diffusers", "cv2"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"pip install 'privaudit\[diffusion\]'"):
        engine().shards(WHOLE)


def test_stable_diffusion_makes_a_release(tmp_path: Path) -> None:
    model, control = write(tmp_path / "diffusion")
    maker = engine(
        public=None,
        stable_diffusion=str(model),
        controlnet=str(control),
        subjects=("zero", "one", "two", "three"),
        foreground="L1",
        background="L2",
        images_per_class=2,
    )
    found = made(maker, WHOLE, tmp_path / "store")
    assert found.images.size == WHOLE.size
    assert found.provenance["model"] == "Stable Diffusion"
    assert str(tmp_path) not in str(found.provenance)
    with pytest.raises(InputError, match="subjects names 2 classes, and the members have 4"):
        maker.model_copy(update={"subjects": ("zero", "one")}).shards(WHOLE)


def test_another_model_in_the_same_folder_is_another_model(tmp_path: Path) -> None:
    model, control = write(tmp_path / "diffusion")
    given = {"stable_diffusion": str(model), "controlnet": str(control), "subjects": ("a",) * 4}
    before = engine(**given).shards(WHOLE)
    write(tmp_path / "diffusion", "v_prediction")
    assert engine(**given).shards(WHOLE) != before


def test_sources_of_a_configuration_lie_beside_it(tmp_path: Path) -> None:
    text = (
        "schema: 1\ndata: {members: a, controls: b}\n"
        "candidates:\n- {name: a, synthesizer: spinml, settings: {public: pictures, masks: drawn, masked: all}}\n"
    )
    (tmp_path / "audit.yaml").write_text(text)
    found = load_configuration(tmp_path / "audit.yaml").candidates[0].settings
    assert [found[name] for name in ("public", "masks", "masked")] == [
        str(tmp_path / name) for name in ("pictures", "drawn", "all")
    ]


def test_an_attacker_makes_it_again_with_the_same_public_images_and_masks(tmp_path: Path) -> None:
    masks = np.random.default_rng(0).random((len(WHOLE), 8, 8)) < 0.5
    settings = {**TINY, "foreground": "L2", **with_masks(tmp_path, WHOLE, masks)}
    feeds = [WHOLE, WHOLE.take(np.arange(14))]
    found = pipeline.remade("spinml", settings, feeds, 0, "quick", "cpu")
    assert [len(images) for images in found] == [9, 9]
    others = pipeline.remade("spinml", {**settings, **with_masks(tmp_path, WHOLE, ~masks)}, feeds, 0, "quick", "cpu")
    assert found[0].digest != others[0].digest
