"""Reports of a finished audit: a page for people, record and metrics for machines, JUnit and Markdown for CI.

The shareable half: neutral ids, no private pixel, no path, host or user. The evidence edition of the page shows private
images and belongs into the private half. Equal input gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from privaudit.evidence import Gallery
from privaudit.record import AuditRecord
from privaudit.reporting.files import write_atomic
from privaudit.reporting.scores import ArmScores

__all__ = ["ArmScores", "write_evidence_edition", "write_share"]


def write_share(record: AuditRecord, scores: Mapping[tuple[str, str], ArmScores], folder: Path) -> None:
    """Write audit.json, metrics.json, junit.xml, summary.md and report.html into `folder`, each atomically.

    scores: by (release name, attack name), for the pictures only; what has none is reported without those pictures.
    """
    from privaudit.reporting.junit import junit_xml
    from privaudit.reporting.machine import audit_json, metrics_json
    from privaudit.reporting.page import render_html
    from privaudit.reporting.summary import summary_markdown

    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "audit.json", audit_json(record))
    write_atomic(folder / "metrics.json", metrics_json(record))
    write_atomic(folder / "junit.xml", junit_xml(record))
    write_atomic(folder / "summary.md", summary_markdown(record).encode())
    write_atomic(folder / "report.html", render_html(record, scores).encode())


def write_evidence_edition(
    record: AuditRecord,
    scores: Mapping[tuple[str, str], ArmScores],
    galleries: Mapping[tuple[str, str], Mapping[str, Gallery]],
    path: Path,
) -> None:
    """Write the page with pictures of what was recovered, of its source and of members. Private."""
    from privaudit.reporting.page import render_html

    write_atomic(path, render_html(record, scores, galleries).encode())
