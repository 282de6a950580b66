"""The command line. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from privaudit.cli import (
    audit,
    benchmark,
    canaries,
    clean,
    doctor,
    dp_audit,
    explain,
    finished,
    information,
    run,
    weights,
)
from privaudit.cli.usage import Commands
from privaudit.machine import ONE_THREAD

app = typer.Typer(
    name="privaudit",
    cls=Commands,
    help="Attacks a release candidate of a private image dataset as an adversary would, and judges it.",
    epilog="To see it at work: privaudit run --demo",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for name, command, short in (
    ("run", run.run, "The main job: make candidates, attack, measure, judge."),
    ("synthesize", run.synthesize, "Make a candidate from private images."),
    ("canaries", canaries.canaries, "What does an engine do to the worst-off images?"),
    ("dp-audit", dp_audit.dp_audit, "Does an engine keep the differential privacy that it claims?"),
    ("audit", audit.audit, "Attack a release candidate and judge it."),
    ("check", finished.check, "Judge a finished run again by another policy."),
    ("compare", finished.compare, "Is one run leakier than another?"),
    ("benchmark", benchmark.benchmark, "Compare synthesis settings over several seeds."),
    ("report", finished.report, "Write the report of a finished run again."),
    ("init", information.init, "Write a commented audit.yaml and policy.yaml, to be changed."),
    ("plugins", information.plugins, "List the installed attacks and synthesizers."),
    ("explain", explain.explain, "Tell what a printed word, rule, metric or attack means."),
    ("doctor", doctor.doctor, "Tell what this machine can do."),
    ("clean", clean.clean, "Empty the store of finished work."),
):
    app.command(name, short_help=short)(command)
app.add_typer(weights.app, name="weights", short_help="Keep backbone weights in a local store; nothing is downloaded.")


def _version(asked: bool) -> None:
    if asked:
        import privaudit

        typer.echo(f"privaudit {privaudit.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the console script."""
    os.environ.update(ONE_THREAD)  # before anything loads a numerical library
    app()
