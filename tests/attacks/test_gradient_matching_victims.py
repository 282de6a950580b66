"""What victims of gradient-matching send, under every setting, and what the attacker makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from privaudit import seeds
from privaudit.attack import Context, Evidence, Seen
from privaudit.attacks.gradient_matching import GradientMatching, labels, victim
from privaudit.attacks.gradient_matching.gradients import batch_gradient, prepared
from privaudit.attacks.gradient_matching.sending import (
    batch_statistics,
    local_update,
    private_gradient,
    statistics_distance,
)
from privaudit.images import Images
from privaudit.learning import Architecture, Network
from privaudit.release import Release


def noise(count: int = 12, classes: int = 3) -> Images:
    pixels = np.random.default_rng(3).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return Images(pixels, np.arange(count) % classes)


def linear(classes: int = 2) -> Network:
    """Logits W x of 64 pixels, W = 0: both classes are equally likely at first."""
    network = Network(Architecture(name="mlp", channels=1, classes=classes, side=8))
    layer = nn.Linear(64, classes, bias=False)
    nn.init.zeros_(layer.weight)
    network.body = nn.Sequential(nn.Flatten(), layer)
    return network.eval()


def convnet() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(Architecture(name="convnet", channels=1, classes=3, side=8)).eval()


def played(attack: GradientMatching, release: Images) -> tuple[dict[str, Any], Evidence]:
    context = Context(seeds.generator(0, "both"), effort="quick")
    seen = attack.expose(Release(release), context)
    return dict(seen.arrays), attack.attack(Seen(seen.arrays), release.take(slice(0, 0)), context)


def test_two_local_steps_by_hand() -> None:
    """One pixel is 1 and W = 0. p = 1/2, so the first gradient is (-1/2, 1/2) there; after a step of rate 2 the logits
    are 1 and -1, so the second is (s - 1, 1 - s) with s = 1 / (1 + exp(-2)). Their mean is sent."""
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 0, 0] = 1
    sent = local_update(linear(), image, torch.tensor([0]), 2, 2.0)[0][:, 0]
    second = 1 / (1 + np.exp(-2)) - 1
    assert sent.tolist() == pytest.approx([(-0.5 + second) / 2, (0.5 - second) / 2], rel=1e-5)


def test_one_local_step_is_the_gradient_and_several_differ() -> None:
    ready, images, numbers = prepared(convnet(), "evaluation", "cpu"), torch.randn(2, 1, 8, 8), torch.tensor([0, 1])
    alone = batch_gradient(ready, images, numbers)
    for one, other in zip(local_update(ready, images, numbers, 1, 0.5), alone, strict=True):
        assert torch.equal(one, other)
    # The first of many tiny steps are all the same gradient.
    tiny = local_update(ready.double(), images.double(), numbers, 3, 1e-6)
    for one, other in zip(tiny, alone, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=1e-2, atol=1e-4)


def test_local_steps_are_differentiable_through_all_steps() -> None:
    ready = linear().double()
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)

    def length(some: Tensor) -> Tensor:
        return local_update(ready, some, torch.tensor([1]), 3, 0.7, differentiable=True)[0].square().sum()

    assert torch.autograd.gradcheck(length, (image,))


@pytest.mark.parametrize("mode", ["evaluation", "training"])
def test_local_steps_leave_the_network_alone(mode: Any) -> None:
    ready = prepared(convnet(), mode, "cpu")
    before = {name: value.clone() for name, value in ready.named_parameters()}
    buffers = {name: value.clone() for name, value in ready.named_buffers()}
    local_update(ready, torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]), 3, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in ready.named_parameters())
    assert all(torch.equal(value, buffers[name]) for name, value in ready.named_buffers())


def test_clipping_bounds_what_one_image_can_do() -> None:
    """Each image adds at most clip_norm / batch size; gradients that are shorter stay as they are."""
    ready, images, numbers = prepared(convnet(), "evaluation", "cpu"), torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 2])
    generator = torch.Generator().manual_seed(0)

    def sent(rows: slice, clip: float) -> Tensor:
        parts = private_gradient(ready, images[rows], numbers[rows], clip, 0.0, generator)
        return torch.cat([part.flatten() for part in parts])

    both, one = sent(slice(0, 3), 0.1), sent(slice(0, 2), 0.1)
    assert float((3 * both - 2 * one).norm()) <= 0.1 * (1 + 1e-4)
    assert float(sent(slice(0, 1), 0.1).norm()) == pytest.approx(0.1, rel=1e-4)
    whole = torch.cat([part.flatten() for part in batch_gradient(ready, images, numbers)])
    torch.testing.assert_close(sent(slice(0, 3), 1e6), whole, rtol=1e-3, atol=1e-5)


def test_noise_has_the_standard_deviation_that_is_promised() -> None:
    """Of the sum: noise_multiplier * clip_norm; of the mean over four images: a quarter of it."""
    ready, images = prepared(convnet(), "evaluation", "cpu"), torch.randn(4, 1, 8, 8)
    numbers, generator = torch.tensor([0, 1, 2, 0]), torch.Generator().manual_seed(0)
    clean, noisy = (
        torch.cat([part.flatten() for part in private_gradient(ready, images, numbers, 0.5, factor, generator)])
        for factor in (0.0, 2.0)
    )
    assert float((noisy - clean).std()) == pytest.approx(2.0 * 0.5 / 4, rel=0.02)


def test_statistics_by_hand() -> None:
    """Two images of one grey each through a BatchNorm: mean 2 and variance 1 of the values 1 and 3."""
    network = linear()
    network.body = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2))
    images = torch.stack([torch.full((1, 8, 8), level) for level in (1.0, 3.0)])
    (found,) = batch_statistics(network, images).values()
    assert found.tolist() == [[2.0], [1.0]]


def test_statistics_are_sent_or_not() -> None:
    release = noise()
    shown = {}
    for statistics in ("sent", "not-sent"):
        attack = GradientMatching(
            batch_norm="training", statistics=statistics, victims=2, batch_size=4, iterations=1, restarts=1
        )
        arrays, _ = played(attack, release)
        shown[statistics] = sorted(name for name in arrays if name.startswith("statistics "))
        if statistics == "sent":
            seen = victim.observed(arrays, "training", "cpu", attack.sending)
            exposed = attack.expose(Release(release), Context(seeds.generator(0, "both")))
            assert exposed.source is not None
            true = release.take(exposed.source.rows).pixels / 255
            mean, std = (part.numpy() for part in (seen.network.mean, seen.network.std))
            images = torch.from_numpy((true.transpose(0, 3, 1, 2) - mean) / std).float()
            assert statistics_distance(seen, images).max() < 1e-4
            assert statistics_distance(seen, images.flip(0)).min() > 1e-2
    assert len(shown["sent"]) == 2
    assert not shown["not-sent"]


def test_labels_that_are_known_are_shown_and_used() -> None:
    release = noise()
    for known in ("known", "inferred"):
        attack = GradientMatching(labels=known, victims=3, batch_size=3, iterations=1, restarts=1)
        arrays, evidence = played(attack, release)
        assert (victim.LABELS in arrays) == (known == "known")
        if known == "known":
            assert evidence.recovered is not None
            assert evidence.recovered.labels.tolist() == arrays[victim.LABELS].ravel().tolist()


def test_labels_that_no_certified_image_accounts_for() -> None:
    known = torch.tensor([[0, 1, 1], [2, 2, 0]])
    assert labels.unaccounted(known, torch.tensor([[1], [2]])).tolist() == [[0, 1], [2, 0]]
    # A label that was not in the batch takes none away: the number of those left stays right.
    assert labels.unaccounted(known, torch.tensor([[2], [2]])).tolist() == [[0, 1], [2, 0]]


@pytest.mark.parametrize(
    "settings",
    [
        {"local_steps": 2, "batch_size": 2},
        {"local_steps": 2, "batch_size": 2, "batch_norm": "training"},
        {"clip_norm": 1.0, "noise_multiplier": 0.5, "batch_size": 2},
        {"batch_norm": "training", "statistics": "sent", "batch_size": 3, "labels": "known"},
        {"objective": "l2", "restarts": 2, "consensus": 0.1, "pixel_norm": 0.01},
        {"objective": "layer-cosine", "optimiser": "adam", "schedule": "steps", "precision": "bfloat16"},
        {"algorithm": "deep-leakage", "labels": "known", "batch_size": 2},
        {"algorithm": "deep-leakage", "local_steps": 2, "restarts": 2},
    ],
)
def test_every_setting_runs_twice_with_the_same_bits(settings: dict[str, Any]) -> None:
    attack = GradientMatching(victims=2, iterations=2, **settings)
    one, other = (played(attack, noise())[1] for _ in range(2))
    assert one.recovered is not None
    assert other.recovered is not None
    assert len(one.recovered) == 2 * attack.batch_size
    assert np.array_equal(one.recovered.pixels, other.recovered.pixels)
    assert one.diagnostics == other.diagnostics
    assert all(np.isfinite(value) for value in one.diagnostics.values())


def test_noise_hides_what_clipping_alone_does_not() -> None:
    """A defence that is measured: the certificate of an exact inversion refuses a gradient with noise."""
    shares = {}
    for multiplier in (0.0, 1.0):
        attack = GradientMatching(
            network="mlp", victims=4, clip_norm=1e6, noise_multiplier=multiplier, iterations=1, restarts=1
        )
        shares[multiplier] = played(attack, noise())[1].diagnostics["share certified"]
    assert shares == {0.0: 1.0, 1.0: 0.0}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"noise_multiplier": 1.0}, "set clip_norm too"),
        ({"statistics": "sent"}, "batch_norm 'training' and one local step only"),
        ({"statistics": "sent", "batch_norm": "training", "local_steps": 2}, "one local step only"),
        ({"clip_norm": 1.0, "batch_norm": "training"}, "batch_norm 'evaluation'"),
        ({"clip_norm": 1.0, "local_steps": 3}, "one local step only"),
        ({"algorithm": "deep-leakage", "objective": "l2"}, "leave objective out"),
        ({"algorithm": "deep-leakage", "precision": "bfloat16"}, "leave precision out"),
        ({"consensus": 0.1, "restarts": 1}, "set restarts to 2 or more"),
        ({"inputs": "unit", "epochs": 2}, "set epochs to 0"),
    ],
)
def test_settings_that_mean_nothing_say_what_to_do(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        GradientMatching.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "each batch has 1 image, and one gradient is sent"),
        ({}, "He infers the labels."),
        ({}, "one gradient is sent for it, in float32"),
        ({"gradient_precision": "float64"}, "in float64"),
        ({}, "it is fed standardised pixels"),
        ({"inputs": "unit"}, "it is fed pixels from 0 to 1"),
        ({"labels": "known"}, "He knows the labels."),
        ({"batch_size": 8}, "each batch has 8 images"),
        ({"epochs": 0}, "is fresh, with BatchNorm, where it has any, in evaluation mode;"),
        ({"epochs": 1}, "trained for 1 epoch,"),
        ({"network": "resnet20"}, "The network ('resnet20')"),
        ({"batch_norm": "training"}, "in training mode and the statistics of the batch not sent;"),
        ({"batch_norm": "training", "statistics": "sent"}, "the statistics of the batch sent;"),
        ({"local_steps": 5, "local_learning_rate": 0.1}, "the change after 5 local steps of rate 0.1 is sent"),
        ({"clip_norm": 2.0}, "each image's gradient is clipped to 2, with no noise."),
        ({"clip_norm": 2.0, "noise_multiplier": 0.5}, "with noise of 0.5 times that."),
    ],
)
def test_threat_model_names_the_settings(settings: dict[str, Any], words: str) -> None:
    attack = GradientMatching.model_validate(settings)
    assert words in attack.threat_model
    assert attack.threat_model.startswith(str(GradientMatching.threat_model))


def test_repeated_and_taken_victims_keep_what_belongs_to_them() -> None:
    attack = GradientMatching(batch_norm="training", statistics="sent", labels="known", victims=3, batch_size=2)
    seen = attack.expose(Release(noise()), Context(seeds.generator(0, "both")))
    found = victim.observed(seen.arrays, "training", "cpu", attack.sending)
    twice = found.repeated(2).take(slice(4, 5))
    assert found.known is not None
    assert twice.known is not None
    assert torch.equal(twice.known, found.known[1:2])
    for name, gradient in found.gradients.items():
        assert torch.equal(twice.gradients[name], gradient[1:2])
    for name, sent in found.statistics.items():
        assert torch.equal(twice.statistics[name], sent[1:2])
    assert replace(found, known=None).take(slice(0, 1)).known is None
