"""When bfloat16 is used is decided by processor and network, not by a stopwatch."""

from __future__ import annotations

from typing import Any

import pytest

from privaudit.learning import precision
from privaudit.learning.networks import Architecture
from privaudit.learning.precision import bfloat16_pays


def network(name: str, side: int, channels: Any = 3) -> Architecture:
    return Architecture(name=name, channels=channels, classes=10, side=side)


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    bfloat16_pays.cache_clear()
    monkeypatch.setattr(precision, "instruction_sets", lambda: ("avx2", "avx512f", "avx512_bf16"))


@pytest.mark.parametrize(
    ("name", "side", "batch_size", "pays"),
    [
        ("resnet20", 32, 64, True),
        ("resnet18", 64, 16, True),
        ("convnet", 32, 16, True),
        ("convnet", 8, 64, False),
        ("lenet", 28, 16, False),
        ("mlp", 64, 128, False),
        ("convnet-groupnorm", 64, 128, False),
    ],
)
def test_large_convolutions_are_worth_it(name: str, side: int, batch_size: int, pays: bool) -> None:
    """As measured on a processor with AMX; `benchmarks.precision` repeats it."""
    assert bfloat16_pays(network(name, side), batch_size, "cpu") is pays


def test_operations_are_those_of_a_hand_count() -> None:
    """LeNet of 32 pixels: three 5 x 5 convolutions to 12 channels, 16 x 16, 8 x 8 and 8 x 8 places."""
    operations = 2 * 25 * 12 * (3 * 16 * 16 + 12 * 8 * 8 + 12 * 8 * 8)
    most = int(precision.WORTH_IT["cpu"] // operations)
    assert not bfloat16_pays(network("lenet", 32), most, "cpu")
    assert bfloat16_pays(network("lenet", 32), most + 1, "cpu")


@pytest.mark.parametrize("known", [(), ("avx2",), ("avx2", "avx512f", "avx512_fp16")])
def test_processors_without_it_take_float32(known: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "instruction_sets", lambda: known)
    assert not bfloat16_pays(network("resnet20", 32), 64, "cpu")


def test_apples_gpu_takes_float32() -> None:
    assert not bfloat16_pays(network("resnet20", 32), 64, "mps")
