"""The weight store: backbones are recognised, kept whole, and checked when they are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from privaudit import weights
from privaudit.errors import InputError
from privaudit.torchvision_compat import import_torchvision

NETWORKS = {
    "squeezenet1_1-features": "squeezenet1_1",
    "alexnet-features": "alexnet",
    "vgg16-features": "vgg16",
}


def example(name: str = "squeezenet1_1-features", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random tensors of a backbone's names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator) for key, shape in weights.KNOWN[name].items()}


def safe_file(folder: Path, tensors: dict[str, torch.Tensor], name: str = "some.safetensors") -> Path:
    path = folder / name
    safetensors.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize(("name", "network"), NETWORKS.items())
def test_known_shapes_are_those_of_torchvision(name: str, network: str) -> None:
    import_torchvision()
    from torchvision import models

    with torch.device("meta"):
        whole = getattr(models, network)(weights=None).state_dict()
    found = {key: tuple(tensor.shape) for key, tensor in whole.items() if not key.startswith("classifier.")}
    assert found == weights.KNOWN[name]
    assert weights.parameters(name) == sum(
        tensor.numel() for key, tensor in whole.items() if not key.startswith("classifier.")
    )


def test_number_of_parameters() -> None:
    assert weights.parameters("squeezenet1_1-features") == 722_496


@pytest.mark.parametrize("name", ["squeezenet1_1-features", "alexnet-features"])
def test_what_is_added_is_loaded(tmp_path: Path, name: str) -> None:
    tensors = example(name)
    store = tmp_path / "a" / "store"
    entry = weights.add(safe_file(tmp_path, tensors), store)
    assert entry == weights.stored(name, store)
    assert (entry.name, entry.parameters) == (name, weights.parameters(name))
    file = store / f"{name}.safetensors"
    assert entry.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert json.loads((store / f"{name}.json").read_text()) == {
        "sha256": entry.sha256,
        "parameters": entry.parameters,
    }
    assert sorted(path.name for path in store.iterdir()) == [f"{name}.json", f"{name}.safetensors"]
    loaded = weights.load(name, store)
    assert loaded is not None
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_state_dict_with_its_classifier(tmp_path: Path, zipped: bool) -> None:
    tensors = example()
    path = tmp_path / "squeezenet.pth"
    whole = {key: torch.nn.Parameter(tensor) for key, tensor in tensors.items()}
    whole["classifier.1.weight"] = torch.nn.Parameter(torch.zeros(1000, 512, 1, 1))
    torch.save(whole, path, _use_new_zipfile_serialization=zipped)
    weights.add(path, tmp_path / "store")
    loaded = weights.load("squeezenet1_1-features", tmp_path / "store")
    assert loaded is not None
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], tensors[key]) for key in tensors)


def test_the_same_weights_have_one_hash_whatever_the_file(tmp_path: Path) -> None:
    tensors = example()
    torch.save(dict(reversed(tensors.items())), tmp_path / "some.pth")
    assert weights.add(safe_file(tmp_path, tensors), tmp_path / "a") == weights.add(
        tmp_path / "some.pth", tmp_path / "b"
    )


def test_adding_again_replaces(tmp_path: Path) -> None:
    first = weights.add(safe_file(tmp_path, example(seed=0)), tmp_path / "store")
    second = weights.add(safe_file(tmp_path, example(seed=1)), tmp_path / "store")
    assert first.sha256 != second.sha256
    assert weights.stored(second.name, tmp_path / "store") == second


def test_absent_weights_are_none(tmp_path: Path) -> None:
    assert weights.load("vgg16-features", tmp_path / "nowhere") is None
    assert weights.stored("vgg16-features", tmp_path) is None
    safe_file(tmp_path, example(), "squeezenet1_1-features.safetensors")
    assert weights.load("squeezenet1_1-features", tmp_path) is None, "a file without its hash was never added"


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'alexnet-features'"):
        weights.load("alexnet_features", tmp_path)


@pytest.mark.parametrize("change", ["a byte", "cut", "record", "no record", "other hash"])
def test_damage_is_found(tmp_path: Path, change: str) -> None:
    name = weights.add(safe_file(tmp_path, example()), tmp_path).name
    file, record = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json"
    data = bytearray(file.read_bytes())
    if change == "a byte":
        data[-5] ^= 1
        file.write_bytes(data)
    elif change == "cut":
        file.write_bytes(data[:-1])
    elif change == "record":
        record.write_text("[")
    elif change == "no record":
        record.write_text("")
    else:
        record.write_text(record.read_text().replace('"sha256": "', '"sha256": "0'))
    for read in (weights.load, weights.stored):
        with pytest.raises(InputError, match="damaged: their hash"):
            read(name, tmp_path)


def test_a_store_whose_hashes_were_made_for_other_tensors(tmp_path: Path) -> None:
    """The names and shapes are looked at again: a hash alone does not make a backbone."""
    name = weights.add(safe_file(tmp_path, example()), tmp_path).name
    file, record = tmp_path / f"{name}.safetensors", tmp_path / f"{name}.json"
    old = hashlib.sha256(file.read_bytes()).hexdigest()
    safe_file(tmp_path, {"features.0.weight": torch.zeros(1)}, file.name)
    record.write_text(record.read_text().replace(old, hashlib.sha256(file.read_bytes()).hexdigest()))
    with pytest.raises(InputError, match="no backbone that is known"):
        weights.load(name, tmp_path)


def test_an_unknown_backbone_is_described(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        weights.add(safe_file(tmp_path, {"conv.weight": torch.zeros(8, 3, 3, 3)}), tmp_path / "store")
    for part in ("1 tensors", "conv.weight [8, 3, 3, 3]", "squeezenet1_1-features (50 tensors, 722,496 parameters)"):
        assert part in str(caught.value)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("change", ["missing", "shape", "more"])
def test_nearly_a_backbone_is_not_one(tmp_path: Path, change: str) -> None:
    tensors = example()
    if change == "missing":
        del tensors["features.12.squeeze.bias"]
    elif change == "shape":
        tensors["features.12.squeeze.bias"] = torch.zeros(65)
    else:
        tensors["features.12.squeeze.biases"] = torch.zeros(64)
    with pytest.raises(InputError, match=r"nearest to squeezenet1_1-features, but differs in features\.12\.squeeze\.b"):
        weights.add(safe_file(tmp_path, tensors), tmp_path / "store")


@pytest.mark.parametrize("wrong", [torch.full((64,), float("nan")), torch.zeros(64, dtype=torch.float16)])
def test_numbers_that_cannot_be_used(tmp_path: Path, wrong: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"features\.0\.bias"):
        weights.add(safe_file(tmp_path, example() | {"features.0.bias": wrong}), tmp_path / "store")


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return exec, ("raise SystemExit('ran')",)


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"features.0.weight": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="nothing in it was run"):
        weights.add(tmp_path / "evil.pth", tmp_path / "store")


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"state_dict": {"a": torch.zeros(2)}}, torch.zeros(2)])
def test_files_that_are_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "some.pth")
    with pytest.raises(InputError, match="not a plain state dict"):
        weights.add(tmp_path / "some.pth", tmp_path / "store")


@pytest.mark.parametrize("size", [0, 5, 12, 100, 1000])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_cut_files(tmp_path: Path, kind: str, size: int) -> None:
    path = tmp_path / "some.file"
    if kind == "safetensors":
        safetensors.torch.save_file(example(), path)
    else:
        torch.save(example(), path, _use_new_zipfile_serialization=kind == "zip")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match=r"some\.file"):
        weights.add(path, tmp_path / "store")


def test_other_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no weights at all")
    with pytest.raises(InputError, match="neither a safetensors file nor"):
        weights.add(tmp_path / "notes.txt", tmp_path / "store")
    for path in (tmp_path, tmp_path / "missing.pth"):
        with pytest.raises(InputError, match="cannot be read"):
            weights.add(path, tmp_path / "store")


def test_a_store_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--weights"):
        weights.add(safe_file(tmp_path, example()), tmp_path / "file" / "store")
    assert weights.load("alexnet-features", tmp_path / "file" / "store") is None


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRIVAUDIT_WEIGHTS", str(tmp_path))
    assert weights.default_store() == tmp_path
    monkeypatch.delenv("PRIVAUDIT_WEIGHTS")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.default_store() == tmp_path / ".local" / "share" / "privaudit" / "weights"
