"""Commands that tell: a commented policy, what is installed, what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.terminal import NOT_FINISHED, errors_as_sentences
from privaudit.errors import InputError

POLICY_FILE = "policy.yaml"


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write it.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write the default policy, with comments, as policy.yaml.

    A policy holds the limits that a candidate must keep. Change it, have it reviewed, and give it with --policy.
    """
    with errors_as_sentences():
        from privaudit.policy import built_in_text

        path = folder / POLICY_FILE
        if path.exists() and not force:
            raise InputError(f"'{path}' exists already. Use --force to overwrite it, or choose another folder.")
        if not folder.is_dir():
            raise InputError(f"The folder '{folder}' does not exist.")
        path.write_text(built_in_text("default"), encoding="utf-8")
        typer.echo(f"written: {path}")
        typer.echo(f"next: change it, have it reviewed, and use it: privaudit audit --policy {path} ...")


def plugins() -> None:
    """List the installed attacks and synthesizers: names, versions, and what each attacker is assumed to hold."""
    with errors_as_sentences():
        from privaudit.plugins import ATTACKS, SYNTHESIZERS, attack_class, installed

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
            typer.echo(f"  {name} (from {point.dist.name if point.dist is not None else point.value})")
        if not engines:
            typer.echo("  none installed")


def doctor() -> None:
    """Tell what this machine can do, and what is missing; exit 3 where an attack does not load."""
    with errors_as_sentences():
        from privaudit.execution import cores
        from privaudit.manifest import commit, processor, versions
        from privaudit.plugins import ATTACKS, attack_class, installed

        for name, version in versions().items():
            typer.echo(f"{name:<14} {version}")
        typer.echo(f"{'commit':<14} {commit() or 'installed, no checkout'}")
        typer.echo(f"{'processor':<14} {processor()}, {cores()} cores usable")
        import torch

        devices = ["cpu"]
        devices += ["cuda"] if torch.cuda.is_available() else []
        devices += ["mps"] if torch.backends.mps.is_available() else []
        typer.echo(f"{'devices':<14} {', '.join(devices)}")
        from privaudit.torchvision_compat import import_torchvision

        try:
            import_torchvision()
        except (ImportError, RuntimeError) as error:
            typer.echo(f"{'problem':<14} torchvision does not load: {error}. Only torchvision:NAME data need it.")
        broken = []
        for name in installed(ATTACKS):
            try:
                attack_class(name)
            except InputError as error:
                broken.append(f"{name}: {error}")
        typer.echo(f"{'attacks':<14} {len(installed(ATTACKS)) - len(broken)} of {len(installed(ATTACKS))} load")
        for line in broken:
            typer.echo(f"{'':<14} {line}")
        typer.echo(f"{'network':<14} never used")
        typer.echo("Something is missing: see above." if broken else "Ready. To see an audit: privaudit audit --demo")
        if broken:
            raise typer.Exit(NOT_FINISHED)
