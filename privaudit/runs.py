"""The folder of a run: `share/` may be passed on, `private/` may not.

share/      report.html, summary.md, audit.json, metrics.json, junit.xml
private/    plan.json (the declared family of tests, written before anything is scored), evidence/,
            policy.json (the limits it was judged by), manifest.json (all that is needed to repeat the run, and its
            results), differences.txt (of a repeated run), ids.csv (neutral ids and the files behind them), crashes/
            (where an attack failed), releases/ (candidates that were made), report-evidence.html (the report with
            pictures of private images)
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from privaudit.errors import InputError
from privaudit.store import FULL, atomic_file, key_of

if TYPE_CHECKING:
    from privaudit.audit import Candidate
    from privaudit.evidence import AuditEvidence
    from privaudit.images import Dataset
    from privaudit.policy import Policy
    from privaudit.record import AuditRecord
    from privaudit.reporting import ArmScores

_MOST_BYTES = 2**20
BENCHMARK = "benchmark.json"
"""In `share/` of a benchmark's folder, which no audit writes into."""

PLAN, LOCK, IDS, MANIFEST, DIFFERENCES, POLICY, CRASHES, RELEASES, EVIDENCE_EDITION = (
    "plan.json",
    "lock",
    "ids.csv",
    "manifest.json",
    "differences.txt",
    "policy.json",
    "crashes",
    "releases",
    "report-evidence.html",
)


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
        from privaudit.audit import member_id, release_id

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

    def remove_plan(self) -> None:
        """Undo what was written before anything was scored."""
        for name in (PLAN, IDS, MANIFEST):
            (self.private / name).unlink(missing_ok=True)
        shutil.rmtree(self.private / RELEASES, ignore_errors=True)

    def finish(self, evidence: AuditEvidence, record: AuditRecord) -> None:
        """Write evidence and reports."""
        self.keep(evidence, record.policy)
        self.render(evidence, record)

    def keep(self, evidence: AuditEvidence, policy: Mapping[str, Any]) -> None:
        """Write evidence and the limits it is judged by, as JSON; reports can be rendered from these."""
        from privaudit import evidence as evidence_files

        self.write_json(POLICY, policy)
        evidence_files.save(evidence, self.evidence)
        self._write_crashes(evidence)

    def _write_crashes(self, evidence: AuditEvidence) -> None:
        folder = self.private / CRASHES
        for place, release in enumerate(evidence.facts.releases):
            for attack in release.attacks:
                path = folder / f"{place:02d}-{attack.name}.txt"
                path.unlink(missing_ok=True)
                if attack.trace is not None:
                    folder.mkdir(exist_ok=True)
                    with atomic_file(path) as partial:
                        partial.write_text(attack.trace, encoding="utf-8")

    def render(self, evidence: AuditEvidence, record: AuditRecord) -> None:
        """Write the shareable half, and the evidence edition into the private one."""
        from privaudit.reporting import write_evidence_edition, write_share

        scores = drawn(evidence)
        write_share(record, scores, self.share)
        write_evidence_edition(record, scores, evidence.galleries, self.evidence_edition)

    @property
    def evidence_edition(self) -> Path:
        """The page that shows private images."""
        return self.private / EVIDENCE_EDITION


def drawn(evidence: AuditEvidence) -> dict[tuple[str, str], ArmScores]:
    """The scores that pictures are drawn from."""
    from privaudit.arms import ALL_ARMS
    from privaudit.findings import arm_scores, has_arm
    from privaudit.reporting import ArmScores

    found = {}
    for place, scores in evidence.scores.items():
        arms = {arm: arm_scores(scores, arm) for arm in ALL_ARMS if has_arm(scores, arm)}
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


def check_out(out: Path) -> None:
    """Raise InputError where `out` cannot be the folder of a run; makes nothing."""
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"'{out}' is a file; --out needs a folder.")
        if (out / "share" / BENCHMARK).exists():
            raise InputError(f"The folder '{out}' holds a benchmark. Choose another --out.")
        if out.is_dir() and any(out.iterdir()) and not (out / "private").is_dir():
            raise InputError(f"The folder '{out}' holds other files. Choose an empty or a new folder with --out.")
        check_writable(out)
    except OSError as error:
        raise InputError(f"The folder '{out}' cannot be used ({error.strerror}). Choose another --out.") from error


def check_writable(out: Path) -> None:
    """Raise InputError where no folder can be made at `out`; makes nothing."""
    above = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(f"The folder '{out}' cannot be written: '{above}' is read-only. Choose another --out.")


@contextlib.contextmanager
def open_run(out: Path, facts: Mapping[str, Any]) -> Iterator[RunFolder]:
    """The folder of a new or continued run, locked while the block runs.

    facts: what the run depends on; written before anything is scored. Raises InputError where the folder holds
    something else, holds another audit, or is in use.
    """
    check_out(out)
    folder = RunFolder(out)
    try:
        folder.share.mkdir(parents=True, exist_ok=True)
        folder.private.mkdir(mode=0o700, exist_ok=True)
        handle = _locked(folder.private / LOCK)
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InputError(f"The folder '{out}' cannot be written ({error.strerror}). Choose another --out.") from error
    if handle is None:
        owner = (folder.private / LOCK).read_text().strip() or "another process"
        raise InputError(f"The folder '{out}' is in use by {owner}. Wait for it, or choose another --out.")
    try:
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
        is_new = not (folder.private / PLAN).exists()
        _declare(folder, facts)
        try:
            yield folder
        except InputError:
            if is_new:  # nothing was scored: the folder is free for another audit
                folder.remove_plan()
            raise
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


def load_run(folder: Path) -> tuple[RunFolder, AuditEvidence]:
    """A finished run. Raises InputError where the folder is none, or its evidence is damaged."""
    from privaudit import evidence as evidence_files

    run = RunFolder(folder)
    if not folder.is_dir():
        raise InputError(f"There is no run folder '{folder}'. Give the folder that an audit wrote with --out.")
    if folder.name in ("share", "private") and (folder.parent / "private").is_dir():
        raise InputError(f"'{folder}' is a part of a run folder. Give the folder above it: '{folder.parent}'.")
    return run, evidence_files.load(run.evidence)


def load_policy_of(run: RunFolder) -> Policy:
    """The policy that a finished run was judged by; one of schema 1 as the same limits in schema 2.

    Raises InputError where it is missing or damaged.
    """
    from privaudit.policy import Policy
    from privaudit.policy_schema1 import converted, is_schema1
    from privaudit.validation import text_of, validated

    what = f"private/{POLICY} of the run '{run.root}'"
    try:
        values = json.loads(text_of(run.private / POLICY, _MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        raise InputError(
            f"The run '{run.root}' has no readable private/{POLICY}, the limits it was judged by. Judge it with "
            "privaudit check --policy FILE, or start its audit again."
        ) from None
    if is_schema1(values):
        values = converted(values, what)
    return validated(Policy, values, what)
