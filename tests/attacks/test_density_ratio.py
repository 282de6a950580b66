"""density-ratio: the release is denser around members, by the attacker's own images."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pytest
import torch
from scipy import stats

from privaudit.attack import Context, Seen
from privaudit.attacks.density_ratio import DensityRatio, Embedding, domias, gen_lra, log_density, neighbours
from privaudit.data.loading import load
from privaudit.errors import InputError
from privaudit.images import Images, concatenate

Score = Literal["neighbours", "gen-lra", "domias"]
SCORES = get_args(Score)


def dealt(seed: int, *counts: int) -> list[Images]:
    images = load("digits").images
    order = np.random.default_rng(seed).permutation(len(images))
    return [images.take(rows) for rows in np.split(order[: sum(counts)], np.cumsum(counts)[:-1])]


def scores(release: Images, suspects: Images, reference: Images | None, score: Score = "neighbours") -> np.ndarray:
    own = Context(np.random.default_rng(0), reference=reference)
    seen = Seen({"pixels": release.pixels, "labels": release.labels})
    found = DensityRatio(score=score).attack(seen, suspects, own).scores
    assert found is not None
    assert found.dtype == np.float64
    assert found.shape == (len(suspects),)
    assert np.isfinite(found).all()
    return found


def auc(members: np.ndarray, controls: np.ndarray) -> float:
    return float((members[:, None] > controls[None]).mean() + (members[:, None] == controls[None]).mean() / 2)


@pytest.mark.parametrize("score", SCORES)
def test_members_themselves_are_found(score: Score) -> None:
    members, controls, reference = dealt(0, 300, 300, 200)
    found = scores(members, concatenate([members, controls]), reference, score)
    assert auc(found[:300], found[300:]) > (0.9 if score == "neighbours" else 0.7)


@pytest.mark.parametrize("score", SCORES)
def test_mirrored_members_are_found_as_well_as_upright_ones(score: Score) -> None:
    members, controls, reference = dealt(1, 300, 300, 200)
    mirrored = Images(members.pixels[:, :, ::-1].copy(), members.labels)
    found = scores(mirrored, concatenate([members, controls]), reference, score)
    assert auc(found[:300], found[300:]) > (0.9 if score == "neighbours" else 0.6)


@pytest.mark.parametrize("score", SCORES)
def test_strangers_look_alike(score: Score) -> None:
    members, controls, release, reference = dealt(2, 400, 400, 400, 300)
    found = scores(release, concatenate([members, controls]), reference, score)
    assert 0.42 < auc(found[:400], found[400:]) < 0.58  # four standard errors


def test_an_attacker_needs_images_of_his_own() -> None:
    (images,) = dealt(3, 50)
    for reference in (None, images.take(slice(0, 1))):
        with pytest.raises(InputError, match="--reference"):
            scores(images, images, reference)


def test_same_input_same_bytes_and_place_does_not_matter() -> None:
    members, release, reference = dealt(4, 200, 100, 100)
    first = scores(release, members, reference)
    np.testing.assert_array_equal(first, scores(release, members, reference))
    order = np.random.default_rng(1).permutation(200)
    np.testing.assert_allclose(scores(release, members.take(order), reference), first[order], atol=1e-3)


@pytest.mark.parametrize(("height", "width", "channels"), [(2, 2, 1), (8, 8, 1), (5, 12, 3), (128, 128, 1)])
@pytest.mark.parametrize("score", SCORES)
def test_any_size_works(height: int, width: int, channels: int, score: Score) -> None:
    rng = np.random.default_rng(0)
    parts = [
        Images(rng.integers(0, 256, (20, height, width, channels), dtype=np.uint8), np.zeros(20, np.int64))
        for _ in range(3)
    ]
    scores(parts[0], parts[1], parts[2], score)


@pytest.mark.parametrize("flat", [0, 1, 2])
@pytest.mark.parametrize("score", SCORES)
def test_flat_and_few_images(flat: int, score: Score) -> None:
    parts = dealt(5, 30, 30, 30)
    parts[flat] = Images(np.full((30, 16, 16, 1), 40, np.uint8), np.zeros(30, np.int64))
    scores(parts[0], parts[1], parts[2], score)
    scores(parts[0].take(slice(0, 1)), parts[1].take(slice(0, 1)), parts[2].take(slice(0, 2)), score)


def test_everything_flat_is_a_tie() -> None:
    flat = Images(np.full((10, 16, 16, 1), 40, np.uint8), np.zeros(10, np.int64))
    assert np.ptp(scores(flat, flat, flat)) == 0


# Parts.


def test_log_density_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    rows, centres = rng.standard_normal((50, 3)), rng.standard_normal((40, 3))
    found = log_density(torch.from_numpy(rows).float(), torch.from_numpy(centres).float(), 0.5).numpy()
    expected = np.log(
        [np.mean([stats.multivariate_normal.pdf(row, centre, 0.25 * np.eye(3)) for centre in centres]) for row in rows]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_gen_lra_is_the_refit_written_out() -> None:
    rng = np.random.default_rng(1)
    suspects, release, reference = (torch.from_numpy(rng.standard_normal((n, 2))).float() for n in (4, 9, 30))
    from privaudit.attacks.density_ratio import silverman

    width = silverman(reference)
    for row, found in enumerate(gen_lra(suspects, release, reference, 3)):
        near = release[torch.cdist(suspects[row : row + 1], release)[0].argsort()[:3]]
        grown = torch.cat([reference, suspects[row : row + 1]])
        expected = (log_density(near, grown, width) - log_density(near, reference, width)).sum()
        assert float(found) == pytest.approx(float(expected), abs=1e-3)


def test_nearer_to_the_release_than_to_the_reference_scores_higher() -> None:
    release, reference = torch.zeros(1, 2), torch.tensor([[4.0, 0.0]])
    suspects = torch.tensor([[0.1, 0.0], [1.0, 0.0], [2.0, 0.0], [3.9, 0.0]])
    found = neighbours(suspects, release, reference)
    assert (found[:-1] > found[1:]).all()
    assert float(found[2]) == pytest.approx(0, abs=1e-4)
    several = torch.tensor([[0.0, 0.0], [0.5, 0.5], [0.2, 0.1]])
    ratio = domias(suspects, several, several + torch.tensor([4.0, 0.0]))
    assert (ratio[:-1] > ratio[1:]).all()


def test_embedding_ignores_brightness_and_contrast() -> None:
    (images,) = dealt(6, 60)
    dark = Images((images.pixels // 2 + 30).astype(np.uint8), images.labels)
    embed = Embedding([images], 20)
    near = torch.cdist(embed(images), embed(dark))
    assert near.argmin(1).tolist() == list(range(60))
