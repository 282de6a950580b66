"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli import completion


class EffortChoice(StrEnum):
    """How much is spent."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class DeviceChoice(StrEnum):
    """Where attacks, engines and trainings run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Name(str):
    """The name of a plugin; the help shows what this class is called."""


Engine = Annotated[
    Name,
    typer.Argument(
        metavar="ENGINE",
        parser=Name,
        help="The synthesizer (see: privaudit plugins).",
        autocompletion=completion.engines,
    ),
]
EngineSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting of the engine, as in audit.yaml; repeatable."),
]
Out = Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report goes; made if missing.")]
Store = Annotated[Path, typer.Option(metavar="FOLDER", help="Where finished work is kept for later runs; private.")]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="The weight store (see: privaudit weights). Default: that of the user."),
]
Device = Annotated[DeviceChoice, typer.Option(help="Where attacks, engines and trainings run.")]
Workers = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Processes at a time. Default: one per processor core.")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Work on a Ray cluster, HOST:PORT, or 'auto' for the one that this machine belongs to."
    ),
]
Skip = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="What is not measured: utility, similarity, or both.",
        autocompletion=completion.skippable,
    ),
]
PolicyFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The limits to judge by: a file (see: privaudit init), or the name of a shipped one.",
        autocompletion=completion.policies,
    ),
]
Attacks = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,...",
        help="Only these attacks (see: privaudit plugins). Default: all.",
        autocompletion=completion.attacks,
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", min=0, help="Number that fixes every random choice.")]
MaxSuspects = Annotated[
    int, typer.Option(metavar="N", min=100, help="Most members, and most controls, that are scored.")
]
Size = Annotated[
    int | None, typer.Option(metavar="PIXELS", min=8, max=4096, help="Resize all images to squares of this side.")
]
Window = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH", help="For images of more than 8 bits: the values shown as black and white, or 'auto'."
    ),
]
Root = Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where the files of torchvision:NAME lie.")]
Json = Annotated[bool, typer.Option("--json", help="Print audit.json instead of the verdict.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")]
NoFail = Annotated[bool, typer.Option("--no-fail", help="Exit 0 whatever the verdict is.")]
