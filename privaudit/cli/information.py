"""Commands that tell: a commented configuration and policy, and what is installed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.terminal import errors_as_sentences
from privaudit.errors import InputError

CONFIGURATION_FILE, POLICY_FILE = "audit.yaml", "policy.yaml"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write them.")] = Path("."),
    policy_from: Annotated[
        str,
        typer.Option(
            metavar="POLICY",
            help="What policy.yaml starts from: the name of a shipped policy, or a policy file of the older schema 1.",
        ),
    ] = "default",
    schemas: Annotated[
        bool, typer.Option("--schemas", help="Write the JSON Schemas of these and of grids too, for editors.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Write audit.yaml (what a run does) and policy.yaml (the rules that a candidate must keep), with comments.

    Change them, have them reviewed, and start: privaudit run audit.yaml --policy policy.yaml
    """
    with errors_as_sentences():
        from privaudit.configuration import example_text
        from privaudit.schemas import SCHEMAS, editor_line, schema_text

        files = {CONFIGURATION_FILE: example_text(), POLICY_FILE: _policy_text(policy_from)}
        if schemas:
            files = {name: editor_line(name) + text for name, text in files.items()}
            files |= {schema: schema_text(schema) for schema in SCHEMAS}
        if not folder.is_dir():
            raise InputError(f"The folder '{folder}' does not exist. Make it first, or name another one.")
        for name in files:
            if (folder / name).exists() and not force:
                raise InputError(
                    f"'{folder / name}' exists already. Use --force to overwrite it, or choose another folder."
                )
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            typer.echo(f"written: {folder / name}")
        paths = f"{folder / CONFIGURATION_FILE} --policy {folder / POLICY_FILE}"
        typer.echo(f"next: change them, have them reviewed, and start: privaudit run {paths}")


def _policy_text(source: str) -> str:
    from privaudit.policy import BUILT_IN, built_in_text

    if source in BUILT_IN:
        return built_in_text(source)
    if not Path(source).exists():
        shipped = ", ".join(BUILT_IN)
        raise InputError(f"There is no policy '{source}'. Allowed: {shipped}, or the path of a policy file.")
    from privaudit.policy_schema1 import rewritten

    return rewritten(Path(source))


def plugins() -> None:
    """List the installed attacks and synthesizers: names, versions, and what each attacker is assumed to hold."""
    with errors_as_sentences():
        from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, installed, synthesizer_class

        typer.echo("attacks:")
        for name, point in installed(ATTACKS).items():
            kind = attack_class(name)
            sees = ", ".join(sorted(sight.value for sight in kind.sees))
            origin = point.dist.name if point.dist is not None else point.value
            typer.echo(f"  {name} (version {kind.version}, from {origin}; sees: {sees})")
            typer.echo(f"    {kind.threat_model}")
        typer.echo("synthesizers:")
        engines = installed(SYNTHESIZERS)
        for name, point in engines.items():
            engine = synthesizer_class(name)
            origin = point.dist.name if point.dist is not None else point.value
            typer.echo(f"  {name} (version {engine.version}, from {origin})")
            first, *_ = inspect.cleandoc(engine.__doc__ or "").split("\n\n")
            typer.echo(f"    {' '.join(first.split())}")
        if not engines:
            typer.echo("  none installed")
