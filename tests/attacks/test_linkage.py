"""Linkage: other images of persons are linked where the release shows these persons, and only there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from person_examples import named, persons

from privaudit.attack import Context, Seen, informs, ranks
from privaudit.attacks.linkage import Linkage, by_embedding, standardised
from privaudit.attacks.linkage.correlation import likeness
from privaudit.attacks.linkage.identity import TEMPERATURE, partners, train_encoder
from privaudit.errors import InputError
from privaudit.images import Dataset, Images
from privaudit.learning.contrastive import nt_xent
from privaudit.plugins import make_attack
from privaudit.statistics.tally import win_shares

N = 60
FED = persons(named("m", N), 1, 1)
SIBLINGS, STRANGERS = persons(named("m", N), 1, 2), persons(named("c", N), 1, 3)
OWN = persons(named("r", 60), 2, 4)


def scores(release: Dataset, *, units: bool = True, seed: int = 0, steps: int = 30) -> np.ndarray:
    images = release.images
    pile = Images(
        np.concatenate([SIBLINGS.images.pixels, STRANGERS.images.pixels]),
        np.concatenate([SIBLINGS.images.labels, STRANGERS.images.labels]),
    )
    own = Context(
        np.random.default_rng(seed),
        seed=seed,
        effort="quick",
        reference=OWN.images,
        reference_units=OWN.units if units else None,
    )
    found = Linkage(steps=steps).attack(Seen({"pixels": images.pixels, "labels": images.labels}), pile, own)
    assert found.scores is not None
    return found.scores


def auc(found: np.ndarray) -> float:
    return float(win_shares(found[:N], found[N:]).mean())


@pytest.mark.parametrize("units", [True, False])
def test_siblings_of_released_persons_are_linked(units: bool) -> None:
    assert auc(scores(FED, units=units)) > 0.9


def test_a_release_of_others_links_nobody() -> None:
    clean = auc(scores(persons(named("x", N), 1, 5)))
    assert 0.34 < clean < 0.66  # three standard errors of an AUC of chance with 60 and 60


def test_equal_seeds_give_equal_scores() -> None:
    np.testing.assert_array_equal(scores(FED, steps=5), scores(FED, steps=5))


def test_it_ranks_siblings_and_informs_linkability() -> None:
    attack = make_attack("linkage", {})
    assert ranks(attack) == "siblings"
    assert informs(attack) == ("linkability",)


def test_it_needs_images_of_its_own() -> None:
    seen = Seen({"pixels": FED.images.pixels, "labels": FED.images.labels})
    with pytest.raises(InputError, match="linkage needs images of the attacker's own"):
        Linkage().attack(seen, SIBLINGS.images, Context(np.random.default_rng(0)))


def test_settings_are_checked() -> None:
    for settings in ({"shift": 5}, {"strangers": 0}, {"steps": 0}):
        with pytest.raises(InputError, match="settings of the attack 'linkage'"):
            make_attack("linkage", settings)


def test_partners_are_other_images_of_the_same_person() -> None:
    units = np.array(["a", "b", "a", "c", "b", "a"])
    for seed in range(20):
        found = partners(units, np.random.default_rng(seed))
        assert (units[found] == units).all()
        assert found[3] == 3
        assert (found[[0, 1, 2, 4, 5]] != [0, 1, 2, 4, 5]).all()


def test_the_loss_by_hand() -> None:
    """Two people, whose views are exact opposites: partners have likeness 1, others -1, at temperature 0.2."""
    rows = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    expected = float(np.log(np.exp(5.0) + 2 * np.exp(-5.0)) - 5.0)
    assert float(nt_xent(rows, rows, TEMPERATURE, torch.tensor([0, 1]))) == pytest.approx(expected, abs=1e-6)


def test_another_view_of_the_same_person_is_no_wrong_answer() -> None:
    rows = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    alone = nt_xent(rows[:1], rows[1:2], TEMPERATURE, torch.tensor([0]))
    assert float(alone) == pytest.approx(0.0, abs=1e-6)  # nobody else to confuse them with
    same = nt_xent(rows[:2], rows[2:], TEMPERATURE, torch.tensor([0, 0]))
    assert float(same) == pytest.approx(0.0, abs=1e-6)


def test_the_nearest_others_by_hand() -> None:
    suspects = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    others = torch.tensor([[0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(by_embedding(suspects, others, 1), torch.tensor([1.0, 0.8]))
    torch.testing.assert_close(by_embedding(suspects, others, 2), torch.tensor([0.8, 0.4]))
    torch.testing.assert_close(by_embedding(suspects, others, 9), torch.tensor([0.6 / 3, 0.8 / 3]))


def test_standardised_by_hand() -> None:
    np.testing.assert_allclose(
        standardised(torch.tensor([1.0, 2.0, 3.0, 4.0, 15.0])), np.array([-2, -1, 0, 1, 12]) / 1.4826
    )
    np.testing.assert_array_equal(standardised(torch.tensor([2.0, 2.0, 2.0])), np.zeros(3))


def test_pixels_are_compared_over_shifts_and_without_brightness() -> None:
    rng = np.random.default_rng(0)
    # Smooth borders, so that what a shift brings in matters little.
    pixels = np.zeros((3, 16, 16, 1), np.uint8)
    pixels[:, 4:12, 4:12] = rng.integers(40, 120, (3, 8, 8, 1))
    images = Images(pixels, np.zeros(3, np.int64))
    changed = Images(np.roll(pixels, 1, axis=2) * 2, images.labels)
    still, moved = likeness(changed, images, 0, 1), likeness(changed, images, 1, 1)
    assert (moved > 0.97).all()
    assert (still < 0.9).all()


def test_training_brings_images_of_one_person_together() -> None:
    from privaudit.attacks.linkage.identity import embedded

    encoder = train_encoder(OWN.images, OWN.units, 30, 0)
    new = persons(named("n", 30), 2, 9)
    rows = embedded(encoder, new.images)
    likes = rows @ rows.T
    mine = likes[torch.arange(0, 60, 2), torch.arange(1, 60, 2)]
    person = torch.arange(60) // 2
    others = likes[person[:, None] != person[None, :]]
    assert float(mine.mean() - others.mean()) > 0.5
