"""Commands on finished runs: judge again, compare, render again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli import completion
from privaudit.cli.terminal import errors_as_sentences
from privaudit.cli.verdict import leave, show

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder that an audit wrote with --out.")]


def check(
    run: RunArgument,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The limits to judge by: a file, or the name of a shipped policy. Default: those of its audit.",
            autocompletion=completion.policies,
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the new audit.json instead of the verdict.")] = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="Exit 0 whatever the verdict is.")] = False,
) -> None:
    """Judge a finished run again, perhaps by another policy, without attacking again.

    Nothing is written. Exit codes as of audit.
    """
    with errors_as_sentences():
        from privaudit.policy import load_policy
        from privaudit.runs import load_policy_of, load_run

        rules = None if policy is None else load_policy(policy)
        folder, evidence = load_run(run)
        rules = rules or load_policy_of(folder)
        from privaudit.judgement import judge
        from privaudit.reporting.machine import audit_json

        record = judge(evidence, rules)
        if json_:
            typer.echo(audit_json(record).decode(), nl=False)
        else:
            show(record)
        leave(record.verdict, no_fail)


class Edition(StrEnum):
    """Who the report is for."""

    SHAREABLE = "shareable"
    EVIDENCE = "evidence"


def report(
    run: RunArgument,
    edition: Annotated[
        Edition,
        typer.Option(help="Which one to name: shareable (no private image), or evidence (with pictures; private)."),
    ] = Edition.SHAREABLE,
) -> None:
    """Write both editions of the report of a finished run again, by the policy that it was judged by."""
    with errors_as_sentences():
        from privaudit.runs import load_policy_of, load_run

        folder, evidence = load_run(run)
        rules = load_policy_of(folder)
        from privaudit.judgement import judge

        folder.render(evidence, judge(evidence, rules))
        shown = folder.share / "report.html" if edition is Edition.SHAREABLE else folder.evidence_edition
        typer.echo(f"report: {shown}")


def compare(
    baseline: Annotated[Path, typer.Argument(metavar="BASELINE", help="Run to compare with.")],
    run: RunArgument,
    baseline_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Candidate of the baseline, if it has several.")
    ] = None,
    run_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Candidate of the run, if it has several.")
    ] = None,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="Exit 0 even if the run is leakier.")] = False,
) -> None:
    """Is RUN leakier than BASELINE, by more than chance explains?

    Two candidates made from the same members, audited with the same data and settings, are compared on the same
    images, and each is judged alone by the policy of RUN: a few exposed members break a rule long before they move an
    average. Exit codes: 1 leakier, or it fails where the baseline does not, 0 not shown to be, 2 not comparable.
    """
    with errors_as_sentences():
        from privaudit.runs import RunFolder, load_policy_of, load_run

        runs = load_run(baseline)[1], load_run(run)[1]
        rules = load_policy_of(RunFolder(run))
        from privaudit import comparison

        found = comparison.compare(*runs, baseline_name, run_name)
        before, after = comparison.verdicts(*runs, baseline_name, run_name, rules)
        for part in found.parts:
            change, meaning = part.change, comparison.METRICS.get(part.change.metric, part.change.metric)
            interval = f"95 % interval {change.low:+.3f} to {change.high:+.3f}"
            typer.echo(f"{part.attack}, {meaning}: {part.verdict}")
            typer.echo(
                f"  baseline {change.baseline:.3f}, run {change.run:.3f}, "
                f"difference {change.run - change.baseline:+.3f} ({interval})"
            )
        for name in found.left_out:
            typer.echo(f"{name}: not compared, for it did not finish in both runs")
        typer.echo(f"verdict by the policy of the run ({rules.name}): baseline {before}, run {after}")
        verdicts = {part.verdict for part in found.parts}
        fails = after == "fail" != before
        worse = "worse" in verdicts or fails
        if "worse" in verdicts:
            typer.echo("LEAKIER: the run gives away more than the baseline.")
        elif fails:
            typer.echo("FAILS: the run breaks a rule of the policy that the baseline keeps. See its report.")
        elif "better" in verdicts:
            typer.echo(
                "LESS LEAKY: the run gives away less than the baseline. Whether it may be published: see its report."
            )
        else:
            typer.echo("NO DIFFERENCE SHOWN. A difference within the intervals above cannot be excluded.")
        leave("fail" if worse else "pass", no_fail)
