"""Findings in single released images: what each carries beside its pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from privaudit.data.containers import extras
from privaudit.data.resizing import plural
from privaudit.record import ScanFinding

Kind = Literal["metadata", "trailing_bytes", "name_repeats_member", "order_repeats_members", "unexpected_file"]

_DICOM = "DICOM, made to hold the patient's name, birth date and hospital"


def finding(kind: Kind, sentence: str, count: int, rows: Iterable[int] = ()) -> ScanFinding:
    """A finding with the neutral ids of at most five released images (`r-000012`, the row in the release)."""
    examples = tuple(f"r-{row:06d}" for _, row in zip(range(5), rows, strict=False))
    return ScanFinding(kind=kind, sentence=sentence, count=count, examples=examples)


def scan_images(contents: Iterable[bytes]) -> list[ScanFinding]:
    """Metadata by kind, and trailing bytes, of the encoded images in row order."""
    carriers: defaultdict[str, list[int]] = defaultdict(list)
    trailing: list[int] = []
    total = 0
    for row, content in enumerate(contents):
        found = extras(content)
        for word in found.metadata:
            carriers[word].append(row)
        if found.trailing:
            trailing.append(row)
            total += found.trailing
    findings = [
        finding(
            "metadata",
            f"{plural(len(rows), 'released image carries', 'released images carry')} metadata "
            f"({_DICOM if word == 'DICOM' else word}), which can name "
            "a person, a place, a time or a device. Save the images again without metadata.",
            len(rows),
            rows,
        )
        for word, rows in sorted(carriers.items())
    ]
    if trailing:
        findings.append(
            finding(
                "trailing_bytes",
                f"{plural(len(trailing), 'released image has', 'released images have')} bytes behind the end of the "
                f"image ({total} in all), which no viewer shows and which can hold anything. Save the images again.",
                len(trailing),
                trailing,
            )
        )
    return findings
