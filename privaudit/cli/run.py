"""`privaudit run`: the main job, from a configuration file; and `privaudit synthesize`, its first part alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from privaudit.cli import completion, options
from privaudit.cli.inputs import attack_names, measures, working_on
from privaudit.cli.options import DeviceChoice, EffortChoice
from privaudit.cli.terminal import Announcer, errors_as_sentences
from privaudit.errors import InputError

CONFIGURATION = Path("audit.yaml")


def run(
    configuration: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="What to do (see: privaudit init). Default: audit.yaml.",
            autocompletion=completion.configurations,
        ),
    ] = None,
    out: options.Out = Path("privaudit-report"),
    policy: options.PolicyFile = None,
    attacks: options.Attacks = None,
    effort: Annotated[EffortChoice | None, typer.Option(help="How much time is spent. Default: as in FILE.")] = None,
    skip: options.Skip = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="MINUTES", min=0, help="Do not start what is expected to take longer.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Number that fixes every random choice. Default: as in FILE.")
    ] = None,
    store: options.Store = Path(".privaudit"),
    weights: options.Weights = None,
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="A built-in example: digits, and a candidate made by bn-matching.")
    ] = False,
    from_manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Repeat a finished run, from its private/manifest.json, and say what differs."
        ),
    ] = None,
    json_: options.Json = False,
    quiet: options.Quiet = False,
    no_fail: options.NoFail = False,
) -> None:
    """The main job: make or load each candidate, attack it, measure how useful it is, judge, and report.

    What will be done is shown first. What was finished before is not done again.

    Exit codes: 0 pass, 1 fail, 2 the data or the command is not usable, 3 not finished, 4 inconclusive,
    130 interrupted. With --from-manifest: 0 the same results, 1 other ones.
    """
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.cli.job import Places, carry_out
        from privaudit.configuration import load_configuration
        from privaudit.demo import configuration as demo_configuration
        from privaudit.plan import MEASURES

        if demo and configuration is not None:
            raise InputError("--demo brings its own configuration; leave out the file.")
        if from_manifest is not None:
            if any(one is not None for one in (configuration, policy, attacks, effort, skip, seed)) or demo:
                raise InputError(
                    "--from-manifest repeats a run as it was; leave out the file and what changes the run."
                )
            from privaudit.reproduction import asked_of, read_manifest

            earlier = read_manifest(from_manifest)
            chosen = earlier.surroundings.get("device", "cpu") if device is DeviceChoice.AUTO else device.value
            places = Places(out, store, weights, chosen, workers, json_, quiet, no_fail, time_limit)
            carry_out(asked_of(earlier), places, earlier)
        found = demo_configuration() if demo else load_configuration(configuration or CONFIGURATION)
        changed = {
            "policy": policy,
            "effort": None if effort is None else effort.value,
            "seed": seed,
            "attacks": None
            if attacks is None
            else {name: found.attacks.get(name, {}) for name in attack_names(attacks)},
            "skip": None if skip is None else tuple(part for part in MEASURES if part not in measures(skip)),
        }
        found = found.model_copy(update={key: value for key, value in changed.items() if value is not None})
        places = Places(out, store, weights, device.value, workers, json_, quiet, no_fail, time_limit)
        carry_out(found, places)


def synthesize(
    engine: options.Engine,
    members: Annotated[str, typer.Option(metavar="DATA", help="The private images.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the candidate goes; must not exist yet.")],
    setting: options.EngineSettings = None,
    effort: Annotated[EffortChoice, typer.Option(help="How much time is spent.")] = EffortChoice.STANDARD,
    seed: options.Seed = 0,
    size: options.Size = None,
    window: options.Window = None,
    root: options.Root = None,
    store: options.Store = Path(".privaudit"),
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    quiet: options.Quiet = False,
) -> None:
    """Only make a candidate: a release folder, to be audited before it is published.

    A killed run goes on where it was. Exit codes: 0 made, 2 the data or the command is not usable, 3 not finished,
    130 interrupted.
    """
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.cli.forecast import show_making
        from privaudit.cli.inputs import check_places, find_device, load_parts, workers_for
        from privaudit.configuration import Data

        check_new_folder(out)
        check_places(out, store, {"members": members}, shared=".")
        from privaudit.plugins import make_synthesizer
        from privaudit.synthesizer import told_classes

        maker = make_synthesizer(engine, engine_settings(setting or []))
        with Announcer(quiet) as announce:
            data = Data(members=members, size=size, window=window, root=root)
            found = load_parts(data, seed, announce).members
            maker = told_classes(maker, len(found.class_names))
            announce("starting")
            from privaudit.data.loading import write_release
            from privaudit.store import Store
            from privaudit.store_lock import in_use
            from privaudit.synthesis import synthesize as make

            kept, chosen, count = Store(store), find_device(device.value), workers_for(device.value, workers)
            show_making(
                maker,
                found.images,
                kept,
                seed=seed,
                effort=effort.value,
                device=chosen,
                workers=count,
                announce=announce,
            )
            with in_use(kept.root):
                release = make(
                    maker,
                    found.images,
                    kept,
                    seed=seed,
                    effort=effort.value,
                    device=chosen,
                    workers=count,
                    announce=announce,
                    classes=len(found.class_names),
                )
            write_release(release, found.class_names, out)
        typer.echo(f"candidate: {out} ({len(release.images):,} images, not audited yet)")
        sources = f"--members {shlex.quote(members)} --controls ... --release {shlex.quote(str(out))}"
        typer.echo(f"next: privaudit audit {sources}")


def check_new_folder(out: Path) -> None:
    """Raises InputError where --out is not a new or empty folder that can be written."""
    from privaudit.runs import check_writable

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"'{out}' exists and is not an empty folder. Choose another --out.")
    check_writable(out)


def engine_settings(texts: list[str]) -> dict[str, object]:
    """Settings from KEY=VALUE, values as in YAML, keys with dots for what is within; of two values the last counts."""
    import yaml

    found: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise InputError(f"--set needs KEY=VALUE; found '{text}'.")
        place = found
        *above, last = key.split(".")
        for part in above:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"--set '{text}': '{part}' was given a value before.")
            place = inner
        if isinstance(place.get(last), dict):
            raise InputError(f"--set '{text}': parts of '{last}' were given a value before.")
        try:
            place[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError(f"--set '{text}': the value cannot be read. Quote it.") from None
    return found
