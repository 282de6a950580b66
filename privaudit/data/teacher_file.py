"""A teacher from a safetensors file: its header is judged before anything is built; pickles are refused."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit.data.image_scan import finding
from privaudit.data.named_file import ordinary_file
from privaudit.data.npy import printable
from privaudit.data.resizing import plural
from privaudit.errors import InputError
from privaudit.record import ScanFinding

if TYPE_CHECKING:
    from torch import Tensor

    from privaudit.learning import Network

_MOST_BYTES = 8 * 2**30
_MOST_HEADER = 4 * 2**20
_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I64": 8}
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".bin", ".ckpt")
_PICKLE_STARTS = (b"\x80", b"PK\x03\x04")
_KNOWN_METADATA = ("format", "privaudit network")
_BODY, _STANDARDISATION = "body.", ("mean", "std")

CONVERT = (
    'python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('teacher.pth', weights_only=True), 'teacher.safetensors')\""
)


@dataclass(frozen=True)
class Header:
    """What a safetensors file declares: shapes by name, and texts beside them."""

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]


def read_teacher(path: Path, network: str, size: tuple[int, int, int], classes: int) -> tuple[Network, list[str]]:
    """The network in a file, in evaluation mode, and notes about it.

    network: its architecture by name (see `learning.networks.NAMES`). size: height, width and channels of the images.
    Names of the tensors are those of the body, or those of `Network.save`. With `mean` and `std` among them, inputs
    are standardised so; else they are taken as they are, in [0, 1].
    Raises InputError for pickles, links, damaged files, other names, types or shapes, and values that are not finite.
    """
    header = read_header(path)
    import torch
    from pydantic import ValidationError

    from privaudit.learning import Architecture
    from privaudit.learning import Network as Network_
    from privaudit.learning.networks import NAMES, misfits, read_safetensors
    from privaudit.learning.training import seeded

    if network not in NAMES and not network.startswith("torchvision:"):
        raise InputError(
            f"teacher: there is no architecture '{network}'. Allowed: {', '.join(NAMES)}, or torchvision:NAME."
        )
    height, width, channels = size
    try:
        architecture = Architecture.model_validate(
            {"name": network, "channels": channels, "classes": classes, "side": min(height, width)}
        )
    except ValidationError:
        raise InputError(
            f"teacher: no network takes images of {width} x {height} pixels; 8 to 1024 are taken."
        ) from None
    whole = any(name.startswith(_BODY) for name in header.shapes)
    with torch.device("meta"):
        empty = Network_(architecture)
    found = dict(header.shapes)
    if not whole:
        found = {name if name in _STANDARDISATION else _BODY + name: shape for name, shape in found.items()}
        found = dict.fromkeys(_STANDARDISATION, (channels,)) | found
    wrong = misfits({name: tuple(value.shape) for name, value in empty.state_dict().items()}, found)
    if wrong:
        raise InputError(f"teacher: '{path.name}' does not fit the architecture '{network}': {wrong}.")
    tensors = {
        name if whole or name in _STANDARDISATION else _BODY + name: value
        for name, value in read_safetensors(path)[0].items()
    }
    _check_values(tensors, path)
    with seeded(0):
        teacher = Network_(architecture)
    notes = []
    if "mean" not in tensors or "std" not in tensors:
        tensors |= {"mean": torch.zeros(channels), "std": torch.ones(channels)}
        notes.append("The teacher's file names no mean and std: its inputs are taken as they are, from 0 to 1.")
    teacher.load_state_dict(tensors, strict=False)
    return teacher.eval(), notes


def read_header(path: Path) -> Header:
    """The header of a safetensors file, held against the bytes that follow; nothing else is read."""
    size = ordinary_file(path, "teacher", _MOST_BYTES)
    shown = f"teacher: {printable(path.name)}"
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        # The length of a header may begin like a pickle; that of a pickle, read as one, is far too large.
        looks_like_one = start.startswith(_PICKLE_STARTS) and length > min(size - 8, _MOST_HEADER)
        if path.suffix.lower() in _PICKLES or looks_like_one:
            raise InputError(
                f"{shown} is a pickle, or named like one; pickles can run code when they are read, so none is. Convert "
                f"it where you trust it, and give the result: {CONVERT}."
            )
        if length > size - 8:
            raise InputError(f"{shown} is no whole safetensors file. Save it again with safetensors.")
        if length > _MOST_HEADER:
            raise InputError(f"{shown} has a header of {length:,} bytes; at most {_MOST_HEADER:,} are read.")
        try:
            declared = json.loads(file.read(length))
            metadata = declared.pop("__metadata__", {})
            shapes = _shapes(declared, size - 8 - length)
            texts = {str(key): str(value) for key, value in metadata.items()}
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise InputError(f"{shown} is no whole safetensors file. Save it again with safetensors.") from None
    return Header(shapes, texts)


def _shapes(declared: Mapping[str, Any], stored: int) -> dict[str, tuple[int, ...]]:
    """Shapes by name; ValueError unless the tensors lie end to end in the bytes that are stored."""
    shapes, ends = {}, []
    for name, entry in declared.items():
        shape, (start, end), width = entry["shape"], entry["data_offsets"], _BYTES.get(entry["dtype"])
        if width is None:
            raise InputError(
                f"teacher: the tensor {printable(name)} is of the type {printable(str(entry['dtype']))}. Allowed: "
                f"{', '.join(_BYTES)}."
            )
        numbers = (*shape, start, end)
        if not (name.isprintable() and len(name) <= 200):
            raise ValueError
        if len(shape) > 8 or not all(type(number) is int and 0 <= number < 2**48 for number in numbers):
            raise ValueError
        if end - start != width * math.prod(shape):
            raise ValueError
        shapes[name] = tuple(shape)
        ends.append((start, end))
    place = 0
    for start, end in sorted(ends):
        if start != place:
            raise ValueError
        place = end
    if place != stored:
        raise ValueError
    return shapes


def _check_values(tensors: Mapping[str, Tensor], path: Path) -> None:
    for name, value in tensors.items():
        if value.is_floating_point() and not value.float().isfinite().all():
            raise InputError(f"teacher: '{path.name}' holds values in {printable(name)} that are no finite numbers.")
        if (name.endswith("running_var") and (value < 0).any()) or (name == "std" and (value <= 0).any()):
            raise InputError(f"teacher: '{path.name}' holds a variance or deviation below 0 in {printable(name)}.")


def scan_teacher(header: Header) -> list[ScanFinding]:
    """What the file says beside its tensors, which would be published with it."""
    extra = [key for key in header.metadata if key not in _KNOWN_METADATA]
    if not extra:
        return []
    sentence = (
        f"The teacher's file carries {plural(len(extra), 'text', 'texts')} beside its tensors (metadata), which would "
        "be published. Save it again without metadata."
    )
    return [finding("metadata", sentence, len(extra))]
