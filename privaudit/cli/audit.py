"""`privaudit audit`: attack one existing candidate and judge it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from privaudit.cli import options
from privaudit.cli.inputs import NAME, attack_names, measures, working_on
from privaudit.cli.options import DeviceChoice, EffortChoice
from privaudit.cli.terminal import Announcer, errors_as_sentences
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.cli.job import Places
    from privaudit.configuration import Teacher
    from privaudit.plan import Measure


class TrainedOnChoice(StrEnum):
    """What a teacher was trained on."""

    MEMBERS = "members"
    OTHER = "other"
    UNKNOWN = "unknown"


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
    test: Annotated[
        str | None, _data("Images that measure how useful the candidate is. Default: the scored controls.")
    ] = None,
    siblings: Annotated[
        str | None,
        _data("Other images of the persons in the members, never used to make the candidate; for attacks that link."),
    ] = None,
    also_released: Annotated[
        list[str] | None,
        _data("What is public already: the attackers see it together with the candidate. May be given several times."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A network that is published with the candidate: .safetensors, no pickle."),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The teacher's kind: convnet, convnet-groupnorm, resnet18, resnet34, resnet20, resnet56, lenet, mlp, "
            "torchvision:NAME.",
        ),
    ] = None,
    trained_on: Annotated[
        TrainedOnChoice | None,
        typer.Option(
            help="What the teacher was trained on: the members alone, other images (neither members nor controls), or "
            "unknown."
        ),
    ] = None,
    soft_labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Probabilities that are published with the candidate: .npy, float [images, classes]; rows in the "
            "order in which the candidate is read (folders: by class, then by file name), columns in the order of its "
            "classes.",
        ),
    ] = None,
    statistics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class-wise statistics that are published with the candidate: .npz with 'images' [classes], and for "
            "each layer 'mean LAYER' and 'variance LAYER' [classes, channels].",
        ),
    ] = None,
    claim: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The claim of differential privacy that comes with the candidate: YAML or JSON with epsilon, delta, "
            "unit, adjacency, sampling, accountant; also mechanism, trust_model.",
        ),
    ] = None,
    out: options.Out = Path("privaudit-report"),
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"What the report calls the candidate. Default: {NAME}.")
    ] = None,
    policy: options.PolicyFile = None,
    attacks: options.Attacks = None,
    effort: Annotated[EffortChoice, typer.Option(help="How much time is spent.")] = EffortChoice.STANDARD,
    skip: options.Skip = None,
    seed: options.Seed = 0,
    max_suspects: options.MaxSuspects = 10_000,
    size: options.Size = None,
    window: options.Window = None,
    root: options.Root = None,
    store: options.Store = Path(".privaudit"),
    weights: options.Weights = None,
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Audit a built-in example: digits, some of them private ones.")
    ] = False,
    json_: options.Json = False,
    quiet: options.Quiet = False,
    no_fail: options.NoFail = False,
) -> None:
    """Attack a release candidate and judge it: may it be published?

    DATA is a folder of class folders, a CSV table, a .npz file, a folder of .npz files, a release folder, a folder
    written by save_to_disk, torchvision:NAME/train, or 'digits'.

    Exit codes: 0 pass, 1 fail, 2 the data or the command is not usable, 3 not finished, 4 inconclusive,
    130 interrupted.
    """
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.cli.job import Places, carry_out
        from privaudit.configuration import CandidateSource, Configuration, Data
        from privaudit.plan import MEASURES

        places = Places(out, store, weights, device.value, workers, json_, quiet, no_fail)
        chosen, measured = attack_names(attacks), measures(skip)
        if demo:
            brought = (members, controls, release, fresh, reference, test, siblings, size, window, root, name)
            if any((*brought, also_released, teacher, architecture, trained_on, soft_labels, statistics, claim)):
                raise InputError("--demo brings its own data; leave out all options that say which data to use.")
            _demo(places, policy, chosen, measured, effort, seed, max_suspects)
        elif not members or not release:
            raise InputError(
                "An audit needs --members and --release, and --controls: without images that were never used, the "
                "verdict is inconclusive at best. To see an example: privaudit audit --demo"
            )
        data = Data(
            members=members,
            controls=controls,
            fresh=fresh,
            reference=reference,
            test=test,
            siblings=siblings,
            size=size,
            window=window,
            root=root,
        )
        configuration = Configuration(
            schema=1,
            data=data,
            candidates=(
                CandidateSource(
                    name=name or NAME,
                    release=release,
                    teacher=_teacher(teacher, architecture, trained_on),
                    soft_labels=None if soft_labels is None else str(soft_labels),
                    statistics=None if statistics is None else str(statistics),
                    claim=None if claim is None else str(claim),
                ),
            ),
            also_released=tuple(also_released or ()),
            attacks={name: {} for name in chosen},
            policy=policy or "default",
            effort=effort.value,
            seed=seed,
            max_suspects=max_suspects,
            skip=tuple(part for part in MEASURES if part not in measured),
        )
        carry_out(configuration, places)


def _teacher(file: Path | None, architecture: str | None, trained_on: TrainedOnChoice | None) -> Teacher | None:
    """The three options on a teacher: all or none."""
    from privaudit.configuration import Teacher

    if file is None:
        if architecture is not None or trained_on is not None:
            raise InputError("--architecture and --trained-on belong to --teacher; give the file, or leave them out.")
        return None
    if architecture is None:
        raise InputError(
            "--teacher needs --architecture: convnet, resnet18, resnet34, resnet20, resnet56, lenet, mlp, or "
            "torchvision:NAME."
        )
    if trained_on is None:
        raise InputError(
            "--teacher needs --trained-on: 'members' where it was trained on the members alone, 'other' where on "
            "neither members nor controls, else 'unknown'."
        )
    return Teacher(file=str(file), architecture=architecture, trained_on=trained_on.value)


def _demo(
    places: Places,
    policy: str | None,
    attacks: list[str],
    measured: tuple[str, ...],
    effort: EffortChoice,
    seed: int,
    max_suspects: int,
) -> None:
    """Audit digits among which members are planted; ends with the exit code."""
    from dataclasses import replace

    from privaudit import demo as digits
    from privaudit.cli.inputs import check_places, find_device, workers_for
    from privaudit.cli.job import Job, check_weights, do, tell
    from privaudit.policy import load_policy
    from privaudit.runs import check_out
    from privaudit.weights import default_store

    check_out(places.out)
    check_places(places.out, places.store, {})
    rules = load_policy(policy or "demo")
    if "similarity" in measured:
        check_weights(places)
    with Announcer(places.quiet) as announce:
        announce("dealing the digits")
        plan = digits.plan(seed)
        for note in plan.notes:
            announce.note(note)
        plan = replace(
            plan,
            attacks={name: {} for name in attacks},
            measure=cast("tuple[Measure, ...]", measured),
            weights=places.weights or default_store(),
            effort=effort.value,
            device=find_device(places.device),
            max_suspects=max_suspects,
            workers=workers_for(places.device, places.workers),
        )
        ready = {candidate.name: candidate for candidate in plan.candidates}
        releases = {name: candidate.release.digest for name, candidate in ready.items()}
        record = do(Job(plan, ready, {}, releases, {}), rules, places, announce)
    tell(record, [], places)
