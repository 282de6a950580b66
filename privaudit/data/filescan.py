"""Scan the released files themselves: what they carry beside pixels, and whether names or order repeat the members'.

Findings name released images by neutral ids (`r-000012`, the row in the release), never by path.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from privaudit.data.container_scan import scan_saved, scan_table
from privaudit.data.croissant import CROISSANT, completes
from privaudit.data.datasheet import DATASHEET, is_text
from privaudit.data.folders import GROUPS_FILE
from privaudit.data.image_scan import finding, scan_images
from privaudit.data.loading import is_named
from privaudit.data.npz import KEYS, list_shards
from privaudit.data.release_folder import SOFT_LABELS, STATISTICS
from privaudit.data.release_manifest import MANIFEST, Manifest, read_manifest
from privaudit.data.release_writing import describing_files
from privaudit.data.resizing import plural
from privaudit.data.saved_dataset import is_saved
from privaudit.data.tables import is_table
from privaudit.data.traces import CHANCE, repeated_names, repeated_order
from privaudit.images import Dataset
from privaudit.record import ScanFinding

_EXPECTED_KEYS = frozenset(KEYS) - {"groups"}


def scan(source: str | Path, members: Dataset, release: Dataset, named: Iterable[Path] = ()) -> tuple[ScanFinding, ...]:
    """Everything suspicious about the released files, in a fixed order of kinds.

    named: files published with it that the user named one by one (soft labels, a teacher, a claim), read elsewhere.

    source: the release as the user gave it; release: the dataset loaded from it, in the members' class numbering.
    Metadata: EXIF, XMP, IPTC, text, comments, times, unusual colour profiles, thumbnails, unknown chunks, DICOM.
    Trailing bytes: anything but zeros behind the end of an image; bytes of a `.npz` outside its entries.
    Unexpected: any file (hidden ones too) that is not an image of the release, unknown arrays in a `.npz`, and a
    croissant.json or DATASHEET.md that does not belong to the release.
    Names and order: see `traces`.
    """
    findings: list[ScanFinding] = []
    path = Path(source)
    if is_named(source):
        pass
    elif is_table(path):
        findings += scan_table(path)
    elif path.is_dir() and is_saved(path) and not (path / MANIFEST).exists():
        found, files = scan_saved(path)
        findings += [*found, *_scan_folder(path, [*files, *_within(path, named)])]
    elif path.is_dir():
        shards = list_shards(path) or (list_shards(path / "images") if (path / "images").is_dir() else [])
        if shards:
            findings += _scan_archives(shards)
        else:
            findings += scan_images((path / name).read_bytes() for name in release.names)
        expected = [*(path / name for name in release.names), *shards, *_within(path, named)]
        findings += _scan_folder(path, expected)
    elif path.is_file():
        findings += _scan_archives([path])
    findings += _scan_names(members, release)
    findings += _scan_order(members, release)
    return tuple(findings)


def _within(root: Path, named: Iterable[Path]) -> list[Path]:
    """Those of the files that lie in the folder, as `os.walk` names them."""
    inside = root.resolve()
    return [root / found.relative_to(inside) for path in named if (found := path.resolve()).is_relative_to(inside)]


def _scan_folder(root: Path, expected: Iterable[Path]) -> list[ScanFinding]:
    """Files of the folder, hidden ones included, that are neither images of the release nor declared by it."""
    allowed = set(expected)
    findings: list[ScanFinding] = []
    if (root / MANIFEST).exists():
        manifest, _ = read_manifest(root)
        allowed |= {
            root / MANIFEST,
            root / SOFT_LABELS,
            root / STATISTICS,
            *(root / name for name in manifest.artifacts.values()),
        }
        describing = [root / name for name in (CROISSANT, DATASHEET) if os.path.lexists(root / name)]
        allowed |= set(describing)
        findings = _scan_describing(root, manifest, describing)
    unexpected: list[Path] = []
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        unexpected += [Path(folder) / name for name in (*files, *links) if Path(folder) / name not in allowed]
    if not unexpected:
        return findings
    dicom = sum(_is_dicom(path) for path in unexpected)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(map(_shown_kind, unexpected)).items()))
    notes = f" {plural(dicom, 'is a DICOM file', 'are DICOM files')}, with the patient's data." if dicom else ""
    if root / GROUPS_FILE in unexpected:
        notes += f" {GROUPS_FILE} says which images show the same person."
    return [
        *findings,
        finding(
            "unexpected_file",
            f"{plural(len(unexpected), 'file')} in the release folder {'is' if len(unexpected) == 1 else 'are'} no "
            f"image of the release ({kinds}) and would be published unassessed.{notes} Remove what is not meant to be "
            "published.",
            len(unexpected),
        ),
    ]


def _scan_describing(root: Path, manifest: Manifest, paths: Sequence[Path]) -> list[ScanFinding]:
    """Those of croissant.json and DATASHEET.md that do not belong to the release. Their owner's answers are welcome."""
    if not paths:
        return []
    expected = describing_files(root, manifest)
    held = {CROISSANT: completes, DATASHEET: is_text}
    changed = [path.name for path in paths if not held[path.name](path, expected[path.name])]
    if not changed:
        return []
    return [
        finding(
            "unexpected_file",
            f"{' and '.join(changed)} {'does' if len(changed) == 1 else 'do'} not describe this release: damaged, of "
            "another release or of another version, and would be published unassessed. Write the release anew, and "
            "add only the answers and fields that its owner knows.",
            len(changed),
        )
    ]


