"""`privaudit canaries`: what does an engine do to the worst-off images?"""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli import completion, options
from privaudit.cli.canary_table import tell
from privaudit.cli.inputs import attack_names, working_on
from privaudit.cli.options import DeviceChoice, EffortChoice
from privaudit.cli.run import check_new_folder, engine_settings
from privaudit.cli.terminal import Announcer, errors_as_sentences
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.configuration import Data

FILE = "canaries.json"


def canaries(
    engine: options.Engine,
    members: Annotated[str | None, typer.Option(metavar="DATA", help="The private images.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Images that the attackers have of their own, none of them a member. Most attacks need them.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where canaries.json goes; must not exist yet.")] = Path(
        "privaudit-canaries"
    ),
    setting: options.EngineSettings = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="How canaries are changed: mislabelled, out-of-distribution, plain. Default: all.",
            autocompletion=completion.kinds_of_canaries,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--canaries",
            metavar="N",
            min=1,
            help="How many members are canaries. Default: a tenth, at least 20, at most 500.",
        ),
    ] = None,
    delta: Annotated[
        float, typer.Option(metavar="DELTA", help="The delta that the bounds on epsilon are for; 0 is allowed.")
    ] = 1e-5,
    attacks: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="Only these attacks. Default: all that need only what the engine publishes and --reference.",
            autocompletion=completion.attacks,
        ),
    ] = None,
    effort: Annotated[EffortChoice, typer.Option(help="How much time is spent.")] = EffortChoice.STANDARD,
    seed: options.Seed = 0,
    size: options.Size = None,
    window: options.Window = None,
    root: options.Root = None,
    store: options.Store = Path(".privaudit"),
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    weights: options.Weights = None,
    demo: Annotated[bool, typer.Option("--demo", help="Use a built-in example: digits, split at random.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print canaries.json instead of the table.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Ask what an engine does to the worst-off images: one run on canaries, with lower bounds on epsilon.

    Some members are made to stand out. A fair coin for each decides whether the engine is fed it. Attacks on what the
    engine makes then guess how the coins fell; guesses that are right too often bound epsilon from below.

    This judges an engine with its settings, no candidate: what is made here was made of spoilt images, and is not kept
    for publication. A low bound is no proof of safety. A killed run goes on where it was.

    Exit codes: 0 done, whatever was found, 2 the data or the command is not usable, 3 not finished, 130 interrupted.
    """
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.canaries import KINDS
        from privaudit.cli.forecast import show_making
        from privaudit.cli.inputs import check_places, find_device, load_parts, sources_of, workers_for
        from privaudit.plugins import make_synthesizer

        data, chosen = _data(demo, members, reference, size, window, root), engine_settings(setting or [])
        check_new_folder(out)
        check_places(out, store, sources_of(data), shared=".")
        maker = make_synthesizer(engine, _with_demo(engine, chosen) if demo else chosen)
        named = None if attacks is None else attack_names(attacks)
        with Announcer(quiet) as announce:
            parts = load_parts(data, seed, announce)
            if parts.members.groups is not None:
                announce.note("a coin is thrown for each image, not for each person: the bounds are on single images")
            announce("starting")
            from privaudit.canaries import fed
            from privaudit.canary_bounds import reach
            from privaudit.canary_record import record
            from privaudit.canary_run import Trial, carry_out, check, usable_attacks
            from privaudit.store import Store, atomic_file
            from privaudit.store_lock import in_use
            from privaudit.weights import default_store

            trial = Trial(
                maker,
                parts.members.images,
                usable_attacks() if named is None else named,
                tuple(KINDS) if kinds is None else tuple(kind.strip() for kind in kinds.split(",") if kind.strip()),
                None if parts.reference is None else parts.reference.images,
                classes=len(parts.members.class_names),
                count=number,
                delta=delta,
                seed=seed,
                effort=effort.value,
                device=find_device(device.value),
                workers=workers_for(device.value, workers),
                weights=weights or default_store(),
            )
            drawn, kept = check(trial), Store(store)
            most = reach(Counter(drawn.kinds.tolist()), len(trial.attacks), delta)
            announce.note(
                f"{len(drawn):,} canaries can show an epsilon of {most:.2f} at most, if every guess is right; more "
                "--canaries, fewer --kinds and fewer --attacks raise this, if chosen now: chosen by what came out, or "
                "the best of several seeds, they make the bound untrue"
            )
            feed = fed(trial.members, drawn)
            show_making(
                maker,
                feed,
                kept,
                seed=seed,
                effort=trial.effort,
                device=trial.device,
                workers=trial.workers,
                announce=announce,
            )
            with in_use(kept.root):
                found = carry_out(trial, kept, announce)
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            text = json.dumps(record(found, shlex.join(["privaudit", *sys.argv[1:]])), indent=1, allow_nan=False)
            with atomic_file(out / FILE) as partial:
                partial.write_text(text + "\n", encoding="utf-8")
        if json_:
            typer.echo(text)
        else:
            tell(found, out / FILE)


def _data(
    demo: bool, members: str | None, reference: str | None, size: int | None, window: str | None, root: Path | None
) -> Data:
    from privaudit.configuration import Data
    from privaudit.demo import configuration

    if demo:
        if any((members, reference, size, window, root)):
            raise InputError("--demo brings its own data; leave out all options that say which data to use.")
        return configuration().data
    if members is None:
        raise InputError(
            "Name the private images with --members. To see an example: privaudit canaries bn-matching --demo"
        )
    return Data(members=members, reference=reference, size=size, window=window, root=root)


def _with_demo(engine: str, chosen: dict[str, object]) -> dict[str, object]:
    """The settings of the demo, where it is made by this engine, and over them those that were given."""
    from privaudit.configuration import merged_settings
    from privaudit.demo import configuration

    found = next((one.settings for one in configuration().candidates if one.synthesizer == engine), {})
    return merged_settings(found, chosen)
