"""Weights whose header lies, that are no numbers, or that are programs: given as a teacher, and to the weight store."""

from __future__ import annotations

import io
import json
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hostile_cases import (
    CANARY,
    MIB,
    Build,
    Case,
    Content,
    Kind,
    Payload,
    encoded,
    endless_of,
    file_of,
    pipe_of,
    zipped,
)
from safetensors.torch import save

from privaudit.learning import Architecture, Network
from privaudit.learning.training import seeded
from privaudit.weights import KNOWN

KINDS: tuple[Kind, ...] = ("teacher", "weights")
BACKBONE = "squeezenet1_1-features"
FEATURES = "features.0.weight"

Tensors = dict[str, torch.Tensor]


@lru_cache(1)
def teacher() -> Tensors:
    """Of the network that a teacher is read as."""
    with seeded(0):
        made = Network(Architecture(name="mlp", channels=1, classes=3, side=12))
    return {name: value.clone() for name, value in made.body.state_dict().items()}


@lru_cache(1)
def backbone() -> Tensors:
    return {name: torch.zeros(shape) for name, shape in KNOWN[BACKBONE].items()}


def _good(kind: Kind) -> Tensors:
    return teacher() if kind == "teacher" else backbone()


def _raw(header: Any, content: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def _one(shape: Any, offsets: Any, dtype: Any = "F32", name: str = "a", size: int = 16) -> Content:
    """A file of a single tensor, of which this is declared."""
    return lambda: _raw({name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, bytes(size))


def _two(first: Any, second: Any) -> Content:
    return lambda: _raw(
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": first},
         "b": {"dtype": "F32", "shape": [2], "data_offsets": second}}, bytes(16)
    )  # fmt: skip


_PLAIN = b'{"dtype":"F32","shape":[4],"data_offsets":[0,16]}'
HEADERS: dict[str, Content] = {
    "empty": lambda: b"",
    "seven bytes": lambda: b"\0" * 7,
    "a length without header": lambda: struct.pack("<Q", 2),
    "a header of 2^63 bytes": lambda: b"\xff" * 7 + b"\x7f{}",
    "a header of 100 MB that is not there": lambda: struct.pack("<Q", 10**8) + b"{" + bytes(99),
    "a header of 100 MB": lambda: _raw(b"{" + b" " * 10**8 + b"}"),
    "a header that is no JSON": lambda: _raw(b"{'a': 1}"),
    "a header that is a list": lambda: _raw(b"[1, 2]"),
    "a header that is a text": lambda: _raw(b'"\x1b[2J"'),
    "100,000 brackets": lambda: _raw(b'{"a":' + b"[" * 100_000 + b"}"),
    "a header in Latin-1": lambda: _raw(b'{"\xe4":' + _PLAIN + b"}", bytes(16)),
    "NaN as an offset": lambda: _raw(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,NaN]}}', bytes(16)),
    "no shape": lambda: _raw({"a": {"dtype": "F32", "data_offsets": [0, 16]}}, bytes(16)),
    "offsets that are one number": _one([4], 16),
    "negative offsets": _one([4], [-16, 0]),
    "offsets the wrong way round": _one([4], [16, 0]),
    "offsets behind the end": _one([4], [2**40, 2**40 + 16]),
    "offsets of floats": _one([4], [0.0, 16.0]),
    "offsets of switches": _one([1], [False, True], "I8"),
    "tensors that overlap": _two([0, 8], [4, 12]),
    "a gap between tensors": lambda: _two([0, 8], [12, 20])() + bytes(4),
    "bytes behind the tensors": lambda: _one([4], [0, 16])() + b"#!/bin/sh",
    "a terabyte": _one([2**38], [0, 2**40]),
    "sizes that overflow to 16": _one([2**32, 2**32, 2**60], [0, 16]),
    "a negative size": _one([-4], [0, 16]),
    "60 dimensions": _one([1] * 59 + [4], [0, 16]),
    "a size that is a text": _one("4", [0, 16]),
    "an unknown type": _one([4], [0, 16], "X128"),
    "a type of escapes": _one([4], [0, 16], "\x1b[31m"),
    "a type that is a list": _one([4], [0, 16], ["F32"]),
    "a type of 8 bits": _one([16], [0, 16], "F8_E4M3"),
    "a name of escapes": _one([4], [0, 16], name="\x1b]0;x\x07"),
    "a name of 100,000 letters": _one([4], [0, 16], name="x" * 100_000),
    "an empty name": _one([4], [0, 16], name=""),
    "a name twice": lambda: _raw(b'{"a":' + _PLAIN + b',"a":' + _PLAIN + b"}", bytes(16)),
    "metadata that are a list": lambda: _raw({"__metadata__": [1]}),
    "metadata of numbers": lambda: _raw({"__metadata__": {"a": 1}}),
    "no tensors": lambda: _raw({}),
    "20,000 empty tensors": lambda: _raw(
        {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(20_000)}
    ),
    "a picture": lambda: encoded("png"),
    "a zip": lambda: zipped({"data.pkl": b"x"}),
    "a zip that leads out": lambda: zipped({f"../../{CANARY}": b"x", "archive/data.pkl": b"\x80\x02}."}),
    "an end of a zip": lambda: b"PK\5\6" + bytes(18),
    "HDF5": lambda: b"\x89HDF\r\n\x1a\n" + bytes(200),
}