def _shown_kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return suffix if 1 < len(suffix) <= 6 and suffix[1:].isascii() and suffix[1:].isalnum() else "other"


def _is_dicom(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _scan_archives(paths: Sequence[Path]) -> list[ScanFinding]:
    """Further arrays or files in `.npz` files, comments, and bytes around the archive."""
    extra: Counter[str] = Counter()
    comments = padded = 0
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            extra.update(info.filename for info in infos if info.filename.removesuffix(".npy") not in _EXPECTED_KEYS)
            comments += bool(archive.comment or any(info.comment for info in infos))
        padded += _has_gaps(path, infos)
    findings = []
    if comments:
        sentence = (
            f"{plural(comments, '.npz file carries', '.npz files carry')} a comment. Save again with numpy.savez."
        )
        findings.append(finding("metadata", sentence, comments))
    if padded:
        sentence = (
            f"{plural(padded, '.npz file has', '.npz files have')} bytes outside its arrays, which can hold anything. "
            "Save again with numpy.savez."
        )
        findings.append(finding("trailing_bytes", sentence, padded))
    if extra:
        groups = " One is 'groups': which images show the same person." if "groups.npy" in extra else ""
        sentence = (
            f"The .npz holds {plural(len(extra), 'entry', 'entries')} beyond images, labels and class_names, which "
            f"would be published unassessed.{groups} Remove what is not meant to be published."
        )
        findings.append(finding("unexpected_file", sentence, len(extra)))
    return findings


def _has_gaps(path: Path, infos: Sequence[zipfile.ZipInfo]) -> bool:
    """Whether a zip file has bytes before, between or behind its entries (24 allowed between: a data descriptor)."""
    with path.open("rb") as file:
        end = 0
        for info in sorted(infos, key=lambda info: info.header_offset):
            if info.header_offset - end > (24 if end else 0):
                return True
            file.seek(info.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
            end = info.header_offset + 30 + name + extra + info.compress_size
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 2**16 - 22))
        tail = file.read()
        at = tail.rfind(b"PK\x05\x06")
        return at + 22 + int(struct.unpack_from("<H", tail, at + 20)[0]) < len(tail)


def _scan_names(members: Dataset, release: Dataset) -> list[ScanFinding]:
    rows = repeated_names(members.names, release.names)
    if not rows:
        return []
    sentence = (
        f"{plural(len(rows), 'released image has', 'released images have')} the file name of a private image, and the "
        "names are no mere running numbers: they say which private image each one came from. Rename the files."
    )
    return [finding("name_repeats_member", sentence, len(rows), rows)]


def _scan_order(members: Dataset, release: Dataset) -> list[ScanFinding]:
    length, start, chance = repeated_order(members.images.labels, release.images.labels)
    if chance > CHANCE:
        return []
    sentence = (
        f"{length} consecutive released rows have the labels of {length} consecutive private rows (in random order: "
        f"chance below {max(chance, 1e-300):.0e}): row numbers would say which private image each one came from. "
        "Shuffle the release."
    )
    return [finding("order_repeats_members", sentence, length, range(start, start + length))]
