"""`privaudit audit`: attack one existing candidate and judge it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privaudit.cli.inputs import NAME, Sources, attack_names, check_name, check_places, find_device, load_plan
from privaudit.cli.terminal import Announcer, errors_as_sentences, leave, show
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.audit import Plan


class EffortChoice(StrEnum):
    """How much is spent."""

    QUICK = "quick"
    STANDARD = "standard"
    THOROUGH = "thorough"


class DeviceChoice(StrEnum):
    """Where attacks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def _data(text: str) -> Any:
    return typer.Option(metavar="DATA", help=text)


def audit(
    members: Annotated[str | None, _data("The private images that the candidate was made from.")] = None,
    controls: Annotated[
        str | None, _data("Images of the same source, never used to make the candidate; at least two per member.")
    ] = None,
    release: Annotated[str | None, _data("The candidate: what is to be published.")] = None,
    fresh: Annotated[
        str | None, _data("More images that were never used, to check for false alarms. Default: 20 % of the controls.")
    ] = None,
    reference: Annotated[
        str | None, _data("Images that the attacker has of his own. Default: 20 % of the controls.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the report goes; made if missing.")] = Path(
        "privaudit-report"
    ),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"What the report calls the candidate. Default: {NAME}.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="The limits to judge by: a file (see: privaudit init), or 'default' or 'demo'."
        ),
    ] = None,
    attacks: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Only these attacks (see: privaudit plugins). Default: all."),
    ] = None,
    effort: Annotated[EffortChoice, typer.Option(help="How much time is spent.")] = EffortChoice.STANDARD,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Number that fixes every random choice.")] = 0,
    max_suspects: Annotated[
        int, typer.Option(metavar="N", min=100, help="Most members, and most controls, that are scored.")
    ] = 10_000,
    size: Annotated[
        int | None,
        typer.Option(metavar="PIXELS", min=8, max=4096, help="Resize all images to squares of this side."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH", help="For images of more than 8 bits: the values shown as black and white, or 'auto'."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the files of torchvision:NAME lie.")
    ] = None,
    store: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where finished work is kept for later runs; private.")
    ] = Path(".privaudit"),
    device: Annotated[DeviceChoice, typer.Option(help="Where the attacks run.")] = DeviceChoice.AUTO,
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Processes at a time. Default: one per processor core.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Audit a built-in example: digits, some of them private ones.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print audit.json instead of the verdict.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no progress and no notes.")] = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="Exit 0 whatever the verdict is.")] = False,
) -> None:
    """Attack a release candidate and judge it: may it be published?

    DATA is a folder of class folders, a .npz file, a folder of .npz files, a release folder, torchvision:NAME/train,
    or 'digits'.

    Exit codes: 0 pass, 1 fail, 2 the data or the command is not usable, 3 not finished, 4 inconclusive,
    130 interrupted.
    """
    with errors_as_sentences():
        from privaudit.policy import load_policy
        from privaudit.runs import MANIFEST, check_out, open_run
        from privaudit.store import Store

        sources = None
        if demo:
            if any((members, controls, release, fresh, reference, size, window, root, name)):
                raise InputError("--demo brings its own data; leave out all options that say which data to use.")
        elif not members or not release:
            raise InputError(
                "An audit needs --members and --release, and --controls: without images that were never used, the "
                "verdict is inconclusive at best. To see an example: privaudit audit --demo"
            )
        else:
            sources = Sources(members, controls, release, fresh, reference, size, window, root)
        given = {} if sources is None else sources.given()
        check_out(out)
        check_places(out, store, given)
        called = check_name(name or NAME)
        rules = load_policy(policy or ("demo" if demo else "default"))
        chosen = attack_names(attacks)
        with Announcer(quiet) as announce:
            plan = _demo_plan(seed, announce) if sources is None else load_plan(sources, called, announce)
            announce("starting")
            from privaudit.audit import collect
            from privaudit.execution import cores
            from privaudit.judgement import judge

            plan = replace(
                plan,
                attacks={name: {} for name in chosen},
                effort=effort.value,
                device=find_device(device.value),
                seed=seed,
                max_suspects=max_suspects,
                workers=cores() if workers is None else workers,
            )
            facts = plan.facts()
            with open_run(out, facts) as run:
                run.write_json(MANIFEST, {"sources": given, "store": str(store), "plan": facts})
                run.write_ids(plan.members, list(plan.candidates))
                evidence = collect(plan, rules, Store(store), announce)
                announce("judging")
                record = judge(evidence, rules)
                announce("writing the report")
                run.finish(evidence, record)
        if json_:
            typer.echo((out / "share" / "audit.json").read_text(encoding="utf-8"), nl=False)
        else:
            show(record)
            typer.echo(f"report: {out / 'share' / 'report.html'}")
        leave(record.verdict, no_fail)


def _demo_plan(seed: int, announce: Announcer) -> Plan:
    from privaudit import demo as digits

    announce("dealing the digits")
    plan = digits.plan(seed)
    for note in plan.notes:
        announce.note(note)
    return plan
