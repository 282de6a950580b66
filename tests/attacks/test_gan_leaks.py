"""gan-leaks: what a generator trained on the release can make, and one trained on strangers' images cannot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.stats import mannwhitneyu
from torch import Tensor

from privaudit import seeds
from privaudit.attack import Context, Effort, Evidence, Seen, holds_release, trains
from privaudit.attacks import gan_leaks
from privaudit.attacks.gan_leaks import GanLeaks, Spending
from privaudit.attacks.gan_leaks.reconstruction import on_sphere, reconstructing_generator
from privaudit.attacks.gan_leaks.search import made_images, reconstruction_errors
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning.batches import as_float
from privaudit.learning.generator import LATENT, Generator, random_latents
from privaudit.release import Release


def dealt(seed: int, *counts: int) -> list[Images]:
    images = load("digits").images
    order = np.random.default_rng(seed).permutation(len(images))
    return [images.take(rows) for rows in np.split(order[: sum(counts)], np.cumsum(counts)[:-1])]


def scored(
    attack: GanLeaks,
    release: Images,
    suspects: Images,
    reference: Images | None,
    seed: int = 0,
    effort: Effort = "quick",
) -> Evidence:
    seen = attack.expose(Release(release), Context(seeds.generator(seed, "expose"), seed=seed, effort=effort))
    own = Context(seeds.generator(seed, "attack"), seed=seed, effort=effort, reference=reference)
    return attack.attack(Seen(seen.arrays), suspects, own)


def scores(*arguments: object, **settings: object) -> np.ndarray:
    found = scored(*arguments, **settings).scores  # type: ignore[arg-type]
    assert found is not None
    return found


def probability(members: np.ndarray, controls: np.ndarray) -> float:
    """That chance alone ranks members so far above controls."""
    return float(mannwhitneyu(members, controls, alternative="greater").pvalue)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    spending = Spending(1, 6, 6, 4, 1, 2, 32)
    monkeypatch.setattr(gan_leaks, "SPENDING", dict.fromkeys(("quick", "standard", "thorough"), spending))


# The search, with a generator whose images are known.


class Ramp(torch.nn.Module):
    """Images of 8 x 8 of a single grey value: a half, plus a tenth of the first number of the latent."""

    def forward(self, latents: Tensor) -> Tensor:
        return (0.5 + latents[:, :1] / 10).clamp(0, 1)[:, :, None, None].expand(-1, 1, 8, 8)


def grey(values: Sequence[int]) -> Images:
    pixels = np.array(values, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2)
    return Images(pixels, np.zeros(len(values), np.int64))


def starts(*firsts: float) -> Tensor:
    """Latents on the sphere with these first numbers."""
    latents = torch.zeros(len(firsts), LATENT)
    latents[:, 0] = torch.tensor(firsts)
    latents[:, 1] = (LATENT - latents[:, 0] ** 2).sqrt()
    return latents


def test_without_steps_the_error_is_that_of_the_nearest_start() -> None:
    """Grey values .5 and .9 are made; 102 and 255 are .4 and 1: errors .1 and .1, squared."""
    generator: object = Ramp()
    errors = reconstruction_errors(generator, starts(0.0, 4.0), grey([102, 255]), 2, 0, "cpu")  # type: ignore[arg-type]
    np.testing.assert_allclose(errors, [0.01, 0.01], rtol=1e-4)


def test_steps_lower_the_error_and_the_best_on_the_way_counts() -> None:
    generator: object = Ramp()
    found = [
        reconstruction_errors(generator, starts(0.0, 4.0), grey([102, 153]), 1, steps, "cpu")  # type: ignore[arg-type]
        for steps in (0, 5, 200)
    ]
    assert (found[0] > found[1]).all()
    assert (found[1] > found[2]).all()
    assert found[2].max() < 1e-5


def test_more_restarts_are_never_worse() -> None:
    generator = Generator((8, 8, 1), 8).eval().requires_grad_(False)
    latents = on_sphere(random_latents(40, np.random.default_rng(0), "cpu"))
    (images,) = dealt(0, 12)
    images = Images(np.ascontiguousarray(images.pixels[:, ::2, ::2]), images.labels)
    one, three = (reconstruction_errors(generator, latents, images, count, 4, "cpu") for count in (1, 3))
    assert (three <= one + 1e-7).all()
    assert reconstruction_errors(generator, latents, images.take(slice(0, 0)), 1, 4, "cpu").shape == (0,)


def test_the_sphere() -> None:
    latents = on_sphere(torch.tensor([[3.0] + [0.0] * 63, [1.0] * 64]))
    torch.testing.assert_close(latents.norm(dim=1), torch.tensor([8.0, 8.0]))
    torch.testing.assert_close(latents[0, 0], torch.tensor(8.0))


# The generator.


def test_a_generator_reconstructs_what_it_was_trained_on_and_says_how_well() -> None:
    (images,) = dealt(1, 48)
    generator, latents, loss = reconstructing_generator(images, 120, 3, "cpu")
    assert latents.shape == (48, LATENT)
    torch.testing.assert_close(latents.norm(dim=1), torch.full((48,), 8.0))
    squares = (made_images(generator, latents) - as_float(images.pixels, "cpu").flatten(1)).square().mean(1)
    assert float(squares.mean()) == pytest.approx(loss, rel=1e-4)
    assert loss < 0.1 * float(as_float(images.pixels, "cpu").var())


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    (images,) = dealt(2, 20)
    first, again, other = (reconstructing_generator(images, 4, seed, "cpu") for seed in (1, 1, 2))
    assert torch.equal(first[1], again[1])
    for name, value in first[0].arrays().items():
        np.testing.assert_array_equal(value, again[0].arrays()[name])
    assert not torch.equal(first[1], other[1])


# The attack.


def test_it_trains_and_holds_the_release() -> None:
    assert trains(GanLeaks())
    assert holds_release(GanLeaks())
    assert GanLeaks().reach(500) is None


def test_originals_are_found() -> None:
    """450 digits of which 150 are released, beside 600 strangers' digits."""
    members, controls, reference = dealt(3, 450, 600, 150)
    found = scores(GanLeaks(), members.take(slice(0, 150)), concatenate([members, controls]), reference)
    ours, theirs = found[:150], found[450:]
    assert (ours > np.sort(theirs)[-7]).mean() > 0.7
    assert probability(found[:450], theirs) < 1e-6


