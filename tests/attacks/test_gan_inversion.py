"""gan-inversion: latents are optimised until the victim accepts an image; what is chosen is chosen by own losses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from privaudit import seeds
from privaudit.attack import Context, Evidence, Seen
from privaudit.attacks.gan_inversion import GanInversion, collaborative, inversion
from privaudit.attacks.gan_inversion.augmentation import transformed
from privaudit.attacks.gan_inversion.found import spread, spread_in_class
from privaudit.attacks.gan_inversion.inversion import Search, cross_entropy, invert, margin, poincare
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Recipe, accuracy, train
from privaudit.learning.generator import LATENT, random_latents
from privaudit.release import Release

BRIEF = Recipe(epochs=4, batch_size=16, optimizer="adamw", learning_rate=3e-3, precision="float32")


def dealt(seed: int, *counts: int) -> list[Images]:
    images = load("digits").images
    order = np.random.default_rng(seed).permutation(len(images))
    return [images.take(rows) for rows in np.split(order[: sum(counts)], np.cumsum(counts)[:-1])]


def noise(count: int, height: int, width: int, channels: int) -> Images:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count, dtype=np.int64) % 3)


def run(attack: GanInversion, release: Images, reference: Images | None, seed: int = 0) -> tuple[Seen, Evidence]:
    world = Context(seeds.generator(seed, "expose"), seed=seed, effort="quick")
    own = Context(seeds.generator(seed, "attack"), seed=seed, effort="quick", reference=reference)
    seen = attack.expose(Release(release), world)
    return seen, attack.attack(Seen(seen.arrays), release.take(slice(0, 0)), own)


# Known answers: a generator that can make every image of 8 x 8, and a classifier whose logit for a class is minus the
# squared distance from the template of the class.

TEMPLATES = torch.stack(
    [
        torch.linspace(0.2, 0.8, 64).view(1, 8, 8),
        torch.full((1, 8, 8), 0.5) + 0.3 * torch.eye(8),
        torch.linspace(0.7, 0.3, 8).repeat(8, 1)[None],
    ]
)


def any_image(latents: Tensor) -> Tensor:
    return latents.sigmoid().view(-1, 1, 8, 8)


def template_match(images: Tensor) -> Tensor:
    return -((images[:, None] - TEMPLATES) ** 2).sum((2, 3, 4))


@pytest.fixture
def no_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inversion, "transformed", lambda images, rng: images)


def brightest_inside(latents: Tensor) -> Tensor:
    """Every image in which one latent's length of contrast is enough: 8 x 8 around a half."""
    return (0.5 + 0.04 * latents).clamp(0, 1).view(-1, 1, 8, 8)


