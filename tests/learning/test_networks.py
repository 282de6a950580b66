"""Networks: sizes as published, shortcuts by hand, files that are whole, wrong or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from privaudit.errors import InputError
from privaudit.images import Images
from privaudit.learning import Architecture, Network, accuracy, features, logits
from privaudit.learning.bodies import ResNet
from privaudit.learning.networks import NAMES, SQUARE, load_body, load_network

SHARED = Path(__file__).parents[3] / "shared"
METADATA = "privaudit network"
IMAGENET = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

# Test accuracy on all 10,000 images of CIFAR-10, in percent, as ../shared/data/README.md states it.
PUBLISHED = {"resnet20": 91.73, "resnet56": 93.39}


def architecture(name: str = "convnet", channels: Literal[1, 3] = 3, classes: int = 10, side: int = 32) -> Architecture:
    return Architecture(name=name, channels=channels, classes=classes, side=side)


def network(seed: int = 0, **facts: Any) -> Network:
    """A network of random weights, of which the running statistics and the standardisation are not the first ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = Network(architecture(**facts))
        channels = made.architecture.channels
        made.set_standardisation(np.linspace(0.3, 0.5, channels), np.linspace(0.2, 0.3, channels))
        made.train()(torch.rand(8, channels, made.architecture.side, made.architecture.side))
    return made.eval()


def images(count: int = 5, channels: int = 3, height: int = 32, width: int = 32) -> Images:
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (count, height, width, channels), dtype=np.uint8), np.zeros(count, np.int64))


def same_state(one: Network, other: Network) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype and torch.equal(ours[name], theirs[name]) for name in ours
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_every_size_gives_logits(name: str, channels: Literal[1, 3]) -> None:
    for side in (8, 9, 28, 32, 33, 64) if name in ("convnet", "resnet20") else (8, 17):
        made = Network(architecture(name, channels, 7, side)).eval()
        with torch.inference_mode():
            assert made(torch.rand(2, channels, side, side)).shape == (2, 7)
            if name not in SQUARE:
                assert made(torch.rand(2, channels, side, side + 5)).shape == (2, 7)


@pytest.mark.parametrize("name", SQUARE)
def test_some_networks_take_squares_of_one_size_only(name: str) -> None:
    made = Network(architecture(name, 1, 7, 9)).eval()
    for height, width in ((9, 14), (14, 9), (14, 14)):
        with pytest.raises(InputError, match=f"'{name}' was made for images of 9 x 9 pixels.*{width} x {height}"):
            made(torch.rand(2, 1, height, width))


def test_lenet_by_hand() -> None:
    """CIFAR: 32, 16, 8 and 8 pixels, so that 12 * 8 * 8 = 768 features enter the last layer, as published."""
    made = Network(architecture("lenet", classes=100))
    convolutions = (3 * 25 + 1) * 12 + 2 * (12 * 25 + 1) * 12
    assert made.parameter_count == convolutions + 768 * 100 + 100
    values = torch.cat([parameter.detach().flatten() for parameter in made.parameters()])
    assert -0.5 <= float(values.min()) < -0.499
    assert 0.499 < float(values.max()) <= 0.5
    assert sum(isinstance(module, nn.Sigmoid) for module in made.modules()) == 3


