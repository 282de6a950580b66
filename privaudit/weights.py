"""The local store of backbone weights: what a user added by hand, under its hash. Nothing is ever downloaded.

    <store>/<name>.safetensors     the tensors of the backbone's feature stack, float32, named as in torchvision
    <store>/<name>.json            sha256 of that file, and its number of parameters

A backbone is recognised by the names and shapes of its tensors, so a file may have any name. That tells an
architecture, not where the numbers came from: whoever adds a file answers for that; the hash goes into the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit.errors import InputError, suggestion
from privaudit.store import FULL, atomic_file

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]

_MOST_BYTES = 600 * 2**20
"""The largest network whose backbone is known, VGG-16, has 528 MiB."""
_HEAD = "classifier."
_ADD = "privaudit weights add FILE"
_DAMAGED = (
    *(OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(AssertionError, OverflowError, MemoryError, struct.error),
)
"""What torch raises, beside its refusals, for a file that is not the state dict it was."""


def _convolution(name: str, into: int, out: int, kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into, kernel, kernel), f"{name}.bias": (out,)}


def _squeezenet() -> Shapes:
    """Features of squeezenet1_1: a convolution, then eight Fire modules (squeeze; expand by 1x1 and by 3x3)."""
    shapes = _convolution("features.0", 3, 64, 3)
    into = 64
    for place, squeezed, expanded in (
        *((3, 16, 64), (4, 16, 64), (6, 32, 128), (7, 32, 128)),
        *((9, 48, 192), (10, 48, 192), (11, 64, 256), (12, 64, 256)),
    ):
        shapes |= _convolution(f"features.{place}.squeeze", into, squeezed, 1)
        shapes |= _convolution(f"features.{place}.expand1x1", squeezed, expanded, 1)
        shapes |= _convolution(f"features.{place}.expand3x3", squeezed, expanded, 3)
        into = 2 * expanded
    return shapes


def _plain(layers: tuple[tuple[int, int, int], ...]) -> Shapes:
    """Features of a plain stack: place, output channels and kernel of each convolution."""
    shapes: dict[str, tuple[int, ...]] = {}
    into = 3
    for place, out, kernel in layers:
        shapes |= _convolution(f"features.{place}", into, out, kernel)
        into = out
    return shapes


KNOWN: Mapping[str, Shapes] = {
    "squeezenet1_1-features": _squeezenet(),
    "alexnet-features": _plain(((0, 64, 11), (3, 192, 5), (6, 384, 3), (8, 256, 3), (10, 256, 3))),
    "vgg16-features": _plain(
        (
            *((0, 64, 3), (2, 64, 3), (5, 128, 3), (7, 128, 3), (10, 256, 3), (12, 256, 3), (14, 256, 3)),
            *((17, 512, 3), (19, 512, 3), (21, 512, 3), (24, 512, 3), (26, 512, 3), (28, 512, 3)),
        )
    ),
}
"""Names and shapes of the tensors of every backbone that the store takes: torchvision's feature stacks."""


@dataclass(frozen=True)
class Stored:
    """A backbone in the store: its name, the sha256 of its file (64 hex digits), its number of parameters."""

    name: str
    sha256: str
    parameters: int


def default_store() -> Path:
    """The folder in the environment variable PRIVAUDIT_WEIGHTS, else ~/.local/share/privaudit/weights."""
    named = os.environ.get("PRIVAUDIT_WEIGHTS")
    return Path(named) if named else Path.home() / ".local" / "share" / "privaudit" / "weights"


def parameters(name: str) -> int:
    """How many numbers a known backbone has."""
    return sum(prod(shape) for shape in KNOWN[name].values())


def add(file: Path, store: Path) -> Stored:
    """Put a backbone into the store; one of the same name is replaced.

    file: safetensors, or a state dict saved by torch (read with weights_only=True); the feature stack alone, or the
        whole network, whose classifier is dropped.
    Raises InputError for a file that is unreadable, of no known backbone, not float32, or with NaN or infinity in it.
    """
    import safetensors.torch

    found = {name: tensor for name, tensor in _read(file).items() if not name.startswith(_HEAD)}
    name = _recognised(found, file.name)
    tensors = {key: found[key].detach().contiguous().clone() for key in KNOWN[name]}
    for key, tensor in tensors.items():
        if str(tensor.dtype) != "torch.float32" or not tensor.isfinite().all():
            raise InputError(
                f"'{file.name}' is {name}, but its tensor {key} is {tensor.dtype} or not finite. "
                "Give weights in float32 without NaN or infinity."
            )
    data = safetensors.torch.save(tensors)
    entry = Stored(name, hashlib.sha256(data).hexdigest(), parameters(name))
    try:
        store.mkdir(parents=True, exist_ok=True)
        for path, content in zip(_paths(name, store), (data, _record(entry.sha256, name)), strict=True):
            with atomic_file(path) as partial:
                partial.write_bytes(content)
                partial.chmod(0o644)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(
            f"Weights cannot be kept in '{store}' ({error.strerror}). Choose another folder with --weights."
        ) from error
    return entry


