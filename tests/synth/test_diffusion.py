"""The diffusion model against its formulas, the sampler where the answer is known, and trainings that were stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from privaudit.accounting import GaussianSteps
from privaudit.attack import no_progress
from privaudit.calls import Surroundings, inside
from privaudit.images import Images
from privaudit.learning import checkpoint
from privaudit.learning.edm import DATA, as_images, losses
from privaudit.learning.gradient_canaries import GradientCanaries
from privaudit.learning.noisy_optimizer import NoisyOptimizer
from privaudit.synth.privimage import fine_tuning
from privaudit.synth.privimage.diffusion import Denoiser, Shape, new_denoiser, sampled
from privaudit.synth.privimage.fine_tuning import FineTuning, fine_tuned
from privaudit.synth.privimage.pretraining import pretrain_task

SHAPE = Shape(1, 2, (8, 16), 1)


def pictures(count: int = 6, size: int = 8) -> Images:
    rng = np.random.default_rng(3)
    return Images(rng.integers(0, 256, (count, size, size, 1), dtype=np.uint8), np.arange(count, dtype=np.int64) % 2)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_preconditioning_is_that_of_the_paper() -> None:
    """c_skip, c_out, c_in and c_noise of Karras et al. 2022, table 1."""
    model, noisy = new_denoiser(SHAPE, 0), torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise, labels = torch.tensor([0.01, 1.0, 30.0]), torch.tensor([0, 1, 2])
    s = noise[:, None, None, None]
    answer = model.unet(noisy / (s**2 + DATA**2).sqrt(), noise.log() / 4, class_labels=labels).sample
    expected = DATA**2 / (s**2 + DATA**2) * noisy + s * DATA / (s**2 + DATA**2).sqrt() * answer
    torch.testing.assert_close(model(noisy, noise, labels), expected)
    assert not torch.equal(model(noisy, noise, labels), model(noisy, noise, labels.flip(0)))


def test_sizes_that_do_not_halve_are_padded() -> None:
    model = new_denoiser(Shape(3, 2, (8, 16, 16), 1), 0)
    assert model(torch.zeros(2, 3, 9, 11), torch.ones(2), torch.tensor([0, 1])).shape == (2, 3, 9, 11)


def test_equal_seeds_give_equal_models_and_arrays_bring_them_back() -> None:
    first = new_denoiser(SHAPE, 4)
    assert torch.equal(weights(first), weights(new_denoiser(SHAPE, 4)))
    assert not torch.equal(weights(first), weights(new_denoiser(SHAPE, 5)))
    assert torch.equal(weights(first), weights(Denoiser.from_arrays(SHAPE, first.arrays())))


def test_the_loss_of_a_model_that_does_nothing_is_known() -> None:
    """What is left is the noise: weight x noise^2, (noise^2 + DATA^2) / DATA^2 at each level."""

    class Nothing(nn.Module):
        def forward(self, noisy: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
            self.noise = noise
            return noisy

    model, images = Nothing(), torch.zeros(4, 1, 64, 64)
    found = losses(model, images, torch.zeros(4, dtype=torch.int64), np.random.default_rng(0))
    torch.testing.assert_close(found, (model.noise**2 + DATA**2) / DATA**2, rtol=0.1, atol=0)
    levels = Nothing()
    losses(levels, torch.zeros(4000, 1, 1, 1), torch.zeros(4000, dtype=torch.int64), np.random.default_rng(0))
    assert float(levels.noise.log().mean()) == pytest.approx(-1.2, abs=0.06)
    assert float(levels.noise.log().std()) == pytest.approx(1.2, abs=0.05)


class Known(Denoiser):
    """A model of images whose pixels are independent: normal with this mean and this standard deviation."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__(SHAPE)
        self.mean, self.std = mean, std

    def raw(self, noisy: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        best = (self.std**2 * noisy + noise**2 * self.mean) / (self.std**2 + noise**2)
        kept, given = DATA**2 / (noise**2 + DATA**2), noise * DATA / (noise**2 + DATA**2).sqrt()
        return (best - kept * noisy) / given


@pytest.mark.parametrize(("mean", "std"), [(0.4, 0.0), (-0.2, 0.2)])
def test_the_best_denoiser_gives_back_the_images_it_knows(mean: float, std: float) -> None:
    found = sampled(Known(mean, std), np.zeros(8, np.int64), (16, 16), 50, np.random.default_rng(0), "cpu")
    assert found.shape == (8, 16, 16, 1)
    in_range = found / 127.5 - 1
    assert in_range.mean() == pytest.approx(mean, abs=0.02)
    assert in_range.std() == pytest.approx(std, abs=0.03)


def test_pixels_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = as_images(pixels, "cpu")
    assert (float(found.min()), float(found.max())) == (-1, 1)
    assert np.array_equal(((found + 1) * 127.5).round().permute(0, 2, 3, 1).numpy().astype(np.uint8), pixels)


def tuned(
    images: Images, steps: GaussianSteps, path: Path | None = None, progress: Any = no_progress, **changes: Any
) -> Tensor:
    asked = FineTuning(
        steps, **({"clip": 0.5, "divisor": 4.0, "learning_rate": 0.01, "multiplicity": 3, "average": 0.5} | changes)
    )
    model = fine_tuned(
        new_denoiser(SHAPE, 1), asked, images, randomness=9, device="cpu", progress=progress, checkpoint=path
    )
    return weights(model)


def test_an_images_gradient_is_that_of_its_mean_loss_over_the_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step without noise: gradients of two images, each cut, summed and divided, seen by the optimizer."""
    images, seen = pictures(2), list[Tensor]()
    step = torch.optim.Adam.step

    def kept(self: torch.optim.Adam, *given: Any, **named: Any) -> Any:
        seen.append(torch.cat([p.grad.flatten() for group in self.param_groups for p in group["params"]]))
        return step(self, *given, **named)

    monkeypatch.setattr(torch.optim.Adam, "step", kept)
    tuned(images, GaussianSteps(0.0, 1.0, 1))
    rng = np.random.default_rng([9, 0, 1])
    rng.random(2)  # the coins
    model = new_denoiser(SHAPE, 1)
    shown = as_images(images.pixels, "cpu").repeat_interleave(3, 0)
    found = losses(model, shown, torch.tensor([0, 0, 0, 1, 1, 1]), rng)
    total = torch.zeros(len(weights(model)))
    for image in (found[:3].mean(), found[3:].mean()):
        parts = torch.autograd.grad(image, list(model.parameters()), retain_graph=True)
        gradient = torch.cat([part.flatten() for part in parts])
        assert float(gradient.norm()) > 0.5
        total += gradient * (0.5 / float(gradient.norm()))
    torch.testing.assert_close(seen[0], total / 4, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("multiplicity", [1, 3])
def test_a_part_of_a_step_at_a_time_is_the_same_sum(multiplicity: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same levels of noise for every image, whatever part it is in; and no image gives more than the clip."""
    images, seen = pictures(), list[Tensor]()
    add_noise = NoisyOptimizer.add_noise

    def kept(self: NoisyOptimizer) -> None:
        seen.append(torch.cat([parameter.summed_grad.flatten() for parameter in self.params]))
        add_noise(self)

    def fixed(model: nn.Module, shown: Tensor, labels: Tensor, rng: np.random.Generator) -> Tensor:
        noisy = shown + 0.3 * shown.flip(2)
        level = torch.arange(len(shown)) % multiplicity + 1.0
        found: Tensor = model(noisy, level, labels)
        return (found - shown).square().mean((1, 2, 3))

    monkeypatch.setattr(NoisyOptimizer, "add_noise", kept)
    monkeypatch.setattr("privaudit.synth.privimage.fine_tuning.losses", fixed)
    steps = GaussianSteps(0.0, 1.0, 1)
    for at_once in (6, 4, 3, 1):
        monkeypatch.setattr(fine_tuning, "_AT_ONCE", at_once * multiplicity)
        tuned(images, steps, clip=1e-3, multiplicity=multiplicity)
    for other in seen[1:]:
        torch.testing.assert_close(other, seen[0], rtol=1e-3, atol=1e-8)
    seen.clear()
    tuned(images.take(slice(0, 1)), steps, clip=1e-3, multiplicity=multiplicity)
    assert float(seen[0].norm()) == pytest.approx(1e-3, rel=1e-2)


def test_noise_does_not_grow_with_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canaries see it: the noisy sums along them have the stated noise, in one part or in six."""
    for at_once in (6, 1):
        monkeypatch.setattr(fine_tuning, "_AT_ONCE", at_once)
        steps = GaussianSteps(2.0, 1.0, 4)
        asked = FineTuning(steps, 0.5, 4.0, 0.01, 1, 0.5)
        canaries = GradientCanaries(np.zeros(600, bool), steps, 0.5, 4.0, "cpu")
        fine_tuned(
            new_denoiser(SHAPE, 1),
            asked,
            pictures(),
            randomness=1,
            device="cpu",
            progress=no_progress,
            canaries=canaries,
        )
        assert canaries.sums.std() == pytest.approx(2.0 * 4**0.5, rel=0.12)


class _Stopped(Exception):
    pass


def stopping(after: float) -> Callable[[str, float], None]:
    def progress(stage: str, share: float) -> None:
        if share >= after:
            raise _Stopped

    return progress


def test_a_fine_tuning_that_was_stopped_takes_the_steps_it_lost_with_the_same_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is started again with other randomness, as secret noise is: what was begun is ended."""
    images, steps, path = pictures(), GaussianSteps(1.0, 0.5, 6), tmp_path / "unfinished"
    whole = tuned(images, steps)
    for every in (0.0, 1e9):  # kept after every step, or never
        monkeypatch.setattr(checkpoint, "SECONDS_TO_LOSE", every)
        with pytest.raises(_Stopped):
            tuned(images, steps, path, stopping(0.6))
        assert path.exists() == (every == 0)
        assert torch.equal(tuned(images, steps, path), whole)
        assert not path.exists()
    monkeypatch.setattr(checkpoint, "SECONDS_TO_LOSE", 0.0)
    with pytest.raises(_Stopped):
        tuned(images, steps, path, stopping(0.6))
    asked = FineTuning(steps, 0.5, 4.0, 0.01, 3, 0.5)
    taken: list[float] = []
    other = fine_tuned(
        new_denoiser(SHAPE, 1),
        asked,
        images,
        randomness=123,
        device="cpu",
        progress=lambda stage, share: taken.append(share),
        checkpoint=path,
    )
    assert torch.equal(weights(other), whole)
    assert taken == pytest.approx([5 / 6, 1.0])  # no step is forgotten, and none is taken twice


def test_a_pretraining_that_was_stopped_goes_on_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS_TO_LOSE", 0.0)
    images = pictures(12)
    inputs: dict[str, Any] = {
        "public": {"pixels": images.pixels, "labels": images.labels},
        "query": {"selected": np.array([[1], [0]])},
    }
    arguments = {
        "seed": 0,
        "device": "cpu",
        "shape": {"channels": 1, "classes": 2, "widths": [8, 16], "blocks": 1},
        "images": 24,
        "batch_size": 4,
        "learning_rate": 1e-3,
    }
    whole = pretrain_task(arguments, inputs)

    class Around(Surroundings):
        checkpoint = tmp_path / "unfinished"
        stop = 0.6

        def report(self, stage: str, share: float) -> None:
            if share >= self.stop:
                raise _Stopped

    around = Around()
    with inside(around), pytest.raises(_Stopped):
        pretrain_task(arguments, inputs)
    assert around.checkpoint.exists()
    around.stop = 2.0
    with inside(around):
        again = pretrain_task(arguments, inputs)
    assert again.keys() == whole.keys()
    assert all(np.array_equal(again[name], whole[name]) for name in whole)


@pytest.mark.slow
def test_it_learns_what_a_class_looks_like() -> None:
    """Black and white squares: after a short pretraining, samples of one class are brighter than those of the other."""
    pixels = np.concatenate([np.full((32, 8, 8, 1), 20, np.uint8), np.full((32, 8, 8, 1), 235, np.uint8)])
    labels = np.repeat(np.arange(2, dtype=np.int64), 32)
    arguments = {
        "seed": 0,
        "device": "cpu",
        "shape": {"channels": 1, "classes": 2, "widths": [8, 16], "blocks": 1},
        "images": 32 * 250,
        "batch_size": 32,
        "learning_rate": 3e-3,
    }
    inputs: dict[str, Any] = {
        "public": {"pixels": pixels, "labels": labels},
        "query": {"selected": np.array([[0], [1]])},
    }
    model = Denoiser.from_arrays(SHAPE, pretrain_task(arguments, inputs))
    found = sampled(model, np.repeat(np.arange(2), 8), (8, 8), 15, np.random.default_rng(0), "cpu")
    dark, bright = found[:8].mean(), found[8:].mean()
    assert dark < 80
    assert bright > 175
