"""gradient-matching: what the victim shows, what the attacker makes of it, and what neither does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from privaudit import seeds
from privaudit.attack import Attack, Context, Evidence, Seen, Sight, Source
from privaudit.attacks.gradient_matching import SPENT, GradientMatching, victim
from privaudit.closeness import closeness
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images, concatenate
from privaudit.learning import Network
from privaudit.release import Release


def dealt(seed: int, *counts: int) -> list[Images]:
    images = load("digits").images
    order = np.random.default_rng(seed).permutation(len(images))
    return [images.take(rows) for rows in np.split(order[: sum(counts)], np.cumsum(counts)[:-1])]


def noise(count: int = 12, height: int = 8, width: int = 8, channels: int = 1, classes: int = 3) -> Images:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    return Images(pixels, np.arange(count) % classes)


def context(*names: str, **changes: Any) -> Context:
    return replace(Context(seeds.generator(0, *names)), **changes)


def played(attack: GradientMatching, release: Images, **changes: Any) -> tuple[Source, Evidence]:
    """Both halves; the attacker gets the arrays and nothing else."""
    seen = attack.expose(Release(release), context("expose"))
    assert seen.source is not None
    return seen.source, attack.attack(Seen(seen.arrays), release.take(slice(0, 0)), context("attack", **changes))


def recovered(evidence: Evidence) -> Images:
    assert evidence.recovered is not None
    return evidence.recovered


def decibels(found: Images, true: Images) -> np.ndarray:
    errors = ((found.pixels.astype(float) - true.pixels) / 255) ** 2
    return np.asarray(-10 * np.log10(np.maximum(errors.mean((1, 2, 3)), 1e-10)))


def test_is_an_attack_with_a_line_on_every_setting() -> None:
    assert isinstance(GradientMatching(), Attack)
    assert GradientMatching.sees == {Sight.GRADIENTS, Sight.PARAMETERS}
    assert all(field.description for field in GradientMatching.model_fields.values())
    for wrong in ({"batch_size": 0}, {"victims": 0}, {"epochs": -1}, {"batch_norm": "both"}, {"restarts": 0}):
        with pytest.raises(ValidationError):
            GradientMatching.model_validate(wrong)


def test_efforts_are_as_documented() -> None:
    for efforts in SPENT.values():
        spent = [iterations * restarts for iterations, restarts in (efforts["quick"], efforts["standard"])]
        assert 2 * spent[0] < spent[1]
    iterations, restarts = SPENT["inverting-gradients"]["thorough"]
    assert iterations >= 4800
    assert restarts > 1
    assert SPENT["deep-leakage"]["standard"][0] == 300


@pytest.mark.parametrize(
    ("victims", "batch_size", "released", "reach"),
    [(64, 1, 1000, 64), (64, 1, 40, 40), (16, 4, 1000, 64), (16, 4, 50, 48), (16, 4, 3, 3), (3, 5, 15, 15)],
)
def test_reach_is_what_comes_back(victims: int, batch_size: int, released: int, reach: int) -> None:
    attack = GradientMatching(victims=victims, batch_size=batch_size, iterations=1)
    assert attack.reach(released) == reach
    assert attack.reach(0) == 0
    if released <= 50:
        source, evidence = played(attack, noise(released))
        assert len(recovered(evidence)) == len(source.rows) == reach
        assert evidence.victim is not None
        np.testing.assert_array_equal(evidence.victim, source.victim)
        assert len(set(source.rows.tolist())) == reach, "batches share images"


def test_attacker_sees_the_network_and_gradients_only() -> None:
    release = noise()
    attack = GradientMatching(victims=2, batch_size=3)
    seen = attack.expose(Release(release), context("expose"))
    assert {name.partition(" ")[0] for name in seen.arrays} == {"network", "gradient", "batch", "image"}
    assert seen.source is not None
    shown = {array.tobytes() for array in seen.arrays.values()}
    for hidden in (release.pixels, release.labels, seen.source.rows, release.labels[seen.source.rows]):
        assert hidden.tobytes() not in shown
    for name, array in seen.arrays.items():
        if name.startswith("gradient "):
            assert array.dtype == np.float32
            assert array.shape == (2, *seen.arrays[name.replace("gradient", "network")].shape)


def test_gradient_by_hand() -> None:
    """Of the last bias: mean over the batch of predicted probabilities less the one of the label."""
    release = noise(6)
    attack = GradientMatching(victims=2, batch_size=3)
    seen = attack.expose(Release(release), context("expose"))
    assert seen.source is not None
    prefix = "network "
    arrays = {name.removeprefix(prefix): array for name, array in seen.arrays.items() if name.startswith(prefix)}
    network = Network.from_arrays(arrays)
    for number in range(2):
        batch = release.take(seen.source.rows[seen.source.victim == number])
        with torch.no_grad():
            predicted = network(next(batch.batches(3))).softmax(1).numpy()
        expected = (predicted - np.eye(3)[batch.labels]).mean(0)
        np.testing.assert_allclose(seen.arrays["gradient body.linear.bias"][number], expected, atol=1e-6)


def test_modes_of_batch_norm_differ_and_leave_the_network_alone() -> None:
    release = noise()
    kinds = [GradientMatching(victims=2, batch_size=4, batch_norm=mode) for mode in ("evaluation", "training")]
    one, other = (kind.expose(Release(release), context("expose")).arrays for kind in kinds)
    for name, array in one.items():
        if name.startswith("network "):
            np.testing.assert_array_equal(array, other[name])
    name = "gradient body.blocks.0.weight"
    assert not np.allclose(one[name], other[name], rtol=0.1)


@pytest.mark.parametrize("algorithm", ["inverting-gradients", "deep-leakage"])
def test_equal_inputs_give_equal_bits(algorithm: Any) -> None:
    attack = GradientMatching(algorithm=algorithm, victims=2, batch_size=2, iterations=2, restarts=2)
    first = played(attack, noise())[1]
    torch.manual_seed(5)
    torch.rand(3)
    again = played(attack, noise())[1]
    assert np.array_equal(recovered(first).pixels, recovered(again).pixels)
    assert first.diagnostics == again.diagnostics


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (8, 11, 3), (13, 9, 1), (16, 16, 3)])
@pytest.mark.parametrize("algorithm", ["inverting-gradients", "deep-leakage"])
def test_any_size(algorithm: Any, height: int, width: int, channels: int) -> None:
    release = noise(8, height, width, channels)
    for batch_norm in ("evaluation", "training"):
        attack = GradientMatching(
            algorithm=algorithm, victims=2, batch_size=2, iterations=1, batch_norm=batch_norm, epochs=1
        )
        evidence = played(attack, release)[1]
        assert recovered(evidence).size == release.size
        assert all(np.isfinite(value) for value in evidence.diagnostics.values())


def test_one_image_with_training_mode_where_maps_are_one_pixel() -> None:
    attack = GradientMatching(network="resnet18", batch_norm="training", victims=1)
    with pytest.raises(InputError, match="Choose batch_norm 'evaluation', or a larger batch_size"):
        attack.expose(Release(noise()), context("expose"))


def test_networks_for_squares_say_so() -> None:
    for network in ("lenet", "mlp"):
        with pytest.raises(InputError, match="images of 8 x 8 pixels and takes no others; found 12 x 8"):
            GradientMatching(network=network).expose(Release(noise(4, 8, 12)), context("expose"))


def test_progress_is_told() -> None:
    told: list[float] = []
    played(GradientMatching(victims=2, iterations=20), noise(), progress=lambda stage, share: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_restarts_never_cost_more() -> None:
    """The cheapest of several starts for every victim, by the attacker's own cost."""
    costs = [
        played(GradientMatching(victims=3, iterations=8, restarts=restarts), noise())[1].diagnostics["largest cost"]
        for restarts in (1, 4)
    ]
    assert costs[1] < costs[0]


