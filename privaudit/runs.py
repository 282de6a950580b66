"""The folder of a run: `share/` may be passed on, `private/` may not.

share/      report.html, summary.md, audit.json, metrics.json, junit.xml
private/    plan.json (the declared family of tests, written before anything is scored), evidence/,
            manifest.json (sources as given), ids.csv (neutral ids and the files behind them), crashes
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from privaudit import evidence as evidence_files
from privaudit.audit import Candidate, member_id, release_id
from privaudit.errors import InputError
from privaudit.evidence import AuditEvidence
from privaudit.findings import arm_scores, has_arm
from privaudit.images import Dataset
from privaudit.record import AuditRecord
from privaudit.reporting import ArmScores, write_share
from privaudit.store import atomic_file, key_of

PLAN, LOCK, IDS, MANIFEST = "plan.json", "lock", "ids.csv", "manifest.json"


class RunFolder:
    """One run's folder; its private half is readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.share = root / "share"
        self.private = root / "private"
        self.evidence = self.private / "evidence"

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a JSON file into the private half."""
        with atomic_file(self.private / name) as partial:
            partial.write_text(json.dumps(content, indent=1, sort_keys=True, default=str))

    def write_ids(self, members: Dataset, candidates: list[Candidate]) -> None:
        """Which file or row is behind each neutral id."""
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["id", "candidate", "name", "group", "class"])
        for row, name in enumerate(members.names):
            group = "" if members.groups is None else str(members.groups[row])
            table.writerow([member_id(row), "", name, group, members.class_names[int(members.images.labels[row])]])
        for candidate in candidates:
            for row, name in enumerate(candidate.data.names):
                table.writerow([release_id(row), candidate.name, name, "", ""])
        with atomic_file(self.private / IDS) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")

    def finish(self, evidence: AuditEvidence, record: AuditRecord) -> None:
        """Write evidence and reports."""
        evidence_files.save(evidence, self.evidence)
        self.render(evidence, record)

    def render(self, evidence: AuditEvidence, record: AuditRecord) -> None:
        """Write the shareable half."""
        write_share(record, drawn(evidence), self.share)


def drawn(evidence: AuditEvidence) -> dict[tuple[str, str], ArmScores]:
    """The scores that pictures are drawn from."""
    found = {}
    for place, scores in evidence.scores.items():
        arms = {arm: arm_scores(scores, arm) for arm in ("release", "raw", "fresh") if has_arm(scores, arm)}
        found[place] = ArmScores(
            {arm: members for arm, (members, _) in arms.items()},
            {arm: controls for arm, (_, controls) in arms.items()},
        )
    return found


def _locked(path: Path) -> int | None:
    """A handle that holds the lock until it is closed or its process ends; None where another process holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        import fcntl
    except ImportError:  # Windows: opening the file for writing is all that can be asked for
        return handle
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


@contextlib.contextmanager
def open_run(out: Path, facts: Mapping[str, Any]) -> Iterator[RunFolder]:
    """The folder of a new or continued run, locked while the block runs.

    facts: what the run depends on; written before anything is scored. Raises InputError where the folder holds
    something else, holds another audit, or is in use.
    """
    folder = RunFolder(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"'{out}' is a file; --out needs a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / "private").is_dir():
        raise InputError(f"The folder '{out}' holds other files. Choose an empty or a new folder with --out.")
    try:
        folder.share.mkdir(parents=True, exist_ok=True)
        folder.private.mkdir(mode=0o700, exist_ok=True)
        handle = _locked(folder.private / LOCK)
    except OSError as error:
        raise InputError(f"The folder '{out}' cannot be written ({error.strerror}). Choose another --out.") from error
    if handle is None:
        owner = (folder.private / LOCK).read_text().strip() or "another process"
        raise InputError(f"The folder '{out}' is in use by {owner}. Wait for it, or choose another --out.")
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
        _declare(folder, facts)
        yield folder
    finally:
        os.close(handle)


def _declare(folder: RunFolder, facts: Mapping[str, Any]) -> None:
    path = folder.private / PLAN
    key = key_of(facts)
    if path.exists():
        try:
            before = json.loads(path.read_text()).get("key")
        except (OSError, ValueError):
            before = None
        if before is not None and before != key:
            raise InputError(
                f"The folder '{folder.root}' holds another audit (other data, candidate, attacks, seed or effort). "
                "Choose another --out, or delete that folder."
            )
    folder.write_json(PLAN, {"key": key, "declared": dict(facts)})


def load_run(folder: Path) -> tuple[RunFolder, AuditEvidence, AuditRecord]:
    """A finished run. Raises InputError where the folder is none."""
    from pydantic import ValidationError

    run = RunFolder(folder)
    if not folder.is_dir():
        raise InputError(f"There is no run folder '{folder}'. Give the folder that an audit wrote with --out.")
    evidence = evidence_files.load(run.evidence)
    try:
        record = AuditRecord.model_validate_json((run.share / "audit.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise InputError(f"'{folder}' has no readable share/audit.json: {str(error).splitlines()[0]}.") from None
    return run, evidence, record
