"""The last screen: verdict, reasons, what was not tested, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from privaudit.record import AuditRecord, ReleaseRecord

EXIT_CODES = {"pass": 0, "fail": 1, "incomplete": 3, "inconclusive": 4}

_MOST_REASONS = 3


def show(record: AuditRecord) -> None:
    """Print, for each candidate, the verdict, at most three reasons, what was not tested, and what to do next."""
    for release in record.releases:
        typer.echo(f"{release.verdict.upper()}: {release.name} (policy: {record.policy['name']})")
        typer.echo(f"  {release.sentence}")
        for reason in release.reasons[1:_MOST_REASONS]:  # the sentence tells the first one
            typer.echo(f"  - {reason}")
        further = len(release.reasons) - _MOST_REASONS
        if further > 0:
            typer.echo(f"  - and {further} more: see the report")
        for rule in release.rules:
            if rule.verdict == "waived":
                typer.echo(f"  note: rule {rule.id}: {rule.sentence}")
        for text in _not_tested(release):
            typer.echo(f"  not tested: {text}")
        if release.utility is not None:
            from privaudit.reporting.worth import utility_line

            typer.echo(f"  usefulness: {utility_line(release.utility)}")
        for step in release.next_steps or _after(release):
            typer.echo(f"  next: {step}")
    for note in record.policy_notes:
        typer.echo(f"note: {note}")
    if len(record.releases) > 1:
        typer.echo(f"{record.verdict.upper()}: all candidates together")


def leave(verdict: str, no_fail: bool) -> None:
    """Exit with the code of a verdict; 0 with --no-fail."""
    raise typer.Exit(0 if no_fail else EXIT_CODES[verdict])


def _not_tested(release: ReleaseRecord) -> list[str]:
    """What nobody has looked at, and attacks whose silence says nothing."""
    silent = [
        f"{attack.name} found nothing, but its silence supports no pass: {'; '.join(attack.no_support)}"
        for attack in release.attacks
        if attack.no_support and attack.verdict == "pass"
    ]
    return [*release.not_assessed, *silent, *_not_run(release)]


def _not_run(release: ReleaseRecord) -> list[str]:
    """Attacks that are installed here and were left out; none where nothing was attacked: the reasons tell why."""
    from privaudit.plugins import ATTACKS, installed

    left_out = sorted(installed(ATTACKS).keys() - {attack.name for attack in release.attacks})
    return [f"what {' and '.join(left_out)} would find: not run"] if release.attacks and left_out else []


def _after(release: ReleaseRecord) -> list[str]:
    if release.verdict != "pass":
        return []
    return ["Have the report read and signed by the person who answers for the release; a pass is no proof."]