def test_mirrored_originals_are_found() -> None:
    members, controls, reference = dealt(4, 100, 300, 100)
    mirrored = Images(np.ascontiguousarray(members.pixels[:, :, ::-1]), members.labels)
    found = scores(GanLeaks(), mirrored, concatenate([members, controls]), reference)
    assert (found[:100] > np.sort(found[100:])[-4]).mean() > 0.7


@pytest.mark.slow
def test_strangers_images_raise_no_alarm() -> None:
    """Chance alone is below .01 once in a hundred: three seeds of ten would be an attack that cries wolf."""
    alarms = 0
    for seed in range(10):
        members, controls, reference, release = dealt(10 + seed, 400, 600, 150, 200)
        found = scores(GanLeaks(), release, concatenate([members, controls]), reference, seed)
        alarms += probability(found[:400], found[400:]) < 0.01
    assert alarms < 3


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("generator", ["reconstructing", "adversarial"])
@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (9, 21, 1)])
def test_any_size_works_with_equal_bits(generator: str, height: int, width: int, channels: int) -> None:
    rng = np.random.default_rng(0)
    images = Images(rng.integers(0, 256, (24, height, width, channels), dtype=np.uint8), np.arange(24) % 3)
    attack = GanLeaks.model_validate({"generator": generator})
    first, again = (scored(attack, images.take(slice(0, 12)), images, images.take(slice(12, 24))) for _ in range(2))
    assert first.scores is not None
    assert again.scores is not None
    np.testing.assert_array_equal(first.scores, again.scores)
    assert np.isfinite(first.scores).all()
    assert sorted(first.diagnostics) == ["error of the generator, own images", "error of the generator, release"]


@pytest.mark.usefixtures("few_steps")
def test_calibrations_agree_on_the_sign() -> None:
    """The logarithm of a ratio is positive where the difference is; the mirror image may take the maximum elsewhere."""
    (images,) = dealt(5, 60)
    symmetric = Images(np.ascontiguousarray(images.pixels // 2 + images.pixels[:, :, ::-1] // 2), images.labels)
    ratio, difference = (
        scores(GanLeaks.model_validate({"calibration": name}), symmetric.take(slice(0, 20)), symmetric, images)
        for name in ("ratio", "difference")
    )
    np.testing.assert_array_equal(ratio > 0, difference > 0)


@pytest.mark.usefixtures("few_steps")
def test_images_of_the_attackers_own_are_needed() -> None:
    (images,) = dealt(6, 12)
    for reference in (None, images.take(slice(0, 1))):
        with pytest.raises(InputError, match="--reference"):
            scored(GanLeaks(), images, images, reference)


def test_settings_are_checked() -> None:
    for wrong in ({"generator": "vae"}, {"calibration": "none"}, {"restarts": 0}, {"steps": -1}):
        with pytest.raises(ValidationError):
            GanLeaks.model_validate(wrong)
