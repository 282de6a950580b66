"""`privaudit doctor`: what this machine and this installation can do."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli import options
from privaudit.cli.terminal import errors_as_sentences

if TYPE_CHECKING:
    from privaudit.diagnosis import Check

CANNOT = 2
_NAME = 14


def doctor(
    store: options.Store = Path(".privaudit"),
    weights: options.Weights = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the same as JSON.")] = False,
) -> None:
    """Tell what this machine can do, what is missing, what that costs, and what gets it. Nothing is changed.

    Exit codes: 0 an audit can run, 2 it cannot: a package is missing or too old, an attack does not load, or the
    weights are damaged.
    """
    with errors_as_sentences():
        from privaudit.diagnosis import checks
        from privaudit.weights import default_store

        found = []
        for check in checks(store, weights or default_store()):
            found.append(check)
            if not json_:
                _tell(check)
        broken = [check.name for check in found if check.state == "broken"]
        if json_:
            typer.echo(json.dumps({"ready": not broken, "checks": [asdict(check) for check in found]}, indent=1))
        elif broken:
            typer.echo(f"Not ready. First mend: {', '.join(broken)}.")
        else:
            lost = [check.name for check in found if check.state == "missing"]
            beside = f" Worth a look: {', '.join(lost)} (marked -)." if lost else ""
            typer.echo(f"Ready.{beside} To see it at work: privaudit audit --demo")
        if broken:
            raise typer.Exit(CANNOT)


def _tell(check: Check) -> None:
    """One line, marked '-' where something is lost and '!' where no audit can run; below it what to do."""
    mark = {"fine": " ", "missing": "-", "broken": "!"}[check.state]
    typer.echo(f"{mark} {check.name:<{_NAME}} {check.found}{f': {check.costs}' if check.costs else ''}")
    if check.remedy:
        typer.echo(textwrap.indent(f"what to do: {check.remedy}", " " * (_NAME + 3)))
