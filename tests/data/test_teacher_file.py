"""A teacher from a file: what fits is read as it was written, and nothing else is."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_examples import random_images
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from privaudit.data.teacher_file import read_header, read_teacher, scan_teacher
from privaudit.errors import InputError
from privaudit.learning import Architecture, Network, logits
from privaudit.learning.training import seeded

SIZE = (12, 12, 1)


def network(name: str = "convnet", channels: Any = 1) -> Network:
    with seeded(3):
        found = Network(Architecture(name=name, channels=channels, classes=3, side=12)).eval()
    found.set_standardisation(np.full(channels, 0.3), np.full(channels, 0.2))
    return found


def raw(header: Any, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


@pytest.mark.parametrize("name", ["convnet", "mlp", "resnet20"])
def test_what_was_saved_is_read_whole_or_as_a_body(tmp_path: Path, name: str) -> None:
    images = random_images(5, 0, side=12)
    teacher = network(name)
    teacher.save(tmp_path / "whole.safetensors")
    read, notes = read_teacher(tmp_path / "whole.safetensors", name, SIZE, 3)
    np.testing.assert_array_equal(logits(read, images), logits(teacher, images))
    assert notes == []
    body = {key: value for key, value in teacher.body.state_dict().items() if "num_batches" not in key}
    save_file(body, tmp_path / "body.safetensors")
    read, notes = read_teacher(tmp_path / "body.safetensors", name, SIZE, 3)
    assert "no mean and std" in notes[0]
    teacher.mean.zero_()
    teacher.std.fill_(1)
    np.testing.assert_array_equal(logits(read, images), logits(teacher, images))
    assert not read.training


def test_reading_leaves_the_generators_alone(tmp_path: Path) -> None:
    network("mlp").save(tmp_path / "t.safetensors")
    before = torch.random.get_rng_state()
    read_teacher(tmp_path / "t.safetensors", "mlp", SIZE, 3)
    assert torch.random.get_rng_state().equal(before)


def test_other_architectures_sizes_and_classes_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    network("mlp").save(path)
    for name, size, classes, said in (
        ("lenet", SIZE, 3, "does not fit the architecture 'lenet': body.convolutions"),
        ("mlp", (16, 16, 1), 3, "body.hidden.weight is .* instead of"),
        ("mlp", (12, 12, 3), 3, "instead of"),
        ("mlp", SIZE, 4, r"instead of \(4, "),
        ("mlp", (4, 4, 1), 3, "no network takes images of 4 x 4"),
        ("resnet19", SIZE, 3, "Allowed: convnet, convnet-groupnorm, lenet, mlp, .*torchvision:NAME"),
        ("torchvision:resnet_18", (32, 32, 1), 3, "Did you mean 'resnet18'"),
    ):
        with pytest.raises(InputError, match=said):
            read_teacher(path, name, size, classes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    tensors = {key: tensor.double() for key, tensor in network("mlp").body.state_dict().items()}
    next(iter(tensors.values())).view(-1)[1] = value
    save_file(tensors, tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="no finite numbers"):
        read_teacher(tmp_path / "t.safetensors", "mlp", SIZE, 3)


def test_variances_below_zero_are_refused(tmp_path: Path) -> None:
    tensors = network().body.state_dict()
    name = next(key for key in tensors if key.endswith("running_var"))
    tensors[name] = -tensors[name]
    save_file(tensors, tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="below 0 in"):
        read_teacher(tmp_path / "t.safetensors", "convnet", SIZE, 3)


@pytest.mark.parametrize("name", ["t.pth", "t.pt", "t.safetensors", "T.BIN"])
def test_pickles_are_refused_and_their_conversion_is_told(tmp_path: Path, name: str) -> None:
    torch.save(network("mlp").state_dict(), tmp_path / name)
    with pytest.raises(InputError, match=r"is a pickle.*safetensors.torch.*weights_only=True"):
        read_teacher(tmp_path / name, "mlp", SIZE, 3)


def test_a_header_whose_length_begins_like_a_pickle_is_read(tmp_path: Path) -> None:
    """A length of 640 bytes is the bytes 80 02: those of a pickle of protocol 2."""
    header = json.dumps({"one": ONE}).encode().ljust(640)
    (tmp_path / "t.safetensors").write_bytes(raw(header, bytes(8)))
    assert read_header(tmp_path / "t.safetensors").shapes == {"one": (2,)}


def test_the_conversion_that_is_told_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from privaudit.data.teacher_file import CONVERT

    torch.save(network("mlp").state_dict(), tmp_path / "teacher.pth")
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", CONVERT.removeprefix('python -c "').removesuffix('"')], check=True)
    read, _ = read_teacher(tmp_path / "teacher.safetensors", "mlp", SIZE, 3)
    assert read.state_dict()["std"].item() == pytest.approx(0.2)


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
FILES: dict[str, tuple[bytes, str]] = {
    "a few bytes": (b"abc", "no whole safetensors file"),
    "a header longer than the file": (struct.pack("<Q", 2**40) + b"{}", "no whole safetensors file"),
    "a huge header": (raw(b" " * (5 * 2**20)), "header of 5,242,880 bytes"),
    "no JSON": (raw(b"{"), "no whole safetensors file"),
    "a list": (raw([1]), "no whole safetensors file"),
    "nested deeply": (raw(b"[" * 100_000), "no whole safetensors file"),
    "bytes behind the tensors": (raw({"a": ONE}, bytes(9)), "no whole safetensors file"),
    "too few bytes": (raw({"a": ONE}, bytes(7)), "no whole safetensors file"),
    "tensors on each other": (raw({"a": ONE, "b": ONE}, bytes(8)), "no whole safetensors file"),
    "a gap": (raw({"a": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), "no whole safetensors file"),
    "a size that is none": (raw({"a": {**ONE, "shape": [-2]}}, bytes(8)), "no whole safetensors file"),
    "a size that is true": (raw({"a": {**ONE, "shape": [True]}}, bytes(8)), "no whole safetensors file"),
    "a shape of terabytes": (raw({"a": {**ONE, "shape": [2**40, 2**40]}}, bytes(8)), "no whole safetensors file"),
    "texts": (raw({"a": {**ONE, "dtype": "STR"}}, bytes(8)), "of the type 'STR'. Allowed: F16, BF16, F32, F64, I64"),
    "whole numbers": (raw({"a": {**ONE, "dtype": "I32"}}, bytes(8)), "of the type 'I32'"),
    "a name over two lines": (raw({"a\nb": ONE}, bytes(8)), "no whole safetensors file"),
    "a name without end": (raw({"a" * 300: ONE}, bytes(8)), "no whole safetensors file"),
    "other names": (raw({"a": ONE}, bytes(8)), "does not fit the architecture 'mlp'"),
    "no names": (raw({}), "does not fit the architecture 'mlp'"),
}


@pytest.mark.parametrize("case", FILES)
def test_hostile_files_are_refused(tmp_path: Path, case: str) -> None:
    content, said = FILES[case]
    (tmp_path / "t.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=said) as error:
        read_teacher(tmp_path / "t.safetensors", "mlp", SIZE, 3)
    assert "\n" not in str(error.value)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any byte of the header changed, or the file cut: an InputError, or a network of the right shapes."""
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    network("mlp").save(path)
    content = bytearray(path.read_bytes())
    end = 8 + struct.unpack("<Q", content[:8])[0]
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    else:
        del content[data.draw(st.integers(1, len(content) - 1)) :]
    path.write_bytes(content)
    with contextlib.suppress(InputError):
        read, _ = read_teacher(path, "mlp", SIZE, 3)
        assert logits(read, random_images(2, 0, side=12)).shape == (2, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    network("mlp").save(tmp_path / "t.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "t.safetensors")
    (tmp_path / "loop.safetensors").symlink_to(tmp_path / "loop.safetensors")
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name, said in (
        ("link.safetensors", "is a link"),
        ("loop.safetensors", "is a link"),
        ("pipe.safetensors", "a folder or a device"),
        (".", "a folder or a device"),
        ("empty.safetensors", "0 bytes"),
        ("none.safetensors", "cannot be read"),
    ):
        with pytest.raises(InputError, match=said):
            read_teacher(tmp_path / name, "mlp", SIZE, 3)


def test_texts_beside_the_tensors_are_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    network("mlp").save(path)
    assert scan_teacher(read_header(path)) == []
    save_file(network("mlp").state_dict(), path, metadata={"format": "pt", "trained_by": "anna", "patient": "x"})
    (found,) = scan_teacher(read_header(path))
    assert (found.kind, found.count) == ("metadata", 2)
    assert "anna" not in found.sentence
