"""The small model and Stable Diffusion: what edges and references change, and what they must not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from stable_diffusion_example import diffusers, write

from privaudit.calls import Surroundings, inside
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import checkpoint
from privaudit.store import Arrays
from privaudit.synth.spinml import stable_diffusion
from privaudit.synth.spinml.pixel_model import PixelModel, Shape, prompt, sampled
from privaudit.synth.spinml.pixel_training import _regions, edges_task, fine_tune_task, pretrain_task
from privaudit.synth.spinml.recomposition import Recomposition
from privaudit.synth.spinml.references import References
from privaudit.synth.spinml.vision import edges

ASKED: dict[str, Any] = {
    "seed": 0,
    "device": "cpu",
    "shape": {"channels": 1, "classes": 2, "edges": False},
    "batch_size": 8,
    "learning_rate": 1e-3,
    "images": 24,
}
STEERED = ASKED | {"shape": {"channels": 1, "classes": 2, "edges": True}}
SHOWN = ASKED | {"steps": 3, "foreground": True, "segmenter": "otsu"}


def pictures(count: int = 8, size: int = 8, channels: int = 1) -> Images:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % 2)


def arrays_of(images: Images) -> dict[str, Any]:
    return {"pixels": images.pixels, "labels": images.labels}


def shown(images: Images, where: NDArray[np.bool_]) -> dict[str, Any]:
    """References with these raw pixels."""
    return {
        "pixels": images.pixels * where[..., None],
        "shown": where,
        "edges": np.zeros_like(where),
        "labels": images.labels,
    }


@pytest.fixture(scope="module")
def base() -> Arrays:
    return pretrain_task(ASKED, {"public": arrays_of(pictures())})


def answer(arrays: Arrays, prompts: list[int], drawn: torch.Tensor | None = None) -> torch.Tensor:
    model = PixelModel.from_arrays(Shape(1, 2, drawn is not None), arrays).eval()
    noisy = torch.randn(len(prompts), 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return cast(torch.Tensor, model(noisy, torch.linspace(0.1, 5, len(prompts)), torch.tensor(prompts), drawn))


def test_prompts_are_classes_with_the_rare_token_or_none() -> None:
    labels = np.array([0, 2, -1])
    assert prompt(labels, 3).tolist() == [0, 2, 6]
    assert prompt(labels[:2], 3, rare=True).tolist() == [3, 5]


def test_the_rare_token_begins_as_nothing(base: Arrays) -> None:
    torch.testing.assert_close(answer(base, [2, 3]), answer(base, [0, 1]))
    assert not torch.equal(answer(base, [2, 3]), answer(base, [4, 4]))


def test_edges_change_nothing_before_they_were_learned(base: Arrays) -> None:
    drawn = torch.ones(2, 1, 8, 8)
    torch.testing.assert_close(answer(base, [0, 1], drawn), answer(base, [0, 1]), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(9, 11), (5, 5), (1, 3)])
def test_sizes_that_do_not_halve_are_padded(size: tuple[int, int]) -> None:
    model = PixelModel(Shape(3, 2, True))
    found = model(torch.zeros(2, 3, *size), torch.ones(2), torch.tensor([0, 1]), torch.zeros(2, 1, *size))
    assert found.shape == (2, 3, *size)


def test_learning_edges_leaves_the_model_as_it_is(base: Arrays) -> None:
    found = edges_task(STEERED, {"public": arrays_of(pictures()), "start": base})
    for name, value in base.items():
        np.testing.assert_array_equal(found[name], value)
    rows = found["control.class_embedding.weight"]
    np.testing.assert_array_equal(rows[2:4], rows[:2])  # with the rare token edges are followed as without
    assert not np.array_equal(rows[:2], base["unet.class_embedding.weight"][:2])
    drawn = torch.ones(2, 1, 8, 8)
    assert not torch.allclose(answer(found, [0, 1], drawn), answer(found, [0, 1], 0 * drawn), atol=1e-5)


@pytest.mark.parametrize("front", [True, False])
def test_only_what_is_shown_of_references_counts(front: bool, base: Arrays) -> None:
    """Whatever stood in hidden pixels: the model is the same; and it is not where a shown one changes."""
    asked = SHOWN | {"foreground": front}
    images, where = pictures(), np.random.default_rng(0).random((8, 8, 8)) < 0.5
    inputs = {"public": arrays_of(pictures()), "start": base}
    first = fine_tune_task(asked, inputs | {"references": shown(images, where)})
    hidden = shown(images, where) | {"pixels": np.where(where[..., None], images.pixels, 77).astype(np.uint8)}
    second = fine_tune_task(asked, inputs | {"references": hidden})
    changed = shown(images, where) | {"pixels": np.where(where[..., None], 255 - images.pixels, 0).astype(np.uint8)}
    third = fine_tune_task(asked, inputs | {"references": changed})
    for name, value in first.items():
        np.testing.assert_array_equal(second[name], value)
    assert any(not np.array_equal(third[name], value) for name, value in first.items())


def test_regions_are_of_any_share_and_smooth() -> None:
    found = _regions(np.random.default_rng(0), 600, (16, 16))
    shares = found.mean((1, 2))
    assert 0.25 < (shares == 1).mean() < 0.42
    assert np.quantile(shares[shares < 1], [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.1)
    part = found[(shares > 0.3) & (shares < 0.7)]
    assert (part[:, 1:] == part[:, :-1]).mean() > 0.85


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_reference_is_made_whole_with_an_object_of_a_public_image(front: bool, channels: int) -> None:
    """Private: a disc of 200 on 100. Public: squares of 250 on 10 and, of another class, on 60."""
    private, where = np.full((2, 16, 16, channels), 100, np.uint8), np.zeros((2, 16, 16), bool)
    where[:, 2:8, 2:8] = True
    private[where] = 200
    public = np.full((4, 16, 16, channels), 10, np.uint8)
    public[2:] = 60
    public[:, 6:12, 6:12] = 250
    labels = np.array([0, 1])
    shows = where if front else ~where
    references = References(private * shows[..., None], shows, np.zeros_like(where), labels)
    found = Recomposition(references, Images(public, np.array([0, 0, 1, 1])), front, "otsu")
    first, second = found.images(np.array([0, 1]), np.random.default_rng(0))
    if front:
        expected = [np.where(where[0][..., None], 200, ground) for ground in (10, 60)]
    else:
        over = np.zeros((16, 16, 1), bool)
        over[6:12, 6:12] = True
        expected = [np.where(over, 250, 100)] * 2  # and nothing of where the disc was
    np.testing.assert_array_equal(first, np.broadcast_to(expected[0], first.shape))
    np.testing.assert_array_equal(second, np.broadcast_to(expected[1], second.shape))


def test_references_that_show_all_are_whole() -> None:
    images = pictures()
    references = References(**shown(images, np.ones((8, 8, 8), bool)))
    found = Recomposition(references, pictures(), True, "otsu").images(np.arange(8), np.random.default_rng(0))
    np.testing.assert_array_equal(found, images.pixels)


def squares(count: int, size: int = 12) -> Images:
    """A bright square in the left or in the right half, wherever: no class tells."""
    rng = np.random.default_rng(5)
    pixels = np.full((count, size, size, 1), 30, np.uint8)
    for image in pixels:
        left, top = rng.integers(0, 2) * (size // 2) + 1, rng.integers(1, size - 5)
        image[top : top + 4, left : left + 4] = 220
    return Images(pixels, np.zeros(count, np.int64))


@pytest.mark.slow
def test_images_follow_the_edges_that_they_are_given() -> None:
    """The square is where its edges are; without edges it is on either side."""
    public = arrays_of(squares(256))
    asked = ASKED | {"images": 12_000, "batch_size": 32}
    start = pretrain_task(asked, {"public": public})
    found = edges_task(asked | {"shape": STEERED["shape"]}, {"public": public, "start": start})
    others = squares(40)
    model = PixelModel.from_arrays(Shape(1, 2, True), found)
    drawn = edges(others.pixels)
    made = sampled(model, np.zeros(40, np.int64), drawn, (12, 12), 15, np.random.default_rng(0), "cpu")
    right = [pixels[:, 6:].astype(float).mean() > pixels[:, :6].astype(float).mean() for pixels in (*others.pixels,)]
    follows = [pixels[:, 6:].astype(float).mean() > pixels[:, :6].astype(float).mean() for pixels in (*made,)]
    assert np.mean(np.array(right) == follows) > 0.9
    blind = sampled(model, np.zeros(40, np.int64), np.zeros_like(drawn), (12, 12), 15, np.random.default_rng(0), "cpu")
    guesses = [pixels[:, 6:].astype(float).mean() > pixels[:, :6].astype(float).mean() for pixels in (*blind,)]
    assert np.mean(np.array(right) == guesses) < 0.8


class _Stopped(Exception):
    pass


class _Once(Surroundings):
    """Stops a task after some share of it."""

    def __init__(self, path: Path, after: float) -> None:
        self.checkpoint, self.after = path, after

    def report(self, stage: str, share: float) -> None:
        if share >= self.after:
            raise _Stopped


@pytest.mark.parametrize("task", ["pretraining", "edges", "fine-tuning"])
def test_a_training_that_was_stopped_ends_the_same(
    task: str, base: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_TO_LOSE", 0.0)
    public = arrays_of(pictures())
    tasks: dict[str, tuple[Any, Any, Any]] = {
        "pretraining": (pretrain_task, ASKED, {"public": public}),
        "edges": (edges_task, STEERED, {"public": public, "start": base}),
        "fine-tuning": (
            fine_tune_task,
            SHOWN,
            {"public": public, "start": base, "references": shown(pictures(), np.ones((8, 8, 8), bool))},
        ),
    }
    function, asked, inputs = tasks[task]
    whole = function(asked, inputs)
    path = tmp_path / "unfinished"
    with inside(_Once(path, 0.5)), pytest.raises(_Stopped):
        function(asked, inputs)
    assert path.exists()
    with inside(_Once(path, 2.0)):
        again = function(asked, inputs)
    for name, value in whole.items():
        np.testing.assert_array_equal(again[name], value)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    model, control = write(tmp_path_factory.mktemp("diffusion"))
    return str(model), str(control)


LARGE: dict[str, Any] = {
    "seed": 0,
    "device": "cpu",
    "subjects": ["zero", "one"],
    "steps": 2,
    "batch_size": 2,
    "learning_rate": 1e-4,
}


def by_stable_diffusion(
    stored: tuple[str, str], drawn: NDArray[np.bool_] | None = None, weights: Arrays | None = None, **given: Any
) -> NDArray[np.uint8]:
    pipeline = stable_diffusion.pipeline_of(stored[0], None if drawn is None else stored[1], "cpu")
    if weights is not None:
        stable_diffusion.give_weights(pipeline, weights)
    asked = given.get("prompts", ["a photo of zero"] * 2)
    size = given.get("size", (8, 8, 3))
    return stable_diffusion.sampled(pipeline, asked, drawn, size, 2, 7.5, np.random.default_rng(0))


def test_stable_diffusion_is_asked_and_steered(stored: tuple[str, str]) -> None:
    plain = by_stable_diffusion(stored)
    assert plain.shape == (2, 8, 8, 3)
    assert not np.array_equal(plain[0], plain[1])
    np.testing.assert_array_equal(plain, by_stable_diffusion(stored))
    assert not np.array_equal(plain, by_stable_diffusion(stored, prompts=["a photo of sks one"] * 2))
    assert by_stable_diffusion(stored, size=(6, 7, 1)).shape == (2, 6, 7, 1)
    lines = np.zeros((2, 8, 8), bool)
    lines[:, 3] = True
    steered = by_stable_diffusion(stored, lines)
    assert steered.shape == plain.shape
    assert not np.array_equal(steered, by_stable_diffusion(stored, lines.transpose(0, 2, 1)))


def test_edges_are_not_lost_where_they_are_made_smaller() -> None:
    lines = np.zeros((64, 64), bool)
    lines[10:50, 21] = True
    small = stable_diffusion._enlarged(lines, 16)
    np.testing.assert_array_equal(np.flatnonzero(small.any(0)), [5])
    assert small[3:12, 5].all()
    assert stable_diffusion._enlarged(lines, 128).sum() == 4 * 40 * 255


def test_a_controlnet_of_another_model_is_refused(stored: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not whole|cannot read the model"):
        stable_diffusion.pipeline_of(stored[0], str(Path(stored[0]) / "unet"), "cpu")
    other = diffusers.UNet2DConditionModel.from_pretrained(stored[0], subfolder="unet", low_cpu_mem_usage=False)
    wider = diffusers.UNet2DConditionModel.from_config({**other.config, "block_out_channels": (8, 24)})
    diffusers.ControlNetModel.from_unet(wider, conditioning_embedding_out_channels=(8, 8)).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="belongs to another model: its block_out_channels"):
        stable_diffusion.pipeline_of(stored[0], str(tmp_path), "cpu")


def test_halved_weights_are_read_as_whole_ones(stored: tuple[str, str], tmp_path: Path) -> None:
    half = diffusers.StableDiffusionPipeline.from_pretrained(stored[0], low_cpu_mem_usage=False, safety_checker=None)
    half.to(torch.float16).save_pretrained(tmp_path / "half")
    found = stable_diffusion.pipeline_of(str(tmp_path / "half"), None, "cpu")
    kinds = {parameter.dtype for part in (found.unet, found.vae, found.text_encoder) for parameter in part.parameters()}
    assert kinds == {torch.float32}


@pytest.mark.parametrize("missing", ["tokenizer", "unet", "text_encoder"])
def test_folders_that_are_not_whole_are_refused(missing: str, stored: tuple[str, str], tmp_path: Path) -> None:
    shutil.copytree(stored[0], tmp_path / "part")
    shutil.rmtree(tmp_path / "part" / missing)
    with pytest.raises(InputError):
        stable_diffusion.pipeline_of(str(tmp_path / "part"), None, "cpu")


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_stable_diffusion_is_shown_references(prediction: str, tmp_path: Path) -> None:
    folders = tuple(str(path) for path in write(tmp_path, prediction))
    images, where = pictures(6, channels=3), np.random.default_rng(0).random((6, 8, 8)) < 0.5
    asked = LARGE | {"folder": folders[0]}
    tuned = stable_diffusion.fine_tune_task(asked, {"references": shown(images, where)})
    hidden = shown(images, where) | {"pixels": np.where(where[..., None], images.pixels, 9).astype(np.uint8)}
    again = stable_diffusion.fine_tune_task(asked, {"references": hidden})
    for name, value in tuned.items():
        np.testing.assert_array_equal(again[name], value)
    plain = stable_diffusion.pipeline_of(folders[0], None, "cpu").unet.state_dict()
    moved = [float((torch.from_numpy(tuned[name]) - value).abs().max()) for name, value in plain.items()]
    assert max(moved) == pytest.approx(2e-4, rel=0.1)  # two steps of Adam
    made = by_stable_diffusion((folders[0], folders[1]), weights=tuned)
    assert not np.array_equal(made, by_stable_diffusion((folders[0], folders[1])))


def test_stable_diffusion_learns_nothing_of_references_that_show_nothing(stored: tuple[str, str]) -> None:
    nothing = shown(pictures(4, channels=3), np.zeros((4, 8, 8), bool))
    tuned = stable_diffusion.fine_tune_task(LARGE | {"folder": stored[0]}, {"references": nothing})
    for name, value in stable_diffusion.pipeline_of(stored[0], None, "cpu").unet.state_dict().items():
        np.testing.assert_array_equal(tuned[name], value.numpy())


def test_the_digest_follows_the_weights(stored: tuple[str, str], tmp_path: Path) -> None:
    assert stable_diffusion.digest(stored[0]) == stable_diffusion.digest(stored[0])
    other, _ = write(tmp_path, "v_prediction")
    assert stable_diffusion.digest(str(other)) != stable_diffusion.digest(stored[0])


def test_folders_without_a_model_are_refused(tmp_path: Path, stored: tuple[str, str]) -> None:
    with pytest.raises(InputError, match=r"holds no model_index\.json: give a folder with Stable Diffusion"):
        stable_diffusion.digest(str(tmp_path))
    with pytest.raises(InputError, match=r"holds no config\.json: give a folder with a ControlNet"):
        stable_diffusion.controlnet_digest(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers"]}')
    with pytest.raises(InputError, match="diffusers cannot read the model in"):
        stable_diffusion.pipeline_of(str(tmp_path), None, "cpu")
