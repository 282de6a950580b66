"""gradient-ranking: candidates against gradients, without reconstruction."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from privaudit import seeds
from privaudit.attack import Attack, Context, Evidence, Seen, Sight, Source, holds_release
from privaudit.attacks.gradient_matching import GradientMatching
from privaudit.attacks.gradient_matching.candidate_gradients import (
    FEATURES,
    Folding,
    candidate_features,
    random_folding,
)
from privaudit.attacks.gradient_matching.ranking import GradientRanking, log_likelihood_ratios
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.learning import Architecture, Network
from privaudit.release import Release


def dealt(*counts: int, seed: int = 0, side: int = 8) -> list[Images]:
    """Digits at 8 x 8, where they cost little."""
    images = load("digits").images
    step = images.size[0] // side
    small = Images(np.ascontiguousarray(images.pixels[:, ::step, ::step]), images.labels)
    order = np.random.default_rng(seed).permutation(len(small))
    return [small.take(rows) for rows in np.split(order[: sum(counts)], np.cumsum(counts)[:-1])]


def network(name: str = "convnet") -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Network(Architecture(name=name, channels=1, classes=10, side=8)).eval()


def quiet(share: float) -> None:
    pass


def played(
    attack: GradientRanking, release: Images, suspects: Images, reference: Images | None, seed: int = 0
) -> tuple[Source, Evidence]:
    seen = attack.expose(Release(release), Context(seeds.generator(seed, "expose"), seed=seed))
    assert seen.source is not None
    own = Context(seeds.generator(seed, "attack"), seed=seed, reference=reference)
    return seen.source, attack.attack(Seen(seen.arrays), suspects, own)


def best(evidence: Evidence, count: int) -> np.ndarray:
    assert evidence.scores is not None
    return np.argsort(-evidence.scores, kind="stable")[:count]


def test_is_a_mediated_attack_with_the_victim_of_gradient_matching() -> None:
    attack = GradientRanking(victims=3, batch_size=4)
    assert isinstance(attack, Attack)
    assert attack.sees == {Sight.GRADIENTS, Sight.PARAMETERS}
    assert not holds_release(attack)
    assert attack.reach(1000) == 12
    assert attack.reach(0) == 0
    assert "candidates" in attack.threat_model
    release = dealt(30)[0]
    ranking, matching = (
        kind(victims=3, batch_size=4).expose(Release(release), Context(seeds.generator(0, "x")))
        for kind in (GradientRanking, GradientMatching)
    )
    assert set(ranking.arrays) == set(matching.arrays)
    for name, array in ranking.arrays.items():
        np.testing.assert_array_equal(array, matching.arrays[name])


def test_features_by_hand() -> None:
    """Three numbers with signs +, -, + fall on features 0, 1, 2; number 2048 falls on feature 0 again."""
    long = torch.zeros(1, FEATURES + 1)
    long[0, 0], long[0, 1], long[0, FEATURES] = 5.0, 7.0, 2.0
    signs = torch.ones(FEATURES + 1)
    signs[1] = -1
    folding = Folding({"w": torch.arange(FEATURES + 1)}, {"w": signs})
    found = folding.features({"w": long})
    assert found.shape == (1, FEATURES)
    assert found[0, :3].tolist() == [7.0, -7.0, 0.0]
    assert folding.variance == pytest.approx(1 + 1 / FEATURES)


@pytest.mark.parametrize("name", ["convnet", "mlp", "lenet"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_features_are_those_of_each_gradient_alone(name: str, clip_norm: float | None) -> None:
    images, made = dealt(5)[0], network(name)
    folding = random_folding(made, torch.Generator().manual_seed(0))
    found = candidate_features(made, images, folding, clip_norm, quiet)
    for row in range(5):
        one = images.take(slice(row, row + 1))
        loss = functional.cross_entropy(made(next(one.batches(1))), torch.from_numpy(one.labels))
        names = [part for part, _ in made.named_parameters()]
        gradients = torch.autograd.grad(loss, list(made.parameters()))
        length = torch.stack([part.square().sum() for part in gradients]).sum().sqrt()
        factor = 1.0 if clip_norm is None else min(1.0, clip_norm / float(length))
        named = {part: gradient[None] * factor for part, gradient in zip(names, gradients, strict=True)}
        torch.testing.assert_close(found[row : row + 1], folding.features(named), rtol=1e-4, atol=1e-5)


def test_a_label_that_the_network_does_not_know_has_no_gradient() -> None:
    images, made = dealt(3)[0], network()
    strange = Images(images.pixels, np.array([1, 10, 2]))
    folding = random_folding(made, torch.Generator().manual_seed(0))
    found = candidate_features(made, strange, folding, 1.0, quiet)
    assert found.abs().sum(1).bool().tolist() == [True, False, True]


def test_ratio_by_hand() -> None:
    """One feature, candidates -1 and 1: mean 0, variance 1. A batch of two at .5: x·t - x²/4 is .25 and -.75."""
    found = log_likelihood_ratios(torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.5]]), 2)
    torch.testing.assert_close(found, torch.tensor([[0.25, -0.75]]).double(), rtol=1e-4, atol=1e-4)
    noisy = log_likelihood_ratios(torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.5]]), 2, noise=3.0)
    torch.testing.assert_close(noisy, found / 4, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"victims": 32, "batch_size": 1},
        {"victims": 1, "batch_size": 32},
        {"victims": 4, "batch_size": 8, "epochs": 2},
        {"victims": 1, "batch_size": 32, "network": "mlp"},
        {"victims": 1, "batch_size": 32, "gradient_precision": "float64"},
    ],
)
def test_the_images_of_the_batches_are_ranked_first(settings: dict[str, Any]) -> None:
    members, controls, reference = dealt(150, 150, 60)
    source, evidence = played(GradientRanking(**settings), members, concatenate([members, controls]), reference)
    assert set(best(evidence, 32).tolist()) == set(source.rows.tolist())
    assert evidence.diagnostics["median rest"] < 1e-4
    assert evidence.diagnostics["median margin"] > 0


def test_strangers_gradients_point_to_nobody() -> None:
    """What the victims used is not among the suspects: 16 of 32 by chance, 8 to 24 with 99.7 %; five releases."""
    hits = []
    for seed in range(5):
        members, controls, reference, others = dealt(150, 150, 60, 150, seed=seed)
        suspects = concatenate([members, controls])
        order = np.random.default_rng(seed).permutation(300)
        _, evidence = played(GradientRanking(victims=8, batch_size=4), others, suspects.take(order), reference, seed)
        hits.append(int((order[best(evidence, 32)] < 150).sum()))
        assert evidence.diagnostics["median rest"] > 0.1
    assert 60 <= sum(hits) <= 100, hits


def test_noise_that_hides_everything_hides_it() -> None:
    members, controls, reference = dealt(150, 150, 60)
    suspects = concatenate([members, controls])
    found = {}
    for noise in (0.0, 100.0):
        attack = GradientRanking(victims=1, batch_size=32, clip_norm=0.1, noise_multiplier=noise)
        source, evidence = played(attack, members, suspects, reference)
        found[noise] = len(set(best(evidence, 32).tolist()) & set(source.rows.tolist()))
    assert found[0.0] == 32
    assert found[100.0] < 12


def test_equal_inputs_give_equal_bits_and_order_does_not_matter() -> None:
    members, controls, reference = dealt(40, 40, 20)
    suspects, attack = concatenate([members, controls]), GradientRanking(victims=2, batch_size=4)
    scores = [played(attack, members, suspects, reference)[1].scores for _ in range(2)]
    assert scores[0] is not None
    np.testing.assert_array_equal(scores[0], scores[1])
    order = np.random.default_rng(0).permutation(80)
    moved = played(attack, members, suspects.take(order), reference)[1].scores
    assert moved is not None
    np.testing.assert_allclose(moved, scores[0][order], rtol=1e-4, atol=1e-4)


def test_batch_norm_in_training_mode_is_run() -> None:
    """Statistics of candidates stand in for those of the batch: better than nothing, far from exact."""
    members, controls, reference = dealt(150, 150, 60)
    suspects = concatenate([members, controls])
    attack = GradientRanking(victims=4, batch_size=8, batch_norm="training")
    source, evidence = played(attack, members, suspects, None)
    assert evidence.diagnostics["median rest"] > 0.1
    told: list[float] = []
    seen = attack.expose(Release(members), Context(seeds.generator(0, "expose")))
    own = replace(
        Context(seeds.generator(0, "attack"), reference=reference), progress=lambda _, share: told.append(share)
    )
    attack.attack(Seen(seen.arrays), suspects, own)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(source.rows) == 32
