"""`privaudit audit`: attack one existing candidate and judge it."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli.terminal import Announcer, errors_as_sentences, leave, say, show
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.audit import Plan
    from privaudit.images import Dataset


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


def audit(
    members: Annotated[
        str | None,
        typer.Option(
            help="the private images: class folders, .npz, .npz shards, release folder, torchvision:NAME or digits"
        ),
    ] = None,
    controls: Annotated[
        str | None, typer.Option(help="images of the same source that were never used; at least two per member")
    ] = None,
    release: Annotated[str | None, typer.Option(help="the candidate to be published")] = None,
    fresh: Annotated[
        str | None, typer.Option(help="more such images, for the fresh arm (default: a fifth of the controls)")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="the attacker's own images (default: a fifth of the controls)")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder of the run; made if missing")] = Path("privaudit-report"),
    attacks: Annotated[str | None, typer.Option(help="names, with commas between (default: all installed)")] = None,
    policy: Annotated[str, typer.Option(help="policy file, or the name of a shipped one: default, demo")] = "default",
    effort: Annotated[EffortChoice, typer.Option(help="how much is spent")] = EffortChoice.STANDARD,
    seed: Annotated[int, typer.Option(min=0, help="seed of everything random")] = 0,
    max_suspects: Annotated[int, typer.Option(min=100, help="images scored per side at most")] = 10_000,
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="side in pixels to which all images are resized")
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="for images of more than 8 bits: 'auto' (from the members) or LOW,HIGH")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="local folder of torchvision: datasets")] = None,
    store: Annotated[Path, typer.Option(help="where finished work is kept and found again")] = Path(".privaudit"),
    device: Annotated[DeviceChoice, typer.Option(help="where attacks run")] = DeviceChoice.AUTO,
    workers: Annotated[
        int | None, typer.Option(min=0, help="processes (default: one per core; 0: inside this one)")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="audit a candidate with planted members, made of digits")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="print audit.json on stdout")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="no progress")] = False,
    no_fail: Annotated[bool, typer.Option("--no-fail", help="exit 0 whatever the verdict")] = False,
) -> None:
    """Attack a release candidate and judge it.

    Exit codes: 0 pass, 1 fail, 2 usage or data, 3 incomplete, 4 inconclusive, 130 interrupted.
    """
    with errors_as_sentences():
        from privaudit.audit import collect
        from privaudit.execution import cores
        from privaudit.judgement import judge
        from privaudit.policy import load_policy
        from privaudit.runs import open_run
        from privaudit.store import Store

        if demo:
            if members or controls or release or fresh or reference:
                raise InputError("--demo brings its own data; leave out --members, --controls and --release.")
            from privaudit import demo as digits

            plan = digits.plan(seed)
            rules = load_policy("demo" if policy == "default" else policy)
        else:
            if not members or not release:
                raise InputError(
                    "An audit needs --members and --release (and --controls: without images that were never used, the "
                    "verdict is inconclusive at best). To see one at work: privaudit audit --demo"
                )
            rules = load_policy(policy)
            plan = _plan(members, controls, release, fresh, reference, size, window, root)
        chosen = _attacks(attacks)
        plan = replace(
            plan,
            attacks={name: {} for name in chosen},
            effort=effort.value,
            device=_device(device),
            seed=seed,
            max_suspects=max_suspects,
            workers=cores() if workers is None else workers,
        )
        for note in plan.notes:
            if not quiet:
                say(f"note: {note}")
        facts = plan.facts()
        sources = {"members": members, "controls": controls, "release": release, "fresh": fresh, "reference": reference}
        with open_run(out, facts) as run:
            run.write_json("manifest.json", {"sources": sources, "store": str(store), "plan": facts})
            run.write_ids(plan.members, list(plan.candidates))
            with Announcer(quiet) as announce:
                evidence = collect(plan, rules, Store(store), announce)
            record = judge(evidence, rules)
            run.finish(evidence, record)
        if json_:
            typer.echo((out / "share" / "audit.json").read_text(encoding="utf-8"))
        else:
            show(record)
            typer.echo(f"report: {out / 'share' / 'report.html'}")
        leave(record.verdict, no_fail)


def _attacks(names: str | None) -> list[str]:
    from privaudit.plugins import ATTACKS, attack_class, installed

    chosen = list(installed(ATTACKS)) if names is None else [name.strip() for name in names.split(",") if name.strip()]
    if not chosen:
        raise InputError("No attack is named by --attacks; leave it out to run all installed ones.")
    for name in chosen:
        attack_class(name)
    return sorted(set(chosen))


def _device(choice: DeviceChoice) -> str:
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if choice is DeviceChoice.AUTO:
        return "cuda" if available["cuda"] else "cpu"
    if not available[choice.value]:
        raise InputError(
            f"The device '{choice.value}' is not there; found {', '.join(d for d in available if available[d])}."
        )
    return choice.value


def _window(text: str | None, members: str) -> tuple[float, float] | None:
    from privaudit.data.loading import members_window

    if text is None:
        return None
    if text == "auto":
        return members_window(members)
    parts = text.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        raise InputError(f"--window is 'auto' or two numbers LOW,HIGH; found '{text}'.") from None
    if not low < high:
        raise InputError(f"--window needs LOW below HIGH; found '{text}'.")
    return low, high


def _plan(
    members: str,
    controls: str | None,
    release: str,
    fresh: str | None,
    reference: str | None,
    size: int | None,
    window: str | None,
    root: Path | None,
) -> Plan:
    from privaudit.audit import Candidate, Plan
    from privaudit.data.filescan import scan
    from privaudit.data.loading import load, load_release, match_classes, match_release

    shown = _window(window, members)
    private = load(members, window=shown, size=size, root=root)
    notes = [f"members: {note}" for note in private.notes]

    def other(source: str | None, role: str) -> Dataset | None:
        if source is None:
            return None
        data = match_classes(private, load(source, window=shown, size=size, root=root), role)
        notes.extend(f"{role}: {note}" for note in data.notes)
        return data

    published, data = load_release(release, window=shown, size=size, root=root)
    published, data = match_release(private, published, data)
    notes.extend(f"release: {note}" for note in data.notes)
    name = Path(release).stem if not release.startswith("torchvision:") else release
    candidate = Candidate(name or "release", published, data, scan(release, private, data))
    return Plan(
        private,
        [candidate],
        {},
        other(controls, "controls"),
        other(fresh, "fresh"),
        other(reference, "reference"),
        notes=tuple(notes),
    )
