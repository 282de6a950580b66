"""LPIPS: the published values, with weights from the store only."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from similarity_examples import found_for, noisy_pairs, source

from privaudit import weights
from privaudit.errors import IncompleteError
from privaudit.similarity import similarity
from privaudit.similarity.perceptual import Backbone, load_backbone, lpips_distance, lpips_name

SQUEEZENET = Path(__file__).parents[3] / "shared" / "weights" / "squeezenet1_1-features.safetensors"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not SQUEEZENET.exists():
        pytest.skip(f"{SQUEEZENET.name} is not beside the checkout, in ../shared/weights")
    folder = tmp_path_factory.mktemp("weights")
    weights.add(SQUEEZENET, folder)
    return folder


@pytest.fixture(scope="module")
def backbone(store: Path) -> Backbone:
    found = load_backbone(store)
    assert found is not None
    return found


def test_lpips_is_that_of_torchmetrics_documentation(backbone: Backbone) -> None:
    """Docstring of torchmetrics' learned_perceptual_image_patch_similarity, net_type='squeeze': there in [-1, 1]."""
    generator = torch.Generator().manual_seed(42)
    a = torch.rand(2, 3, 100, 100, generator=generator)
    b = torch.rand(2, 3, 100, 100, generator=generator)
    assert lpips_distance(a, b, backbone).tolist() == pytest.approx([0.1024, 0.0938], abs=5e-5)


def test_lpips_keeps_its_promises(backbone: Backbone) -> None:
    for side, channels in ((32, 3), (40, 1), (12, 3), (5, 1)):
        a, b = noisy_pairs(side, channels=channels, dtype=torch.float32)
        values = lpips_distance(a, b, backbone)
        assert values.shape == (len(a),)
        assert (values > 0).all()
        assert not lpips_distance(a, a, backbone).any()
        torch.testing.assert_close(values, lpips_distance(b, a, backbone))
        apart = torch.cat([lpips_distance(a[:2], b[:2], backbone), lpips_distance(a[2:], b[2:], backbone)])
        torch.testing.assert_close(values, apart)
        if channels == 1:
            torch.testing.assert_close(values, lpips_distance(a.repeat(1, 3, 1, 1), b.repeat(1, 3, 1, 1), backbone))


def test_lpips_enlarges_small_images_and_says_so(backbone: Backbone) -> None:
    assert lpips_name(backbone, 32, 64) == "lpips (squeezenet1_1, heads 0.1)"
    assert lpips_name(backbone, 31, 64) == (
        "lpips (squeezenet1_1, heads 0.1, shorter side enlarged to 64 px, bilinear)"
    )
    a, b = noisy_pairs(16, dtype=torch.float32)
    large, other = (
        torch.nn.functional.interpolate(side, (64, 64), mode="bilinear", align_corners=False) for side in (a, b)
    )
    torch.testing.assert_close(lpips_distance(a, b, backbone), lpips_distance(large, other, backbone))


def test_lpips_in_similarity(store: Path) -> None:
    members = source(12, 0)
    found = similarity(members, members, source(12, 1), store, np.random.default_rng(0))
    compared = found_for(found, "lpips")
    assert compared.lower_is_closer
    assert "squeezenet1_1" in compared.name
    assert compared.release_law == {"n": 12, "median": 0, "p95": 0, "max": 0, "p5": 0, "min": 0}
    assert compared.controls_law["min"] > 0
    assert compared.place.estimate == 0
    assert not found.not_assessed
    entry = weights.stored("squeezenet1_1-features", store)
    assert entry is not None
    assert found.weights_sha256 == entry.sha256


def test_loading_lpips_needs_no_network_and_moves_no_random_number(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", no_network)
    before = torch.random.get_rng_state()
    found = load_backbone(store)
    assert found is not None
    assert torch.equal(before, torch.random.get_rng_state())
    assert capsys.readouterr() == ("", "")
    assert not found.network.training
    assert not any(parameter.requires_grad for parameter in found.network.parameters())


def test_every_number_of_the_backbone_is_loaded(store: Path, backbone: Backbone) -> None:
    """The network's own parameters are those of the store, and the heads those of the lpips package."""
    import lpips

    tensors = weights.load("squeezenet1_1-features", store)
    assert tensors is not None
    state = backbone.network.state_dict()
    mine = {f"features.{key.split('.', 2)[2]}": value for key, value in state.items() if key.startswith("net.")}
    assert mine.keys() == tensors.keys()
    assert all(torch.equal(mine[key], tensors[key]) for key in tensors)
    heads = torch.load(Path(lpips.__file__).parent / "weights" / "v0.1" / "squeeze.pth", "cpu", weights_only=True)
    assert len(heads) == 7
    assert all(torch.equal(state[key], heads[key]) for key in heads)


def random_weights(name: str) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) / 30 for key, shape in weights.KNOWN[name].items()}


@pytest.mark.parametrize("name", ["alexnet-features", "vgg16-features"])
def test_other_backbones_are_used_where_they_are_there(tmp_path: Path, name: str) -> None:
    safetensors.torch.save_file(random_weights(name), tmp_path / "some.safetensors")
    weights.add(tmp_path / "some.safetensors", tmp_path)
    found = load_backbone(tmp_path)
    assert found is not None
    assert found.stored.name == name
    assert lpips_name(found, 32, 32) == f"lpips ({name.removesuffix('-features')}, heads 0.1)"
    a, b = noisy_pairs(32, count=2, dtype=torch.float32)
    assert (lpips_distance(a, b, found) > 0).all()
    assert not lpips_distance(a, a, found).any()


def test_an_lpips_that_does_not_fit_is_no_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parameter that is not in the store would stay random: that must not pass."""
    name = "squeezenet1_1-features"
    safetensors.torch.save_file(random_weights(name), tmp_path / "some.safetensors")
    weights.add(tmp_path / "some.safetensors", tmp_path)
    whole = weights.load(name, tmp_path)
    assert whole is not None
    less = {key: tensor for key, tensor in whole.items() if key != "features.12.squeeze.bias"}
    monkeypatch.setattr(weights, "load", lambda *_: less)
    with pytest.raises(IncompleteError, match=r"net\.slice7\.12\.squeeze\.bias was not loaded"):
        load_backbone(tmp_path)
