"""Class-wise statistics: exact, in any chunks, against numpy on the whole activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matching_examples import images, inputs_of_norms, network

from privaudit.learning.batches import as_float
from privaudit.synth.bn_matching import statistics
from privaudit.synth.bn_matching.folding import batch_norms
from privaudit.synth.bn_matching.statistics import Law, collect


@pytest.mark.parametrize("chunk_images", [1, 5, 1000])
def test_against_whole_activations(monkeypatch: pytest.MonkeyPatch, chunk_images: int) -> None:
    monkeypatch.setattr(statistics, "_CHUNK_PIXELS", chunk_images * 16 * 16)
    found, data = network("convnet"), images(23)
    layers = list(batch_norms(found))
    collected = collect(found, data, 4)
    pixels = as_float(data.pixels, "cpu")
    with torch.no_grad():
        _, seen = inputs_of_norms(found, (pixels - found.mean[:, None, None]) / found.std[:, None, None])
    values = [seen[layer].double().numpy() for layer in layers]
    for label in range(4):
        law = collected.of_classes(layers, [label])
        rows = data.labels == label
        np.testing.assert_allclose(
            law.mean[0], np.concatenate([part[rows].mean((0, 2, 3)) for part in values]), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(
            law.variance[0], np.concatenate([part[rows].var((0, 2, 3)) for part in values]), rtol=1e-4, atol=1e-5
        )
    pooled = collected.pooled(layers)
    np.testing.assert_allclose(
        pooled.mean[0], np.concatenate([part.mean((0, 2, 3)) for part in values]), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(
        pooled.variance[0], np.concatenate([part.var((0, 2, 3)) for part in values]), rtol=1e-4, atol=1e-5
    )
    assert collected.images.tolist() == [6, 6, 6, 5]


def test_network_is_measured_in_evaluation_mode_and_unchanged() -> None:
    found = network("convnet").train()
    before = {name: value.clone() for name, value in found.state_dict().items()}
    collect(found, images(8), 4)
    assert all(torch.equal(value, before[name]) for name, value in found.state_dict().items())


def test_mixture_by_hand() -> None:
    law = Law(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0]])).mixed()
    assert law.mean.tolist() == [[1.0]]
    assert law.variance.tolist() == [[3.0]]  # (1 + 0 + 3 + 4) / 2 - 1


def test_a_class_of_one_image_has_the_variance_over_its_places() -> None:
    found, data = network("convnet"), images(5, classes=5)
    law = collect(found, data, 5).of_classes(list(batch_norms(found)), [2])
    assert torch.isfinite(law.mean).all()
    assert (law.variance >= 0).all()
    assert float(law.variance.max()) > 0
