"""copy-descriptor with a backbone of LPIPS: whitened descriptors by hand, and what they add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from privaudit import weights
from privaudit.attack import Context, Seen, uses_backbones
from privaudit.attacks.copy_descriptor import CopyDescriptor
from privaudit.attacks.copy_descriptor.backbone import DIMENSIONS, backbone_descriptors
from privaudit.attacks.nearest_copy import NearestCopy
from privaudit.data.loading import load
from privaudit.images import Images, concatenate
from privaudit.plants import brightened

SHARED = Path(__file__).parents[3] / "shared"


def pictures(count: int, seed: int, channels: int = 3) -> Images:
    """Smooth random pictures with some noise, 16 x 16."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (count, 4, 4, channels)).repeat(4, axis=1).repeat(4, axis=2)
    return Images(np.clip(coarse + rng.normal(0, 10, coarse.shape), 0, 255).astype(np.uint8), np.zeros(count, np.int64))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight store with a backbone of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for key, shape in weights.KNOWN["squeezenet1_1-features"].items():
        fan_in = max(1, int(np.prod(shape[1:])))
        tensors[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    file = folder / "backbone.safetensors"
    safetensors.torch.save_file(tensors, file)
    weights.add(file, folder / "store")
    return folder / "store"


def scores(release: Images, suspects: Images, reference: Images, store: Path | None) -> np.ndarray[Any, Any]:
    own = Context(np.random.default_rng(0), seed=3, effort="quick", reference=reference, weights=store)
    seen = Seen({"pixels": release.pixels, "labels": release.labels})
    evidence = CopyDescriptor(steps=20).attack(seen, suspects, own)
    assert evidence.scores is not None
    longer = 0 if store is None else len(reference) // 2
    assert evidence.diagnostics["descriptor's length"] == 128 + longer
    return evidence.scores


def test_rows_have_length_one_and_do_not_know_left_from_right(store: Path) -> None:
    own, images = pictures(40, 0), pictures(10, 1)
    mirrored = Images(images.pixels[:, :, ::-1].copy(), images.labels)
    found = backbone_descriptors(store, own, [own, images, mirrored], "cpu")
    assert found is not None
    mine, rows, turned = found
    assert mine.shape == (40, 20)
    np.testing.assert_allclose(rows.norm(dim=1), 1, atol=1e-5)
    np.testing.assert_allclose(turned, rows, atol=1e-4)
    assert DIMENSIONS == 128


def test_own_images_are_spread_alike_in_all_directions(store: Path) -> None:
    own = pictures(60, 0, channels=1)
    (rows,) = backbone_descriptors(store, own, [own], "cpu") or []
    assert float((rows @ rows.T - torch.eye(60)).abs().mean()) < 0.2, "strangers lie across each other"


def test_a_store_without_a_backbone_changes_nothing(tmp_path: Path) -> None:
    suspects, release, reference = pictures(30, 1), pictures(20, 2), pictures(40, 3)
    assert backbone_descriptors(tmp_path, reference, [release], "cpu") is None
    with_empty = Context(np.random.default_rng(0), seed=3, effort="quick", reference=reference, weights=tmp_path)
    seen = Seen({"pixels": release.pixels, "labels": release.labels})
    found = CopyDescriptor(steps=20).attack(seen, suspects, with_empty).scores
    assert found is not None
    assert np.array_equal(found, scores(release, suspects, reference, None))


def test_copies_are_found_through_both_halves(store: Path) -> None:
    suspects, unseen, reference = pictures(60, 1), pictures(40, 2), pictures(80, 3)
    found = scores(concatenate([unseen, suspects.take(slice(0, 10))]), suspects, reference, store)
    assert found[:10].min() > found[10:].max()


def test_a_backbone_that_was_made_for_photographs_knows_brighter_copies(tmp_path: Path) -> None:
    if not (SHARED / "weights").exists():
        pytest.skip("no weights beside the checkout")
    weights.add(SHARED / "weights" / "squeezenet1_1-features.safetensors", tmp_path)
    images = load(str(SHARED / "data" / "cifar10" / "train-0-of-5.npz")).images
    suspects, unseen, reference = (images.take(slice(start, start + 150)) for start in (0, 150, 300))
    rng = np.random.default_rng(0)
    pixels = np.stack([brightened(suspects.pixels[row], unseen, rng) for row in range(50)])
    release = concatenate([unseen, Images(pixels, suspects.labels[:50])])
    with_it, without = (
        float((found[:50, None] > found[None, 50:]).mean())
        for found in (scores(release, suspects, reference, place) for place in (tmp_path, None))
    )
    assert with_it > 0.97
    assert with_it > without


def test_only_who_asks_is_given_the_store() -> None:
    assert uses_backbones(CopyDescriptor())
    assert not uses_backbones(NearestCopy())
