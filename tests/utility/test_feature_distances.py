"""Fréchet distance, precision and recall: by hand, and against other programs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from privaudit.errors import InputError
from privaudit.torchvision_compat import import_torchvision
from privaudit.utility import feature_distances
from privaudit.utility.feature_distances import frechet_distance, precision_recall


def features(count: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimensions)) @ rng.normal(size=(dimensions, dimensions)) + rng.normal(
        size=dimensions
    )


def whitened(count: int, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Mean exactly 0 and covariance exactly the identity."""
    drawn = features(count, dimensions, seed)
    basis = np.linalg.qr(drawn - drawn.mean(0))[0]
    return np.asarray(basis * np.sqrt(count - 1))


def test_the_distance_of_two_known_gaussians() -> None:
    """Diagonal covariances: the sum of squared differences of means and of standard deviations."""
    means, spreads = np.array([3.0, 0.0, -1.0]), np.array([2.0, 1.0, 0.5])
    first, second = whitened(200, 3, 0), whitened(150, 3, 1) * spreads + means
    expected = (means**2).sum() + ((spreads - 1) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("count", "dimensions"), [(500, 20), (60, 64), (10, 100), (2, 5)])
def test_a_set_is_at_distance_0_from_itself(count: int, dimensions: int) -> None:
    drawn = features(count, dimensions, 0)
    assert frechet_distance(drawn, drawn) == pytest.approx(0, abs=1e-10 * np.square(drawn).sum(1).mean())


@pytest.mark.parametrize(("count", "dimensions"), [(500, 20), (40, 64)])
def test_the_distance_is_that_of_torchmetrics(count: int, dimensions: int) -> None:
    """Its formula takes the eigenvalues of the product of the covariances; singular ones lose half of the digits."""
    import_torchvision()
    from torchmetrics.image.fid import _compute_fid

    first, second = features(count, dimensions, 0), features(count + 30, dimensions, 1)
    moments = [torch.from_numpy(part) for side in (first, second) for part in (side.mean(0), np.cov(side.T))]
    accuracy = 1e-9 if count > dimensions else 1e-5
    assert frechet_distance(first, second) == pytest.approx(float(_compute_fid(*moments)), rel=accuracy)


def test_float32_features_are_computed_in_float64() -> None:
    first, second = (features(300, 10, seed).astype(np.float32) for seed in (0, 1))
    assert frechet_distance(first, second) == frechet_distance(first.astype(np.float64), second.astype(np.float64))


def test_precision_and_recall_by_hand() -> None:
    """Real: 0, 1, 2, 3, whose balls reach 3, 2, 2, 3 far. Images: four from 4 on, whose balls reach at most .3 far,
    and one at -10, whose ball reaches 14.2 far, up to 4.2.
    """
    real = np.arange(4.0)[:, None]
    images = np.array([4.0, 4.1, 4.2, 4.3, -10.0])[:, None]
    precision, recall = precision_recall(images, real)
    assert (precision, recall) == (4 / 5, 1)
    assert precision_recall(images[:4], real) == (1, 0)


def test_identical_sets_are_alike_and_far_ones_are_not() -> None:
    drawn = features(200, 8, 0)
    twice = np.concatenate([drawn[:50]] * 5)
    assert precision_recall(drawn, drawn) == (1, 1)
    assert precision_recall(twice, twice) == (1, 1)
    assert precision_recall(drawn + 1e6, drawn) == (0, 0)
    assert precision_recall(twice, drawn) == (1, 50 / 200)


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_precision_and_recall_as_others_compute_them(neighbours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Radii of scikit-learn, distances of scipy; piq's precision. Blocks do not matter."""
    import_torchvision()
    from piq import PR
    from scipy.spatial.distance import cdist
    from sklearn.neighbors import NearestNeighbors

    images, real = features(150, 6, 0), features(190, 6, 1)
    found = precision_recall(images, real, neighbours)
    expected = []
    for queries, rows in ((images, real), (real, images)):
        reach = NearestNeighbors(n_neighbors=neighbours).fit(rows).kneighbors()[0][:, -1]
        expected.append(float((cdist(queries, rows) <= reach).any(1).mean()))
    assert found == tuple(expected)
    assert 0 < found[0] < 1
    other = PR(nearest_k=neighbours).compute_metric(torch.from_numpy(real), torch.from_numpy(images))
    assert found[0] == pytest.approx(float(other[0]))
    monkeypatch.setattr(feature_distances, "_BLOCK_BYTES", 8 * 190 * 7)
    assert precision_recall(images, real, neighbours) == found


def test_unusable_features_are_refused() -> None:
    good = features(10, 3, 0)
    for first, second in ((good[:1], good), (good, good[:, :2]), (good[:, 0], good), (good[:, :0], good[:, :0])):
        with pytest.raises(InputError, match="at least 2 rows and the same columns"):
            frechet_distance(first, second)
    with pytest.raises(InputError, match="at least 4 rows"):
        precision_recall(good[:3], good)
    with pytest.raises(InputError, match="at least one neighbour"):
        precision_recall(good, good, 0)
    with pytest.raises(InputError, match="finite"):
        frechet_distance(good, np.where(good > 0, np.nan, good))
