"""Commands on finished runs: judge again, compare, render again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.terminal import errors_as_sentences, leave, show

RunArgument = Annotated[Path, typer.Argument(help="folder of a finished run")]


def check(
    run: RunArgument,
    policy: Annotated[str, typer.Option(help="policy file, or the name of a shipped one")] = "default",
    json_: Annotated[bool, typer.Option("--json", help="print the new record on stdout")] = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="exit 0 whatever the verdict")] = False,
) -> None:
    """Judge a finished run again, under another policy, without attacking again. The run is left as it is."""
    with errors_as_sentences():
        from privaudit.judgement import judge
        from privaudit.policy import load_policy
        from privaudit.reporting.machine import audit_json
        from privaudit.runs import load_run

        rules = load_policy(policy)
        _, evidence, _ = load_run(run)
        record = judge(evidence, rules)
        if json_:
            typer.echo(audit_json(record).decode())
        else:
            show(record)
        leave(record.verdict, no_fail)


def report(run: RunArgument) -> None:
    """Render the shareable half of a finished run again, under the policy it was judged by."""
    with errors_as_sentences():
        from privaudit.judgement import judge
        from privaudit.policy import Policy
        from privaudit.runs import load_run

        folder, evidence, record = load_run(run)
        folder.render(evidence, judge(evidence, Policy.model_validate(record.policy)))
        typer.echo(f"report: {folder.share / 'report.html'}")


def compare(
    baseline: Annotated[Path, typer.Argument(help="folder of the run to compare with")],
    run: RunArgument,
    baseline_name: Annotated[str | None, typer.Option(help="candidate of the baseline, if it has several")] = None,
    run_name: Annotated[str | None, typer.Option(help="candidate of the run, if it has several")] = None,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="exit 0 even if something is worse")] = False,
) -> None:
    """Is the second run leakier than the first? Paired on the same suspects; exit 1 where it is, beyond the noise."""
    with errors_as_sentences():
        from privaudit import comparison
        from privaudit.runs import load_run

        found = comparison.compare(load_run(baseline)[1], load_run(run)[1], baseline_name, run_name)
        typer.echo(f"{'attack':<20} {'metric':<20} {'baseline':>9} {'run':>9}   {'difference, 95 %':<24} verdict")
        for part in found:
            change = part.change
            interval = f"{change.run - change.baseline:+.4f} [{change.low:+.4f}, {change.high:+.4f}]"
            typer.echo(
                f"{part.attack:<20} {change.metric:<20} {change.baseline:>9.4f} {change.run:>9.4f}   {interval:<24} "
                f"{part.verdict}"
            )
        worse = any(part.verdict == "worse" for part in found)
        typer.echo("The second run is leakier." if worse else "No attack shows the second run to be leakier.")
        leave("fail" if worse else "pass", no_fail)
