"""Commands that tell: a commented policy, what is installed, what this machine can do."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.terminal import NOT_FINISHED, errors_as_sentences
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
        bool, typer.Option("--schemas", help="Write the JSON Schemas of both too; editors check and complete by them.")
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
            raise InputError(f"The folder '{folder}' does not exist.")
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
            typer.echo(f"    {inspect.cleandoc(engine.__doc__ or '').splitlines()[0]}")
        if not engines:
            typer.echo("  none installed")


def doctor() -> None:
    """Tell what this machine can do, and what is missing; exit 3 where an attack or synthesizer does not load."""
    with errors_as_sentences():
        from privaudit.execution import cores
        from privaudit.manifest import commit, processor, versions
        from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, installed, synthesizer_class

        for name, version in versions().items():
            typer.echo(f"{name:<14} {version}")
        typer.echo(f"{'commit':<14} {commit() or 'installed, no checkout'}")
        typer.echo(f"{'processor':<14} {processor()}, {cores()} cores usable")
        import torch

        devices = ["cpu"]
        devices += ["cuda"] if torch.cuda.is_available() else []
        devices += ["mps"] if torch.backends.mps.is_available() else []
        typer.echo(f"{'devices':<14} {', '.join(devices)}")
        from privaudit.compiling import has_compiler
        from privaudit.weights import KNOWN, default_store, stored

        compiled = "found" if has_compiler("cpu") else "none: engines run with plain kernels, slower"
        typer.echo(f"{'compiler':<14} {compiled}")
        kept = [name for name in KNOWN if stored(name, default_store()) is not None]
        typer.echo(f"{'weights':<14} {', '.join(kept) or 'none: LPIPS is not assessed (see: privaudit weights add)'}")
        from privaudit.torchvision_compat import import_torchvision

        try:
            import_torchvision()
        except (ImportError, RuntimeError) as error:
            typer.echo(f"{'problem':<14} torchvision does not load: {error}. Only torchvision:NAME data need it.")
        broken = []
        for title, group, load in (
            ("attacks", ATTACKS, attack_class),
            ("synthesizers", SYNTHESIZERS, synthesizer_class),
        ):
            problems = []
            for name in installed(group):
                try:
                    load(name)
                except InputError as error:
                    problems.append(f"{name}: {error}")
            typer.echo(f"{title:<14} {len(installed(group)) - len(problems)} of {len(installed(group))} load")
            for line in problems:
                typer.echo(f"{'':<14} {line}")
            broken += problems
        typer.echo(f"{'network':<14} never used")
        typer.echo("Something is missing: see above." if broken else "Ready. To see it at work: privaudit run --demo")
        if broken:
            raise typer.Exit(NOT_FINISHED)
