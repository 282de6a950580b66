"""Findings in the tables and saved datasets that a release can come in, beside those in its images."""

from __future__ import annotations

from pathlib import Path

from privaudit.data.image_scan import finding, scan_images
from privaudit.data.npy import printable
from privaudit.data.resizing import plural
from privaudit.data.saved_dataset import INFO, read_saved
from privaudit.data.tables import read_table
from privaudit.record import ScanFinding

_PLAIN_INFO = frozenset({"features", "splits", "version", "dataset_size", "size_in_bytes", "download_size"})


def scan_table(path: Path) -> list[ScanFinding]:
    """The listed images, and columns of the table beyond file and label."""
    table = read_table(path)
    findings = scan_images(file.read_bytes() for file in table.files)
    columns = (*(() if table.groups is None else ("group",)), *table.others)
    if columns:
        findings.append(_columns("table", columns, grouped=table.groups is not None))
    return findings


def scan_saved(folder: Path) -> tuple[list[ScanFinding], tuple[Path, ...]]:
    """The embedded images, the paths saved with them, further columns and texts; and the dataset's own files."""
    saved = read_saved(folder)
    findings = scan_images(bytes(image.content) for image in saved.images)
    rows = [row for row, path in enumerate(saved.paths) if "/" in path or "\\" in path]
    if rows:
        findings.append(
            finding(
                "metadata",
                f"{plural(len(rows), 'released image carries', 'released images carry')} the path of the file that it "
                "was made from, folders included. Save the dataset again with file names alone, or none.",
                len(rows),
                rows,
            )
        )
    texts = sorted(str(key) for key, value in saved.info.items() if value and key not in _PLAIN_INFO)
    if texts:
        findings.append(
            finding(
                "metadata",
                f"{INFO} carries {plural(len(texts), 'entry', 'entries')} beyond the columns "
                f"({_listed(texts)}), which can name a person or a place. Read it before it is published.",
                len(texts),
            )
        )
    if saved.trailing:
        findings.append(
            finding(
                "trailing_bytes",
                f"The Arrow files have {saved.trailing} bytes behind their ends, which can hold anything. Save the "
                "dataset again.",
                saved.trailing,
            )
        )
    columns = (*(() if saved.columns.group is None else (saved.columns.group,)), *saved.columns.others)
    if columns:
        findings.append(_columns("dataset", columns, grouped=saved.columns.group is not None))
    return findings, saved.files


def _columns(container: str, columns: tuple[str, ...], grouped: bool) -> ScanFinding:
    groups = " One is 'group': which images show the same person." if grouped else ""
    return finding(
        "unexpected_file",
        f"The {container} holds {plural(len(columns), 'column')} beyond image and label ({_listed(columns)}), which "
        f"would be published unassessed.{groups} Remove what is not meant to be published.",
        len(columns),
    )


def _listed(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(printable(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