def test_batches_of_one_through_mlp_are_exact() -> None:
    members, _ = dealt(0, 20, 1)
    source, evidence = played(GradientMatching(network="mlp", victims=20), members)
    true = members.take(source.rows)
    np.testing.assert_array_equal(recovered(evidence).labels, true.labels)
    assert decibels(recovered(evidence), true).min() > 60
    assert evidence.diagnostics["share certified"] == 1


def test_gradients_of_another_image_are_not_certified() -> None:
    """The certificate needs no truth: gradients that no single image gives are searched, not believed."""
    attack = GradientMatching(network="mlp", victims=2, iterations=2)
    seen = attack.expose(Release(noise()), context("expose"))
    name = "gradient body.hidden.weight"
    wrong = seen.arrays[name].copy()
    wrong[1] = np.random.default_rng(0).permutation(wrong[1].ravel()).reshape(wrong[1].shape)
    evidence = attack.attack(Seen({**seen.arrays, name: wrong}), noise(0), context("attack"))
    assert evidence.diagnostics["share certified"] == 0.5


def test_epochs_are_trained() -> None:
    release = noise()
    fresh, trained = (
        GradientMatching(victims=1, epochs=epochs).expose(Release(release), context("expose")).arrays
        for epochs in (0, 2)
    )
    assert not fresh["network body.blocks.1.running_mean"].any()
    assert trained["network body.blocks.1.running_mean"].any()


def test_observed_is_what_was_exposed() -> None:
    release = noise(8, 8, 11, 3)
    seen = GradientMatching(victims=2, batch_size=3).expose(Release(release), context("expose"))
    found = victim.observed(seen.arrays, "evaluation", "cpu")
    assert (found.victims, found.batch_size, found.image_shape) == (2, 3, (3, 8, 11))
    black, white = found.bounds
    mean = (release.pixels / 255).mean((0, 1, 2))
    std = (release.pixels / 255).std((0, 1, 2))
    np.testing.assert_allclose(black.ravel(), -mean / std, rtol=1e-4)
    np.testing.assert_allclose(white.ravel(), (1 - mean) / std, rtol=1e-4)


@pytest.mark.slow
def test_members_are_found_and_strangers_are_not() -> None:
    """Half of the suspects are members: 32 of 64 by chance, 23 to 41 with 99 %."""
    members, controls, reference, fresh = dealt(0, 700, 700, 200, 197)
    suspects = concatenate([members, controls])
    order = np.random.default_rng(1).permutation(len(suspects))
    hits = {}
    for name, release in (("raw", members), ("fresh", fresh)):
        _, evidence = played(GradientMatching(), release)
        scores = closeness(suspects, recovered(evidence), reference)
        first = order[np.argsort(-scores[order], kind="stable")[:64]]
        hits[name] = int((first < 700).sum())
    assert hits["raw"] >= 48
    assert 20 <= hits["fresh"] <= 44


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_devices_find_images_too(device: str) -> None:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not available[device]:
        pytest.skip(f"this machine has no {device}")
    members, _ = dealt(0, 100, 1)
    source, evidence = played(GradientMatching(victims=8), members, device=device)
    assert np.median(decibels(recovered(evidence), members.take(source.rows))) > 20
