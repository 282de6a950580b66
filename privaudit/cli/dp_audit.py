"""`privaudit dp-audit`: does an engine keep the differential privacy that it claims?"""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privaudit.cli import options
from privaudit.cli.inputs import working_on
from privaudit.cli.options import DeviceChoice, EffortChoice
from privaudit.cli.run import check_new_folder, engine_settings
from privaudit.cli.terminal import Announcer, errors_as_sentences

if TYPE_CHECKING:
    from privaudit.dp_audit import DPAudit, StageFound

FILE = "dp-audit.json"


def dp_audit(
    engine: options.Engine,
    members: Annotated[str, typer.Option(metavar="DATA", help="The private images.")],
    setting: options.EngineSettings = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where dp-audit.json goes; must not exist yet.")] = Path(
        "privaudit-dp-audit"
    ),
    canaries: Annotated[
        int, typer.Option(metavar="N", min=1, help="Canaries in each noisy computation of the engine.")
    ] = 8000,
    effort: Annotated[EffortChoice, typer.Option(help="How much the engine spends.")] = EffortChoice.STANDARD,
    seed: options.Seed = 0,
    size: options.Size = None,
    window: options.Window = None,
    root: options.Root = None,
    store: options.Store = Path(".privaudit"),
    device: options.Device = DeviceChoice.AUTO,
    workers: options.Workers = None,
    cluster: options.Cluster = None,
    no_fail: options.NoFail = False,
    json_: Annotated[bool, typer.Option("--json", help="Print dp-audit.json instead of sentences.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Try to refute an engine's claim of differential privacy, with canaries inside the engine.

    The engine runs its noisy computations with canaries mixed in, the largest that an image can be to them, each by a
    fair coin. If what they leave tells the coins better than the claimed trade-off curve allows, the claim is refuted.

    This judges an engine with its settings; nothing is released. A claim that is not refuted is not proved.

    Exit codes: 0 not refuted, 1 refuted, 2 the data or the command is not usable, 3 not finished, 4 these canaries
    could not have refuted it, 130 interrupted.
    """
    with errors_as_sentences(), working_on(cluster, workers):
        from privaudit.cli.inputs import check_places, find_device, load_parts, sources_of, workers_for
        from privaudit.configuration import Data
        from privaudit.plugins import make_synthesizer

        data = Data(members=members, size=size, window=window, root=root)
        check_new_folder(out)
        check_places(out, store, sources_of(data), shared=".")
        maker = make_synthesizer(engine, engine_settings(setting or []))
        with Announcer(quiet) as announce:
            from privaudit.dp_audit import audit, private
            from privaudit.store import Store, atomic_file
            from privaudit.store_lock import in_use
            from privaudit.synthesizer import told_classes

            private(maker)
            parts = load_parts(data, seed, announce)
            maker = told_classes(maker, len(parts.members.class_names))
            if parts.members.groups is not None:
                announce.note("the claim and the canaries are about single images, not about persons")
            kept = Store(store)
            with in_use(kept.root):
                found = audit(
                    maker,
                    parts.members.images,
                    kept,
                    canaries=canaries,
                    seed=seed,
                    effort=effort.value,
                    device=find_device(device.value),
                    workers=workers_for(device.value, workers),
                    announce=announce,
                )
            out.mkdir(mode=0o700, parents=True, exist_ok=True)
            from privaudit.dp_audit_record import record

            persons = parts.members.groups is not None
            command = shlex.join(["privaudit", *sys.argv[1:]])
            told = record(found, maker, parts.members.images, seed, persons, command)
            text = json.dumps(told, indent=1, allow_nan=False)
            with atomic_file(out / FILE) as partial:
                partial.write_text(text + "\n", encoding="utf-8")
        typer.echo(text if json_ else "\n".join(sentences(found, out / FILE)))
    if not no_fail and (found.refuted or found.without_power):
        raise typer.Exit(1 if found.refuted else 4)


def sentences(found: DPAudit, path: Path) -> list[str]:
    """What was found, and what it means."""
    claim = f"epsilon {found.epsilon:g} at delta {found.delta:g}"
    if found.miscounted:
        lines = [f"REFUTED: what the engine itself counts costs epsilon {found.counted:.2f}, not {claim}."]
    elif found.refuted:
        lines = [f"REFUTED: the engine does not keep {claim}, at 95 % for all parts together."]
    elif found.without_power:
        lines = [f"INCONCLUSIVE: no result of these canaries could have refuted {claim}. Give more --canaries."]
    else:
        lines = [f"NOT REFUTED: {claim}, at 95 % for all parts together."]
    for stage in found.stages:
        lines += ["", *_stage(stage)]
    if not found.refuted:
        lines += ["", "A claim that is not refuted is not proved: an engine can leak where these canaries are not."]
    return [*lines, f"written: {path}"]


def _stage(stage: StageFound) -> list[str]:
    test, claimed = stage.test, stage.claimed
    how_often = "once"
    if claimed.steps > 1:
        how_often = f"{claimed.steps:,} steps, each image with probability {claimed.sampling_rate:g}"
    lines = [
        f"{stage.name}: noise multiplier {claimed.noise_multiplier:.3g}, {how_often}; "
        f"epsilon {stage.epsilon:.2f} of its own",
        f"  {test.found:,} of {test.inside:,} canaries inside were found (at least {100 * test.found_low:.1f} %), "
        f"{test.accused:,} of {test.outside:,} outside accused (at most {100 * test.accused_high:.1f} %);",
        "  the other half of the canaries chose the threshold",
        f"  the claim allows {100 * test.most_found:.1f} % then: {'REFUTED' if test.refuted else 'not refuted'}",
    ]
    if not test.could_refute:
        lines.append(f"  it cannot be refuted with {len(stage.scores):,} canaries, had all of them been told right")
    any_mechanism = "" if stage.lower_of_any is None else f", {stage.lower_of_any:.2f} for any mechanism"
    lines.append(f"  epsilon is at least {stage.lower_if_gaussian:.2f} if the noise is Gaussian{any_mechanism}")
    one = stage.one_run
    if one is not None:
        lines.append(
            f"  by the guesses of one run ({one.correct:,} of {one.guesses:,} right): at least "
            f"{one.bounds.if_gaussian:.2f} if Gaussian; {one.bounds.lower:.2f} for any mechanism, where "
            f"{one.bounds.largest:.2f} is the most it could have shown"
        )
    return lines
