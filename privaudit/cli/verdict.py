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
        for artifact in release.artifacts:
            typer.echo(f"  beside the images: {artifact.sentence}")
        if release.utility is not None:
            from privaudit.reporting.worth import utility_line

            typer.echo(f"  usefulness: {utility_line(release.utility)}")
        for step in release.next_steps or _after(record, release):
            typer.echo(f"  next: {step}")
    for note in record.policy_notes:
        typer.echo(f"note: {note}")
    if len(record.releases) > 1:
        one = "each alone" if record.verdict == "pass" else "the worst of them"
        typer.echo(
            f"{record.verdict.upper()}: {len(record.releases)} candidates, {one}; publishing several was not tested"
        )
        if record.selection is not None:
            typer.echo(f"  {record.selection.sentence}")


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
    return [*release.not_assessed, *silent]


def _after(record: AuditRecord, release: ReleaseRecord) -> list[str]:
    if release.verdict != "pass":
        return []
    if record.policy["name"] == "demo":
        return ["Do not publish by the policy 'demo', which is for trying the program: judge by one of your own."]
    return ["Have the report read and signed by the person who answers for the release; a pass is no proof."]