def stored(name: str, store: Path) -> Stored | None:
    """What the store has under this name; None where it was not added.

    Raises InputError for a name that is not known, and for a damaged file.
    """
    found = _verified(name, store)
    return None if found is None else found[0]


def load(name: str, store: Path) -> dict[str, torch.Tensor] | None:
    """The tensors of a backbone, float32, by the names in `KNOWN`; None where it was not added.

    Raises InputError for a name that is not known, and for a file that is not the one that was added.
    """
    found = _verified(name, store)
    if found is None:
        return None
    tensors = _decoded(found[1], name)
    _recognised(tensors, name)
    return tensors


def _paths(name: str, store: Path) -> tuple[Path, Path]:
    return store / f"{name}.safetensors", store / f"{name}.json"


def _record(sha256: str, name: str) -> bytes:
    return json.dumps({"sha256": sha256, "parameters": parameters(name)}, indent=1).encode()


def _verified(name: str, store: Path) -> tuple[Stored, bytes] | None:
    if name not in KNOWN:
        raise InputError(f"No backbone is called '{name}'. {suggestion(name, KNOWN)}")
    file, record = _paths(name, store)
    try:
        data, facts = file.read_bytes(), record.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InputError(f"The weights '{name}' in '{store}' cannot be read ({error.strerror}).") from error
    digest = hashlib.sha256(data).hexdigest()
    if facts != _record(digest, name):
        raise InputError(
            f"The weights '{name}' in '{store}' are damaged: their hash is not the one they were added with. "
            f"Add them again: {_ADD}."
        )
    return Stored(name, digest, parameters(name)), data


def _read(file: Path) -> dict[str, Any]:
    """All tensors of a file by name; the format is told by its content."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            raise InputError(
                f"The weights '{file}' cannot be read: they are no file, or one of over {_MOST_BYTES // 2**20} MiB."
            )
        with file.open("rb") as opened:
            start = opened.read(9)
    except OSError as error:
        raise InputError(f"The weights '{file}' cannot be read ({error.strerror}).") from error
    if start[8:] == b"{":
        return _mapped(file)
    if not start.startswith((b"PK", b"\x80")):
        raise InputError(f"'{file.name}' is neither a safetensors file nor a state dict saved by torch.")
    return _unpickled(file)


def _mapped(file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file; values are read when they are needed, which they are of known names only."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, *_DAMAGED) as error:
        raise InputError(f"'{file.name}' is not a whole safetensors file ({str(error)[:200]}).") from error


def _decoded(data: bytes, name: str) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as tensors_in

    try:
        tensors: dict[str, torch.Tensor] = tensors_in(data)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"'{name}' is not a whole safetensors file ({error}).") from error
    return tensors


def _unpickled(file: Path) -> dict[str, Any]:
    import torch

    refused = torch.serialization.pickle.UnpicklingError  # type: ignore[attr-defined]
    try:
        if zipfile.is_zipfile(file):
            _judge_archive(file)
        with warnings.catch_warnings(), file.open("rb") as opened:  # by its name it could be taken for another format
            warnings.simplefilter("ignore")
            content = torch.load(opened, map_location="cpu", weights_only=True)
    except (refused, zipfile.BadZipFile, *_DAMAGED) as error:
        raise InputError(
            f"'{file.name}' is damaged, or holds more than tensors; nothing in it was run. Give a safetensors file or "
            "a plain state dict."
        ) from error
    if not isinstance(content, dict) or not all(map(_is_plain, content.values())):
        raise InputError(
            f"'{file.name}' holds {type(content).__name__}, not a plain state dict of dense tensors by name. "
            "Save network.state_dict() alone."
        )
    return {str(name): tensor for name, tensor in content.items()}


def _judge_archive(file: Path) -> None:
    """Raise ValueError for an archive that torch did not write: it never compresses, and a bomb does."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("compressed")
    if sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise ValueError("entries that overlap")


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor whose numbers are there: dense, and in memory."""
    import torch

    return isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type == "cpu"


def _recognised(tensors: Mapping[str, torch.Tensor], file: str) -> str:
    """The known backbone with exactly these tensors (the classifier left out)."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name, shapes in KNOWN.items():
        if found == shapes:
            return name
    some = ", ".join(f"{name[:60]} {list(shape)}" for name, shape in list(found.items())[:3])
    known = "; ".join(
        f"{name} ({len(shapes)} tensors, {parameters(name):,} parameters)" for name, shapes in KNOWN.items()
    )
    nearest = max(KNOWN, key=lambda name: len(KNOWN[name].items() & found.items()))
    differing = sorted(name for name, _ in KNOWN[nearest].items() ^ found.items())
    near = f" It is nearest to {nearest}, but differs in {differing[0][:60]}." if found.keys() & KNOWN[nearest] else ""
    raise InputError(
        f"'{file}' is no backbone that is known here: it has {len(found)} tensors without a classifier"
        f"{f' ({some}, ...)' if some else ''}.{near} Known, as in torchvision: {known}."
    )


def stored_backbones(folder: Path | None) -> dict[str, str]:
    """Hashes of the backbones in a weight store, by name. Raises InputError for a damaged one."""
    if folder is None:
        return {}
    return {name: found.sha256 for name in KNOWN if (found := stored(name, folder)) is not None}