@pytest.mark.usefixtures("no_changes")
def test_the_template_of_each_class_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss is the squared distance itself; the templates lie where latents of their usual length, 8, reach."""
    rng = np.random.default_rng(7)
    pattern = random_latents(3, rng, "cpu")
    templates = brightest_inside(pattern * 8 / pattern.norm(dim=1, keepdim=True))

    def match(images: Tensor) -> Tensor:
        return -((images[:, None] - templates) ** 2).sum((2, 3, 4))

    monkeypatch.setitem(inversion.LOSSES, "poincare", lambda logits, targets: -logits.gather(1, targets[:, None])[:, 0])
    targets = torch.tensor([0, 0, 1, 2])
    found = invert(brightest_inside, match, targets, Search(2, 200, 8), "poincare", np.random.default_rng(0))
    assert float((found.images - templates[targets]).abs().max()) < 0.03
    assert float((found.images - templates[targets]).pow(2).mean().sqrt()) < 0.006


@pytest.mark.parametrize("loss", ["poincare", "margin", "cross-entropy"])
@pytest.mark.parametrize("restarts", [1, 3])
def test_more_steps_lower_the_loss_and_the_target_is_reached(loss: str, restarts: int) -> None:
    targets = torch.tensor([0, 1, 1, 2, 2])
    runs = [
        invert(any_image, template_match, targets, Search(restarts, steps, 4), loss, np.random.default_rng(1))
        for steps in (0, 20, 80)
    ]
    losses = [float(found.loss.mean()) for found in runs]
    assert losses[0] > losses[1] > losses[2]
    assert bool(runs[-1].accepted.all())
    assert runs[-1].images.shape == (5, 1, 8, 8)
    assert float(runs[-1].confidence.mean()) > float(runs[0].confidence.mean())


@pytest.mark.usefixtures("no_changes")
def test_restarts_are_chosen_by_the_attackers_own_loss() -> None:
    """Of eight latents for two targets the one with the smaller loss is kept, in the right place."""
    latents = random_latents(8, np.random.default_rng(2), "cpu")
    targets = torch.tensor([0, 2])
    found = inversion._chosen(any_image, template_match, latents, targets, 4, "cross-entropy", np.random.default_rng(0))
    losses = cross_entropy(template_match(any_image(latents)), targets.repeat(4)).view(4, 2)
    torch.testing.assert_close(found.loss, losses.amin(0))
    expected = latents.view(4, 2, LATENT)[losses.argmin(0), torch.arange(2)]
    torch.testing.assert_close(found.images, any_image(expected))


def test_starts_are_the_best_of_the_drawn_latents_and_none_is_used_twice() -> None:
    targets = torch.tensor([0, 0, 1])
    search = Search(3, 0, 50)
    kept = inversion.starts(any_image, template_match, targets, search, "cross-entropy", np.random.default_rng(3))
    drawn = random_latents(100, np.random.default_rng(3), "cpu")
    rows = torch.cdist(kept, drawn).argmin(1)
    assert len(set(rows.tolist())) == 9
    losses = cross_entropy(template_match(any_image(drawn)), torch.zeros(100, dtype=torch.int64))
    of_first = torch.tensor([rows[place] for place in range(9) if place % 3 != 2])
    assert set(of_first.tolist()) == set(losses.argsort()[:6].tolist())


def test_latents_keep_their_lengths() -> None:
    kept: list[Tensor] = []

    def watched(latents: Tensor) -> Tensor:
        kept.extend([latents.detach().clone()] if len(latents) == 2 else [])
        return any_image(latents)

    invert(watched, template_match, torch.tensor([0, 1]), Search(1, 30, 4), "poincare", np.random.default_rng(4))
    assert len(kept) == 31
    assert not torch.allclose(kept[0], kept[-1])
    torch.testing.assert_close(kept[0].norm(dim=1), kept[-1].norm(dim=1))


def test_poincare_falls_towards_the_corner_and_keeps_its_gradient() -> None:
    """The cross-entropy of a sure image has no gradient left, this loss has."""
    logits = torch.tensor([[30.0, 0.0, 0.0], [5.0, 5.0, 5.0], [0.0, 30.0, 0.0]], requires_grad=True)
    targets = torch.tensor([0, 0, 0])
    losses = poincare(logits, targets)
    assert losses.argsort().tolist() == [0, 1, 2]
    assert torch.isfinite(losses).all()
    sure = torch.tensor([[30.0, 1.0, 1.0]], requires_grad=True)
    (steep,) = torch.autograd.grad(poincare(sure, targets[:1]).sum(), sure)
    (flat,) = torch.autograd.grad(cross_entropy(sure, targets[:1]).sum(), sure)
    assert float(steep.abs().max()) > 1e6 * float(flat.abs().max())


def test_margin_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, -2.0], [0.5, 4.0, 3.0]])
    assert margin(logits, torch.tensor([0, 2])).tolist() == [-2.0, 1.0]


@pytest.mark.usefixtures("no_changes")
def test_more_copies_average_the_gradient_and_do_not_add_it_up() -> None:
    """Without changes all copies are equal: as many as there may be, the path is the same."""
    targets = torch.tensor([0, 1, 2])
    one, eight = (
        invert(any_image, template_match, targets, Search(2, 15, 4, copies), "margin", np.random.default_rng(6))
        for copies in (1, 8)
    )
    torch.testing.assert_close(one.images, eight.images, rtol=0, atol=1e-3)


@pytest.mark.usefixtures("no_changes")
def test_the_surest_restart_is_kept_even_where_probabilities_round_to_one() -> None:
    """Logits of 40 and 60 ahead are both certain in float32; the second is still the surer one."""
    latents = torch.zeros(2, LATENT)
    latents[1, 0] = 1.0

    def generate(rows: Tensor) -> Tensor:
        return rows.view(-1, 1, 8, 8)

    def classify(images: Tensor) -> Tensor:
        ahead = 40 + 20 * images[:, 0, 0, 0]
        return torch.stack([ahead, torch.zeros_like(ahead)], dim=1)

    targets = torch.tensor([0])
    found = inversion._chosen(generate, classify, latents, targets, 2, "poincare", np.random.default_rng(0))
    assert float(found.images[0, 0, 0, 0]) == 1.0


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    targets, search = torch.tensor([0, 1, 2]), Search(2, 10, 4)
    monkeypatch.setattr(inversion, "transformed", lambda images, rng: images)
    whole = invert(any_image, template_match, targets, search, "poincare", np.random.default_rng(5))
    monkeypatch.setattr(inversion, "_CHUNK_PIXELS", 200)
    parts = invert(any_image, template_match, targets, search, "poincare", np.random.default_rng(5))
    torch.testing.assert_close(whole.images, parts.images, rtol=0, atol=1e-4)


# Parts.


def test_changes_keep_shapes_and_gradients() -> None:
    rng = np.random.default_rng(0)
    images = torch.rand(5, 3, 9, 20, requires_grad=True)
    changed = transformed(images, rng)
    assert changed.shape == images.shape
    (gradient,) = torch.autograd.grad(changed.sum(), images)
    assert float(gradient.abs().sum()) > 0


def test_changes_keep_what_is_in_the_middle_and_lose_at_most_a_fifth() -> None:
    """A ramp from 0 to 1: its ends are cut by at most a fifth of the side and it stays within the range."""
    image = torch.linspace(0, 1, 16).expand(1, 1, 16, 16)
    rng = np.random.default_rng(0)
    seen = torch.stack([transformed(image, rng)[0, 0] for _ in range(200)])
    assert 0 <= float(seen.min()) <= float(seen.max()) <= 1
    lowest, highest = (seen.flatten(1).min(1).values, seen.flatten(1).max(1).values)
    assert float((highest - lowest).min()) >= 0.75
    assert float((highest - lowest).max()) > float((highest - lowest).min())
    assert not torch.equal(seen[0], seen[1])


def test_a_turn_of_a_long_image_keeps_angles() -> None:
    """A line that is turned by at most 5 degrees rises by at most 9 in 100, whatever the sides of the image."""
    image = torch.zeros(1, 1, 11, 101)
    image[0, 0, 5] = 1
    rng = np.random.default_rng(1)
    columns = torch.arange(11.0)[:, None]
    steepest = 0.0
    for _ in range(50):
        seen = transformed(image, rng)[0, 0]
        height = (seen * columns).sum(0) / seen.sum(0).clamp_min(1e-6)
        middle = height[40:61]
        steepest = max(steepest, abs(float(middle[-1] - middle[0])) / 20)
    assert 0.03 < steepest < 0.12


def test_targets_are_spread_equally() -> None:
    assert spread(np.array([2, 5]), 5).tolist() == [2, 2, 2, 5, 5]
    assert spread(np.arange(10), 3).tolist() == [0, 1, 2]


def test_spread_in_class_is_none_for_a_prototype_and_one_for_images_like_any_other() -> None:
    images, others = dealt(0, 400, 400)
    means = [images.pixels[images.labels == label].mean(0).round().astype(np.uint8) for label in range(10)]
    assert spread_in_class(Images(np.stack(means), np.arange(10)), images) < 0.01
    assert spread_in_class(others, images) == pytest.approx(1, abs=0.07)


# The attack.


def test_reach() -> None:
    assert [GanInversion().reach(count) for count in (10, 64, 5000)] == [10, 64, 64]
    assert GanInversion(images=20).reach(5000) == 20


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit.attacks import gan_inversion

    spending = gan_inversion.Spending(4, Search(2, 2, 4), 3, 16)
    monkeypatch.setattr(collaborative, "_FIRST_BATCHES", 2)
    monkeypatch.setattr(gan_inversion, "SPENDING", dict.fromkeys(("quick", "standard", "thorough"), spending))


@pytest.mark.usefixtures("few_steps")
@pytest.mark.parametrize("variant", ["inversion", "collaborative"])
@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (9, 21, 1)])
def test_any_size_works_with_equal_bits(variant: str, height: int, width: int, channels: int) -> None:
    attack = GanInversion.model_validate({"variant": variant, "victim": BRIEF, "images": 20})
    images = noise(24, height, width, channels)
    (seen, found), (_, again) = (run(attack, images, images) for _ in range(2))
    recovered, copy = found.recovered, again.recovered
    assert recovered is not None
    assert copy is not None
    assert recovered.size == images.size
    assert len(recovered) == 20
    np.testing.assert_array_equal(recovered.pixels, copy.pixels)
    assert found.victim is not None
    np.testing.assert_array_equal(found.victim, recovered.labels)
    assert np.bincount(recovered.labels).tolist() == [7, 7, 6]
    assert all(np.isfinite(value) for value in found.diagnostics.values())
    assert seen.source is not None
    np.testing.assert_array_equal(seen.source.victim, images.labels)


@pytest.mark.usefixtures("few_steps")
def test_images_of_the_attackers_own_are_needed_for_inversion_only() -> None:
    images = noise(24, 8, 8, 1)
    with pytest.raises(InputError, match="--reference"):
        run(GanInversion(victim=BRIEF), images, None)
    run(GanInversion(variant="collaborative", victim=BRIEF), images, None)


@pytest.mark.usefixtures("few_steps")
def test_the_release_does_not_reach_the_attacker() -> None:
    images = noise(24, 8, 8, 1)
    for variant in ("inversion", "collaborative"):
        seen, _ = run(GanInversion.model_validate({"variant": variant, "victim": BRIEF}), images, images)
        kept = {name.partition(": ")[0] for name in seen.arrays}
        assert kept <= {"model", "targets", "size", "loss", *(f"generator {label}" for label in range(3))}
        assert all(images.pixels.tobytes() not in array.tobytes() for array in seen.arrays.values())


@pytest.mark.slow
def test_digits_are_accepted_by_victim_and_by_a_stranger() -> None:
    """A classifier of another architecture, trained on other digits, reads the recovered ones as they were meant."""
    release, reference, others = dealt(2, 450, 200, 700)
    attack = GanInversion()
    world = Context(seeds.generator(0, "expose"), seed=0)
    own = Context(seeds.generator(0, "attack"), seed=0, reference=reference)
    seen = attack.expose(Release(release), world)
    found = attack.attack(Seen(seen.arrays), others.take(slice(0, 0)), own)
    assert found.diagnostics["share accepted"] > 0.95
    recipe = Recipe(network="resnet20", epochs=12, batch_size=32, optimizer="adamw", learning_rate=3e-3)
    judge = train(recipe, others, 10, 1)
    assert found.recovered is not None
    assert accuracy(judge, found.recovered) > 0.9
