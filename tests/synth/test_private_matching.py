"""BN matching with differential privacy: vectors of limited length, noise drawn once, the claim, and refusals."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_examples import made
from test_engine_contract import members
from torch.nn import functional

from privaudit import seeds
from privaudit.accounting import epsilon_spent
from privaudit.attack import Context
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Architecture, Network
from privaudit.learning.batches import as_float
from privaudit.learning.training import seeded
from privaudit.plugins import make_synthesizer
from privaudit.synth.bn_matching.embedding import Embedding, exact_sums, noisy_sums
from privaudit.synth.bn_matching.private import DPBNMatching

TINY: dict[str, Any] = {"epsilon": 8.0, "delta": 1e-3, "teacher_steps": 2, "steps": 2, "images_per_class": 3}


def network(side: int = 8) -> Network:
    with seeded(3):
        return Network(Architecture(name="convnet-groupnorm", channels=1, classes=4, side=side)).eval()


def test_vectors_by_hand() -> None:
    """The first layer: the convolution's 16 maps, normalised in eight groups, their means and mean squares."""
    net, images = network(), as_float(members(5).pixels, "cpu")
    with Embedding(net, 100.0, "cpu") as embedding:
        vectors, logits = embedding(images)
    assert embedding.size == 2 * (16 + 32)
    convolution = next(module for module in net.modules() if isinstance(module, torch.nn.Conv2d))
    maps = convolution((images - 0.5) / 0.5)
    grouped = maps.reshape(5, 8, -1)
    plain = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, keepdim=True, correction=0) + 1e-5).sqrt()
    plain = plain.reshape(maps.shape)
    found = vectors[:, :32] * embedding.size**0.5
    np.testing.assert_allclose(found[:, :16].detach(), plain.mean((2, 3)).detach(), atol=1e-5)
    np.testing.assert_allclose(found[:, 16:].detach(), plain.square().mean((2, 3)).detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logits.detach(), net(images).detach(), rtol=1e-5)
    assert not any(module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("length", [0.1, 1.0, 10.0])
def test_no_image_moves_the_sums_by_more_than_one(length: float) -> None:
    """Adding any image changes one row, by a vector of length 1 at most: 1 where it was cut, else less."""
    some = members(9)
    strange = [np.zeros((8, 8, 1)), np.full((8, 8, 1), 255), np.indices((8, 8)).sum(0)[..., None] % 2 * 255]
    with Embedding(network(), length, "cpu") as embedding:
        before = exact_sums(embedding, some, 4)
        for pixels in [*strange, *members(12).pixels[9:]]:
            added = concatenate([some, Images(pixels[None].astype(np.uint8), np.array([2]))])
            change = exact_sums(embedding, added, 4) - before
            assert not change[[0, 1, 3]].any()
            assert 0.7 < float(change.norm()) <= 1 + 1e-6


def test_without_noise_the_means_are_those_of_the_vectors() -> None:
    some = members(20)
    with Embedding(network(), 0.5, "cpu") as embedding:
        sums = noisy_sums(exact_sums(embedding, some, 4), 0.0, np.random.default_rng(0))
        vectors, _ = embedding(as_float(some.pixels, "cpu"))
    assert sums.counts.tolist() == pytest.approx(np.bincount(some.labels, minlength=4).tolist())
    for label in (0, 1, 3):
        mean = vectors[torch.from_numpy(some.labels == label)].mean(0) / 0.5
        np.testing.assert_allclose(sums.means[label], mean.detach(), rtol=1e-4, atol=1e-6)
    assert not sums.means[2].any()


def test_noise_has_the_stated_size() -> None:
    exact = torch.zeros(40, 301, dtype=torch.float64)
    found = noisy_sums(exact, 3.0, np.random.default_rng(1))
    assert float(found.sums.std()) == pytest.approx(3 * 2**0.5, rel=0.03)
    assert float(found.counts.std()) == pytest.approx(3 * 2**0.5, rel=0.4)


@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_teacher_and_statistics_keep_the_budget_together(epsilon: float) -> None:
    engine = DPBNMatching(epsilon=epsilon, delta=1e-5, teacher_steps=40)
    teacher, sums = engine.mechanisms("quick")
    assert (teacher.sampling_rate, teacher.steps) == (0.1, 40)
    assert epsilon_spent([sums], 1e-5) <= 0.3 * epsilon
    assert 0.98 * epsilon < epsilon_spent([teacher, sums], 1e-5) <= epsilon


def test_noise_is_drawn_once_per_store_whatever_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of all classes, a second run with other steps, and one with more images share one draw."""
    drawn: list[int] = []

    def bits(count: int) -> int:
        drawn.append(count)
        return 7 + len(drawn)

    monkeypatch.setattr(secrets, "randbits", bits)
    first = made(make_synthesizer("dp-bn-matching", TINY), members(), tmp_path)
    made(make_synthesizer("dp-bn-matching", TINY | {"steps": 3, "images_per_class": 5}), members(), tmp_path)
    assert drawn == [128]
    again = made(make_synthesizer("dp-bn-matching", TINY), members(), tmp_path)
    assert again.digest == first.digest
    other = made(make_synthesizer("dp-bn-matching", TINY), members(), tmp_path / "other")
    assert other.images.digest != first.images.digest
    assert len(drawn) == 2


def test_the_claim_says_what_was_done(tmp_path: Path) -> None:
    engine = DPBNMatching(**TINY, soft_labels=True)
    release = made(engine, members(), tmp_path)
    claim = release.claim
    assert claim is not None
    teacher, sums = engine.mechanisms("quick")
    assert claim.epsilon == epsilon_spent([teacher, sums], 1e-3)
    assert 7.8 < claim.epsilon <= 8
    assert (claim.delta, claim.unit, claim.adjacency) == (1e-3, "image", "add/remove")
    assert claim.mechanism["teacher_noise_multiplier"] == teacher.noise_multiplier
    assert claim.mechanism["teacher_divisor"] == 200.0
    assert claim.sampling.startswith("Poisson")
    assert np.bincount(release.images.labels).tolist() == [3, 3, 3, 3]
    assert release.soft_labels is not None
    np.testing.assert_allclose(release.soft_labels.sum(axis=1), 1, rtol=1e-5)


def test_seeded_noise_makes_no_claim(tmp_path: Path) -> None:
    engine = DPBNMatching(**TINY, noise="seeded")
    first = made(engine, members(), tmp_path / "one")
    assert first.claim is None
    assert made(engine, members(), tmp_path / "two").digest == first.digest


def test_secret_noise_needs_a_store() -> None:
    engine = DPBNMatching(**TINY)
    context = Context(seeds.generator(0, "unused"), effort="quick")
    with pytest.raises(RuntimeError, match="every part draws its own"):
        engine.make(engine.shards(members())[0], members(), context)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"epsilon": 3.0}, "epsilon is given without delta"),
        ({"delta": 1e-5}, "delta is given without epsilon"),
        ({"epsilon": -1.0, "delta": 1e-5}, "epsilon"),
        ({"epsilon": 1.0, "delta": 0.5}, "delta"),
    ],
)
def test_half_a_budget_is_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        make_synthesizer("dp-bn-matching", wrong)


def test_a_budget_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set epsilon and delta, for example --set epsilon=3"):
        made(make_synthesizer("dp-bn-matching", {}), members(), tmp_path)


def test_a_delta_that_gives_members_away_is_refused(tmp_path: Path) -> None:
    """A mechanism that publishes each member with probability delta would keep the claim."""
    some = members()
    wrong = make_synthesizer("dp-bn-matching", TINY | {"delta": 1.0 / len(some)})
    with pytest.raises(InputError, match="members to be released as it is: it must be below 1 / members"):
        made(wrong, some, tmp_path)


@pytest.mark.slow
def test_matching_comes_close_to_the_private_means(tmp_path: Path) -> None:
    """With next to no noise the images' mean vector lies nearer to their class's than to any other's."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (3, 8, 8, 1))
    labels = np.repeat(np.arange(3), 40)
    pixels = np.clip(base[labels] + rng.normal(0, 20, (120, 8, 8, 1)), 0, 255).astype(np.uint8)
    engine = DPBNMatching(
        epsilon=400.0,
        delta=1e-3,
        sampling_rate=0.5,
        divisor=60.0,
        teacher_steps=20,
        steps=80,
        images_per_class=10,
        roll=0,
    )
    some = Images(pixels, labels)
    release = made(engine, some, tmp_path)
    with Embedding(network(), 1.0, "cpu") as embedding:
        theirs, _ = embedding(as_float(some.pixels, "cpu"))
        mine, _ = embedding(as_float(release.images.pixels, "cpu"))
    means = [
        torch.stack([rows[torch.from_numpy(who == label)].mean(0) for label in range(3)])
        for rows, who in ((theirs, labels), (mine, release.images.labels))
    ]
    distances = torch.cdist(functional.normalize(means[1]), functional.normalize(means[0]))
    assert distances.argmin(1).tolist() == [0, 1, 2]
