"""What a release says about itself: facts read from its folder, which outsiders have too, and from its manifest.

Nothing private is among them. Of the provenance only the engine, its version and its settings are taken, and of these
only numbers and plain words: a text that could be a path, a file, a host or an address is counted and left out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.data.decoding import probe
from privaudit.data.npy import open_npz, printable

_PLAIN = re.compile(r"[A-Za-z0-9 ,.:;()+=%_-]{1,200}")
_FILE_OR_DRIVE = re.compile(r"[A-Za-z0-9_-]\.[A-Za-z]|(?<![A-Za-z0-9])[A-Za-z]:")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,60}")
_DEEPEST = 5
_MOST_SETTINGS = 200
_MOST_VALUES = 32


@dataclass(frozen=True)
class File:
    """A released file: its path in the folder with forward slashes, its bytes and their SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Claim:
    """The privacy claim. Texts that are no plain words are None: release.json has them."""

    epsilon: float
    delta: float
    unit: str
    adjacency: str
    accountant: str | None
    trust_model: str | None


@dataclass(frozen=True)
class Description:
    """Facts about a release.

    classes: name and number of images by class number. size: height, width and channels in pixels.
    images_sha256: over all files with images as `sha256sum` lists them, in the order of their paths.
    shards: the files with many images each; empty where every image is a file of its own.
    engine, engine_version: None where the provenance does not say. settings: dotted key and value as text.
    settings_left_out: how many settings are only in release.json. artifacts: published beside all this, by name.
    """

    classes: tuple[tuple[str, int], ...]
    size: tuple[int, int, int]
    images_sha256: str
    shards: tuple[File, ...]
    soft_labels: File | None
    engine: str | None
    engine_version: str | None
    settings: tuple[tuple[str, str], ...]
    settings_left_out: int
    artifacts: tuple[str, ...]
    claim: Claim | None

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(count for _, count in self.classes)


def describe_release(
    folder: Path,
    *,
    pictures: Sequence[Path],
    labels: NDArray[np.int64] | None,
    shards: Sequence[Path],
    soft_labels: Path | None,
    class_names: Sequence[str],
    artifacts: Iterable[str],
    claim: Mapping[str, Any] | None,
    provenance: Mapping[str, Any],
) -> Description:
    """The facts about the release in this folder.

    pictures, labels: the image files and their class numbers; or shards: the `.npz` files.
    Raises InputError for files that cannot be read.
    """
    if labels is None:
        found = [_read_shard(path) for path in shards]
        size, labels = found[0][0], np.concatenate([part for _, part in found])
    else:
        header = probe(pictures[0], folder)
        size = (header.height, header.width, header.channels)
    files = [_file(path, folder) for path in sorted(pictures or shards)]
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    settings, left_out = _settings(provenance.get("settings"))
    return Description(
        classes=tuple(zip(class_names, counts, strict=True)),
        size=size,
        images_sha256=hashlib.sha256("".join(f"{one.sha256}  {one.path}\n" for one in files).encode()).hexdigest(),
        shards=tuple(files) if shards else (),
        soft_labels=None if soft_labels is None else _file(soft_labels, folder),
        engine=_word(provenance.get("engine")),
        engine_version=_word(provenance.get("version")),
        settings=tuple(settings),
        settings_left_out=left_out,
        artifacts=tuple(sorted(_word(name) or "unnamed" for name in artifacts)),
        claim=None if claim is None else _claim(claim),
    )


def _read_shard(path: Path) -> tuple[tuple[int, int, int], NDArray[np.int64]]:
    with open_npz(path, printable(path.name)) as file:
        height, width, *channels = file.headers["images"].shape[1:]
        return (height, width, channels[0] if channels else 1), file.read("labels").astype(np.int64)


def _file(path: Path, folder: Path) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        name = path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()
        return File(name, stream.tell(), digest)


def _claim(claim: Mapping[str, Any]) -> Claim:
    return Claim(
        float(claim["epsilon"]),
        float(claim["delta"]),
        str(claim["unit"]),
        str(claim["adjacency"]),
        _word(claim["accountant"]),
        _word(claim["trust_model"]),
    )


def _settings(settings: Any) -> tuple[list[tuple[str, str]], int]:
    """Numbers and plain words with their dotted keys, sorted; and how many others there are."""
    shown: list[tuple[str, str]] = []
    left_out = 0
    waiting = [("", settings, 0)] if isinstance(settings, Mapping) else []
    while waiting:
        above, values, depth = waiting.pop()
        for key, value in values.items():
            name = f"{above}{key}"
            text = _value(value)
            if not _KEY.fullmatch(str(key)) or depth == _DEEPEST:
                left_out += 1
            elif isinstance(value, Mapping):
                waiting.append((f"{name}.", value, depth + 1))
            elif text is None or len(shown) == _MOST_SETTINGS:
                left_out += 1
            else:
                shown.append((name, text))
    return sorted(shown), left_out


def _value(value: Any) -> str | None:
    if value is None:
        return "default"
    if isinstance(value, list | tuple) and len(value) <= _MOST_VALUES:
        parts = [None if isinstance(one, list | tuple) else _value(one) for one in value]
        return None if None in parts else f"({', '.join(part for part in parts if part is not None)})"
    return _word(value)


def _word(value: Any) -> str | None:
    """The value as text where it is a number or plain words, else None."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        text = repr(value) if isinstance(value, float) or abs(value) < 10**40 else ""
    else:
        text = value if isinstance(value, str) else ""
    return text if _PLAIN.fullmatch(text) and text.strip() and not _FILE_OR_DRIVE.search(text) else None
