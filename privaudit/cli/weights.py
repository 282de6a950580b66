"""`privaudit weights`: the local store of backbone weights. Nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli.terminal import errors_as_sentences
from privaudit.errors import InputError

app = typer.Typer(
    help="Keep backbone weights in a local folder, under their hash. Nothing is ever downloaded.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="DIR",
        help="Folder of the weights (default: $PRIVAUDIT_WEIGHTS, else ~/.local/share/privaudit/weights).",
        show_default=False,
    ),
]


@app.command(short_help="Add the weights of a backbone from a file.")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A safetensors file, or a state dict saved by torch.")],
    weights: StoreOption = None,
) -> None:
    """Add the weights of a backbone from a file.

    The backbone is recognised by the names and shapes of its tensors: torchvision's squeezenet1_1, alexnet or vgg16,
    the whole network or its feature stack alone. LPIPS needs one of them.
    """
    with errors_as_sentences():
        from privaudit import weights as kept

        store = weights or kept.default_store()
        entry = kept.add(file, store)
        typer.echo(f"added: {entry.name} ({entry.parameters:,} parameters) to {store}")
        typer.echo(f"sha256: {entry.sha256}")


@app.command("list", short_help="List the backbones that are known, and which of them are there.")
def list_(weights: StoreOption = None) -> None:
    """List the backbones that are known, and which of them are there; exit 2 where one is damaged."""
    with errors_as_sentences():
        from privaudit import weights as kept

        store = weights or kept.default_store()
        if store.exists() and not store.is_dir():
            raise InputError(f"'{store}' is a file; --weights needs a folder.")
        typer.echo(f"folder: {store}")
        damaged = []
        for name in kept.KNOWN:
            try:
                entry = kept.stored(name, store)
            except InputError as error:
                damaged.append(str(error))
                state = "damaged"
            else:
                state = "not added" if entry is None else f"{entry.parameters:,} parameters, sha256 {entry.sha256}"
            typer.echo(f"  {name:<24} {state}")
        if damaged:
            raise InputError("\n  - ".join(["Some weights cannot be used:", *damaged]))