def test_mlp_by_hand() -> None:
    made = Network(architecture("mlp", 1, 3, 8))
    assert made.parameter_count == 64 * 1000 + 1000 + 1000 * 3 + 3
    hidden, linear = (made.body.get_submodule(name) for name in ("hidden", "linear"))
    batch = torch.rand(2, 1, 8, 8)
    expected = linear(hidden((batch * 2 - 1).flatten(1)).clamp_min(0))
    torch.testing.assert_close(made(batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_large_images_give_logits(name: str) -> None:
    with torch.device("meta"):
        body = architecture(name, 3, 4, 224).body()
        assert body(torch.empty(2, 3, 224, 224)).shape == (2, 4)


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet20", 269_722), ("resnet56", 853_018), ("resnet18", 11_173_962), ("resnet34", 21_282_122)],
)
def test_published_parameter_counts(name: str, count: int) -> None:
    assert Network(architecture(name)).parameter_count == count


@pytest.mark.parametrize(("side", "blocks"), [(8, 2), (15, 2), (16, 3), (28, 3), (32, 4), (64, 5), (128, 6), (224, 6)])
def test_blocks_of_the_small_network(side: int, blocks: int) -> None:
    body = architecture("convnet", 1, 3, side).body()
    maps = [module.out_channels for module in body.modules() if isinstance(module, nn.Conv2d)]
    assert maps == [min(256, 32 * 2**number) for number in range(blocks)]
    expected = sum(9 * a * b + 2 * b for a, b in zip([1, *maps], maps, strict=False)) + 3 * maps[-1] + 3
    assert sum(parameter.numel() for parameter in body.parameters()) == expected


def test_padded_shortcut_by_hand() -> None:
    """The first block of a stage with its inner branch silenced is ReLU(shortcut): every second pixel, zeros around."""
    body = architecture("resnet20").body()
    assert isinstance(body, ResNet)
    block = body.get_submodule("layer2.0").eval()
    nn.init.zeros_(block.get_parameter("bn2.weight"))
    maps = torch.arange(1.0, 16 * 16 + 1).reshape(1, 16, 4, 4)
    found = block(maps)
    assert found.shape == (1, 32, 2, 2)
    assert not found[:, :8].any()
    assert not found[:, 24:].any()
    assert found[0, 8].tolist() == [[1.0, 3.0], [9.0, 11.0]]
    assert found[0, 23].tolist() == [[241.0, 243.0], [249.0, 251.0]]
    assert not list(block.get_submodule("shortcut").parameters())


def test_inputs_are_standardised() -> None:
    made = network()
    batch = torch.rand(4, 3, 32, 32)
    standard = (batch - made.mean.reshape(1, 3, 1, 1)) / made.std.reshape(1, 3, 1, 1)
    torch.testing.assert_close(made(batch), made.body(standard), rtol=0, atol=0)
    made.set_standardisation(np.zeros(3), np.zeros(3))  # of black images
    assert torch.isfinite(made(torch.zeros(1, 3, 32, 32))).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_networks_of_torchvision(name: str, channels: Literal[1, 3]) -> None:
    made = Network(architecture(f"torchvision:{name}", channels, 5, 32))
    assert made.training
    assert logits(made, images(2, channels)).shape == (2, 5)


def test_grey_is_repeated() -> None:
    grey = network(name="torchvision:mobilenet_v3_small", channels=1)
    batch = torch.rand(2, 1, 32, 32)
    inner = (batch - grey.mean) / grey.std
    body = grey.body.get_submodule("body")
    torch.testing.assert_close(grey(batch), body(inner.repeat(1, 3, 1, 1)), rtol=0, atol=0)


def test_large_networks_of_torchvision_refuse_small_images() -> None:
    with pytest.raises(InputError, match=r"'torchvision:inception_v3' cannot take images of 32 x 32 pixels \(.+\)\."):
        architecture("torchvision:inception_v3").body()
    assert architecture("torchvision:inception_v3", side=75).body().training
    with pytest.raises(InputError, match=r"'torchvision:vit_b_32' cannot take images of 64 x 64 .*Expected 224"):
        architecture("torchvision:vit_b_32", side=64).body()
    with pytest.raises(InputError, match="'torchvision:squeezenet1_1' cannot take images of 8 x 8"):
        architecture("torchvision:squeezenet1_1", channels=1, side=8).body()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("resnet19", "no network 'resnet19'. Did you mean 'resnet18'"),
        (
            "vgg",
            "Allowed: convnet, convnet-groupnorm, lenet, mlp, resnet18, resnet20, resnet34, resnet56, "
            "torchvision:NAME.",
        ),
        ("torchvision:resnet19", "no classifier 'resnet19'. Did you mean 'resnet1"),
        ("torchvision:fasterrcnn_resnet50_fpn", "torchvision has no classifier"),
        ("torchvision:", "torchvision has no classifier ''"),
    ],
)
def test_unknown_names(name: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        architecture(name).body()
    assert told in str(error.value)


@pytest.mark.parametrize("facts", [{"channels": 2}, {"side": 7}, {"side": 1025}, {"classes": 0}, {"width": 3}])
def test_impossible_architectures(facts: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Architecture.model_validate({"name": "convnet", "channels": 3, "classes": 10, "side": 32} | facts)


@pytest.mark.parametrize("name", ["convnet", "resnet20", "torchvision:mobilenet_v3_small"])
def test_what_is_kept_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    made = network(name=name, channels=1, classes=4)
    path = tmp_path / "network.safetensors"
    made.save(path)
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    for found in (load_network(path), Network.from_arrays(made.arrays())):
        assert found.architecture == made.architecture
        assert not found.training
        assert same_state(found, made)
        np.testing.assert_array_equal(logits(found, images(3, 1)), logits(made, images(3, 1)))


def test_kept_arrays_are_copies_and_may_be_read_only() -> None:
    made = network()
    arrays = made.arrays()
    for array in arrays.values():
        array.flags.writeable = False
    again = Network.from_arrays(arrays)
    with torch.no_grad():
        next(made.body.parameters()).zero_()
        next(again.body.parameters()).mul_(2)
    name = "body.blocks.0.weight"
    assert arrays[name].any()
    np.testing.assert_array_equal(again.state_dict()[name].numpy(), 2 * arrays[name])


def saved(tmp_path: Path) -> tuple[Path, dict[str, Tensor], dict[str, str]]:
    """A file that is whole, what is in it, and its metadata."""
    path = tmp_path / "network.safetensors"
    made = network(classes=4, side=8)
    made.save(path)
    return path, load_file(path), {METADATA: made.architecture.model_dump_json()}


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not exist"):
        load_network(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="no readable safetensors"):
        load_network(tmp_path)
    path = tmp_path / "pickle.pt"
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"'pickle\.pt' is no readable safetensors file"):
        load_network(path)


def test_truncated_files_and_damaged_heads(tmp_path: Path) -> None:
    path, _, _ = saved(tmp_path)
    whole = path.read_bytes()
    for length in (0, 4, 8, 100, 2000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError):
            load_network(path)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, 3000, 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            load_network(path)  # such as another number of no meaning
        except InputError:
            continue


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {METADATA: ""}, {METADATA: "3"}, {METADATA: "{}"}, {METADATA: '{"name": "convnet"}'}, {"format": "pt"}],
)
def test_files_that_do_not_say_what_they_are(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path, tensors, _ = saved(tmp_path)
    save_file(tensors, path, metadata)
    with pytest.raises(InputError, match="does not say which network"):
        load_network(path)


def test_weights_of_another_network(tmp_path: Path) -> None:
    path, tensors, metadata = saved(tmp_path)
    missing = {name: tensor for name, tensor in tensors.items() if name != "body.linear.bias"}
    save_file(missing, path, metadata)
    with pytest.raises(InputError, match=r"do not fit the network 'convnet': body\.linear\.bias is missing\."):
        load_network(path)
    save_file(tensors | {"more": torch.zeros(1)}, path, metadata)
    with pytest.raises(InputError, match="more is not known"):
        load_network(path)
    save_file(tensors | {"body.linear.bias": torch.zeros(5)}, path, metadata)
    with pytest.raises(InputError, match=r"body\.linear\.bias is \(5,\) instead of \(4,\)"):
        load_network(path)
    facts = json.loads(metadata[METADATA])
    save_file(tensors, path, {METADATA: json.dumps(facts | {"name": "resnet20"})})
    with pytest.raises(InputError, match=r"and \d+ more"):
        load_network(path)
    save_file(tensors, path, {METADATA: json.dumps(facts | {"name": "rosnet20"})})
    with pytest.raises(InputError, match="Did you mean 'resnet20'"):
        load_network(path)


def test_bodies_of_other_programs_need_no_counters(tmp_path: Path) -> None:
    made, other = network(1, name="resnet20"), network(2, name="resnet20")
    path = tmp_path / "body.safetensors"
    state = {name: value for name, value in made.body.state_dict().items() if "num_batches" not in name}
    save_file(state, path)
    loaded = load_body(other.train(), path)
    assert loaded is other
    assert not loaded.training
    for name, value in state.items():
        assert torch.equal(loaded.body.state_dict()[name], value)
    with pytest.raises(InputError, match="do not fit the network 'resnet56'"):
        load_body(network(name="resnet56", side=8), path)


def test_logits_do_not_depend_on_chunks_mode_or_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, some = network(), images(20)
    whole = logits(made.train(), some)
    assert not made.training
    assert whole.dtype == np.float32
    np.save(tmp_path / "pixels.npy", some.pixels)
    mapped: NDArray[np.uint8] = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    np.testing.assert_array_equal(logits(made, Images(mapped, some.labels)), whole)
    monkeypatch.setattr("privaudit.learning.prediction._CHUNK_PIXELS", 3 * 1024)
    np.testing.assert_allclose(logits(made, some), whole, atol=1e-5)
    by_hand = made(torch.from_numpy(some.pixels.copy()).permute(0, 3, 1, 2).float() / 255)
    np.testing.assert_allclose(by_hand.detach().numpy(), whole, atol=1e-4)


def test_accuracy_counts_the_largest_logits() -> None:
    made, some = network(), images(20)
    labels = logits(made, some).argmax(1).astype(np.int64)
    labels[:5] = (labels[:5] + 1) % 10
    assert accuracy(made, Images(some.pixels, labels)) == 0.75


@pytest.mark.parametrize("name", ["convnet", "resnet20", "torchvision:mobilenet_v3_small"])
def test_features_are_what_the_last_layer_receives(name: str) -> None:
    made, some = network(name=name), images(6)
    found = features(made, some)
    last = [module for module in made.modules() if isinstance(module, nn.Linear)][-1]
    assert found.shape == (6, last.in_features)
    expected = found @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    np.testing.assert_allclose(logits(made, some), expected, atol=1e-4)
    assert not last._forward_pre_hooks


def test_features_of_a_network_without_a_last_layer() -> None:
    with pytest.raises(InputError, match="no features"):
        features(network(name="torchvision:squeezenet1_1"), images(2))


def cifar_network(name: str) -> Network:
    path = SHARED / "weights" / f"cifar10-{name}.safetensors"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout")
    made = Network(architecture(name))
    made.set_standardisation(*IMAGENET)
    return load_body(made, path)


def cifar_images(count: int) -> Images:
    path = SHARED / "data" / "cifar10" / "test.npz"
    if not path.exists():
        pytest.skip("CIFAR-10 is not beside this checkout")
    with np.load(path, allow_pickle=False) as arrays:
        return Images(arrays["images"][:count], arrays["labels"][:count])


@pytest.mark.parametrize("name", PUBLISHED)
def test_shared_weights_on_some_images(name: str) -> None:
    """Of 500 images, as many are right as the published accuracy lets expect: within its 99.9 % binomial interval."""
    from scipy.stats import binom

    made, some = cifar_network(name), cifar_images(500)
    low, high = binom.interval(0.999, 500, PUBLISHED[name] / 100)
    assert low <= round(500 * accuracy(made, some)) <= high


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_shared_weights_on_all_images(name: str) -> None:
    assert accuracy(cifar_network(name), cifar_images(10_000)) == pytest.approx(PUBLISHED[name] / 100, abs=1e-9)
