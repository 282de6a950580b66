"""`privaudit clean`: what the store holds, and how to empty it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli import options
from privaudit.cli.progress import size
from privaudit.cli.terminal import errors_as_sentences
from privaudit.errors import InputError


def clean(
    store: options.Store = Path(".privaudit"),
    yes: Annotated[bool, typer.Option("--yes", help="Empty it without asking.")] = False,
) -> None:
    """Tell what the store of finished work holds, and empty it. Reports and run folders are not touched.

    What is in the store need not be done again by later runs; it holds arrays made from private images. A folder that
    holds anything else is refused, and so is the store of a run that is going on.
    """
    with errors_as_sentences():
        from privaudit.store_lock import alone
        from privaudit.stored import contents, empty

        found = contents(store)
        typer.echo(f"store: {store}")
        typer.echo(f"  {size(found.bytes)} in {len(found.files):,} files")
        typer.echo(
            f"  finished tasks: {found.tasks:,}; arrays: {found.arrays:,}; unfinished tasks: {found.unfinished:,}"
        )
        typer.echo(f"  audited candidates: {found.audits:,}; sets of members: {found.members:,} (hashes only)")
        if not found.files:
            typer.echo("there is nothing to delete")
            return
        if not (yes or _confirmed()):
            typer.echo("nothing was deleted")
            return
        with alone(store):
            empty(store, contents(store))
        typer.echo("deleted; the hashes of audited candidates stay, for later manifests count them")


def _confirmed() -> bool:
    try:
        return typer.confirm("Delete this work? Later runs will do it again.", err=True)
    except typer.Abort:
        raise InputError(
            "Nobody answered, so nothing was deleted. Give --yes to empty the store without asking."
        ) from None