def _changed(kind: Kind, change: Callable[[Tensors], object]) -> Content:
    def content() -> bytes:
        made = dict(_good(kind))
        change(made)
        return save(made)

    return content


def _first(made: Tensors) -> str:
    return next(name for name, value in made.items() if value.ndim > 1)


def _filled(value: float) -> Callable[[Tensors], object]:
    return lambda made: made.update({_first(made): torch.full_like(made[_first(made)], value)})


CHANGES: dict[str, Callable[[Tensors], object]] = {
    "NaN": _filled(math.nan),
    "infinity": _filled(math.inf),
    "a tensor that is missing": lambda made: made.pop(_first(made)),
    "a tensor too many": lambda made: made.update(extra=torch.zeros(1)),
    "a tensor of another shape": lambda made: made.update({_first(made): torch.zeros(1, 2)}),
    "a tensor turned": lambda made: made.update({_first(made): made[_first(made)].flatten()}),
    "a tensor of no values": lambda made: made.update({_first(made): torch.zeros(0)}),
    "a tensor under another name": lambda made: made.update({f"\u202e{_first(made)}": made.pop(_first(made))}),
}


def _pickled(kind: Kind, name: str, protocol: int) -> Build:
    """A pickle that runs code."""

    def build(folder: Path) -> Path:
        content = pickle.dumps({"weight": Payload(folder.parent / CANARY)}, protocol)
        return file_of(name, lambda: content)(folder)

    return build


def _torch_file(make: Callable[[Path], Any], **options: Any) -> Build:
    """What torch.save writes."""

    def build(folder: Path) -> Path:
        torch.save(make(folder), folder / "x.pt", **options)
        return folder / "x.pt"

    return build


def _like(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], Any]:
    return lambda folder: backbone() | {FEATURES: change(backbone()[FEATURES])}


def _bomb() -> bytes:
    """A torch archive whose program is 200 MiB of zeros, compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("archive/data.pkl", "w") as member:
            for _ in range(200):
                member.write(bytes(MIB))
        archive.writestr("archive/version", "3")
    return stream.getvalue()


PICKLED: dict[str, Callable[[Path], Any]] = {
    "code in a state dict": lambda folder: {FEATURES: Payload(folder.parent / CANARY)},
    "code beside a state dict": lambda folder: backbone() | {"x": Payload(folder.parent / CANARY)},
    "a list": lambda folder: [torch.zeros(3)],
    "a number": lambda folder: 7,
    "a whole network": lambda folder: torch.nn.Linear(2, 2),
    "names that are numbers": lambda folder: dict(enumerate(backbone().values())),
    "names of escapes": lambda folder: {"\x1b[2J": torch.zeros(3)},
    "numbers of numpy": lambda folder: {FEATURES: np.zeros(3)},
    "a tensor without numbers": _like(lambda tensor: tensor.to("meta")),
    "a sparse tensor": _like(lambda tensor: tensor.to_sparse()),
    "a tensor of halves": _like(lambda tensor: tensor.half()),
    "a complex tensor": _like(lambda tensor: tensor.to(torch.complex64)),
    "a tensor of NaN": _like(lambda tensor: torch.full_like(tensor, math.nan)),
    "a tensor of 2^40 numbers that are one": lambda folder: {FEATURES: torch.zeros(1).expand(2**20, 2**20)},
}


def _sparse(folder: Path) -> Path:
    """A whole file of 3 GiB, which takes no place on the disk."""
    with (folder / "x.safetensors").open("wb") as file:
        file.write(_raw({"a": {"dtype": "F32", "shape": [3 * 2**28], "data_offsets": [0, 3 * 2**30]}}))
        file.truncate(file.tell() + 3 * 2**30)
    return folder / "x.safetensors"


CASES = (
    *(Case(name, kind, file_of("x.safetensors", content)) for kind in KINDS for name, content in HEADERS.items()),
    *(
        Case(f"with {name}", kind, file_of("x.safetensors", _changed(kind, change)))
        for kind in KINDS
        for name, change in CHANGES.items()
    ),
    *(
        Case(f"a pickle of protocol {protocol} named {name}", kind, _pickled(kind, name, protocol))
        for kind in KINDS
        for name in ("x.pt", "x.safetensors")
        for protocol in (0, 2, 5)
    ),
    *(Case(f"torch, {name}", "weights", _torch_file(make)) for name, make in PICKLED.items()),
    Case("torch, the old format, code in it", "weights", _torch_file(PICKLED["code in a state dict"],
                                                                     _use_new_zipfile_serialization=False)),
    Case("torch, a bomb", "weights", file_of("x.pt", _bomb)),
    Case("torch, given as a teacher", "teacher", _torch_file(lambda folder: dict(teacher()))),
    *(Case("a pipe", kind, pipe_of("x.safetensors")) for kind in KINDS),
    *(Case("a link to /dev/zero", kind, endless_of("x.safetensors")) for kind in KINDS),
    *(Case("a whole file of 3 GiB", kind, _sparse) for kind in KINDS),
    *(Case("a folder", kind, lambda folder: folder) for kind in KINDS),
)  # fmt: skip
