"""The job of `run` and `audit`: data, candidates, attacks, measurements, verdict, report."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from privaudit.cli.forecast import remember, show_forecast
from privaudit.cli.inputs import (
    ALREADY,
    Parts,
    check_attacks,
    check_places,
    find_device,
    load_parts,
    sources_of,
    workers_for,
)
from privaudit.cli.released import load_candidate, load_public
from privaudit.cli.terminal import Announcer
from privaudit.cli.verdict import leave, show
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.audit import Candidate, Plan
    from privaudit.configuration import CandidateSource, Configuration
    from privaudit.policy import Policy
    from privaudit.record import AuditRecord
    from privaudit.reproduction import RunManifest
    from privaudit.runs import RunFolder
    from privaudit.store import Store
    from privaudit.synthesizer import Synthesizer


_MOST_DIFFERENCES = 20


@dataclass(frozen=True)
class Places:
    """Where a job works and what it prints.

    time_limit: minutes; refuse to start what takes longer.
    """

    out: Path
    store: Path
    weights: Path | None
    device: str
    workers: int | None
    json: bool
    quiet: bool
    no_fail: bool
    time_limit: float | None = None


@dataclass(frozen=True)
class Job:
    """A plan without its candidates, and how to come by them. ready: those made elsewhere. engines: those to be made.

    releases: what tells the candidates apart, by name, in the order of the report. repeats: number of the repeat, by
    name, of those that are made from other random numbers than the run's. configuration: None for a built-in example.
    """

    plan: Plan
    ready: Mapping[str, Candidate]
    engines: Mapping[str, Synthesizer]
    releases: Mapping[str, Any]
    given: Mapping[str, str]
    repeats: Mapping[str, int] = field(default_factory=dict)
    configuration: Configuration | None = None


def carry_out(configuration: Configuration, places: Places, earlier: RunManifest | None = None) -> None:
    """Do all that the configuration asks for, and exit with the code of the verdict.

    earlier: a finished run of this configuration; then say what differs, and exit with 1 where anything does, else 0.
    """
    from privaudit.policy import load_policy
    from privaudit.runs import check_out
    from privaudit.synthesizer import told_classes

    given = sources_of(configuration.data)
    given |= {f"release '{one.name}'": one.release for one in configuration.candidates if one.release is not None}
    given |= {f"{ALREADY} ({number})": source for number, source in enumerate(configuration.also_released, 1)}
    check_out(places.out)
    check_places(places.out, places.store, given)
    check_device(places.device)
    rules = load_policy(configuration.policy) if earlier is None else earlier.policy
    attacks = attacks_of(configuration)
    if "similarity" not in configuration.skip:
        check_weights(places)
    engines = {one.name: engine_of(one) for one in configuration.candidates if one.synthesizer is not None}
    with Announcer(places.quiet) as announce:
        made_here = all(one.synthesizer is not None for one in configuration.candidates)
        parts = load_parts(
            configuration.data, configuration.seed, announce, linked=lambda: made_here and link_persons(attacks)
        )
        public = load_public(configuration.also_released, parts, configuration.data, announce)
        parts = replace(parts, public=public)
        engines = {name: told_classes(engine, len(parts.members.class_names)) for name, engine in engines.items()}
        ready = {
            one.name: load_candidate(one, parts, configuration.data, announce)
            for one in configuration.candidates
            if one.release is not None
        }
        plan = plan_of(configuration, places, parts, attacks)
        releases = {
            one.name: ready[one.name].release.digest if one.name in ready else facts_of(engines[one.name], one.repeat)
            for one in configuration.candidates
        }
        repeats = {one.name: one.repeat for one in configuration.candidates}
        job = Job(plan, ready, engines, releases, given, repeats, configuration)
        record = do(job, rules, places, announce)
    if earlier is not None:
        tell_differences(earlier, places)
    tell(record, list(engines), places)


def do(job: Job, rules: Policy, places: Places, announce: Announcer) -> AuditRecord:
    """Make the candidates, attack, measure, judge, and write the report."""
    announce("starting")
    from privaudit.audit import collect
    from privaudit.judgement import judge
    from privaudit.reproduction import RunManifest, results, surroundings
    from privaudit.runs import MANIFEST, open_run
    from privaudit.store import Store
    from privaudit.store_lock import in_use

    store = Store(places.store)
    ready = job.ready.values()
    show_forecast(job.plan, ready, job.engines, job.releases, rules, store, places.time_limit, announce)
    facts = job.plan.facts(job.releases)
    manifest = RunManifest(
        configuration=job.configuration,
        policy=rules,
        sources=dict(job.given),
        store=str(places.store),
        plan=facts,
        surroundings=surroundings(job.plan.device),
    )
    with in_use(store.root), open_run(places.out, facts) as run:
        run.write_json(MANIFEST, manifest.as_json())
        made = {
            name: made_by(name, engine, job.plan, run, store, announce, job.repeats.get(name, 0))
            for name, engine in job.engines.items()
        }
        candidates = [job.ready[name] if name in job.ready else made[name] for name in job.releases]
        plan = replace(job.plan, candidates=candidates)
        run.write_ids(plan.members, candidates)
        evidence = collect(plan, rules, store, announce)
        remember(plan, job.releases, evidence, store)
        announce("judging")
        record = judge(evidence, rules)
        announce("writing the report")
        run.finish(evidence, record)
        found = results(evidence, record, {one.name: one.release.digest for one in candidates})
        run.write_json(MANIFEST, manifest.model_copy(update={"results": found}).as_json())
    return record


def tell_differences(earlier: RunManifest, places: Places) -> None:
    """Say what differs between an earlier run and this one, and exit: 1 where a result does, else 0."""
    from privaudit.reproduction import differences, read_manifest
    from privaudit.runs import DIFFERENCES
    from privaudit.store import atomic_file

    now = read_manifest(places.out)
    around = [*differences(earlier.surroundings, now.surroundings), *differences(earlier.plan, now.plan, "plan")]
    found = list(differences(earlier.results, now.results))
    path = places.out / "private" / DIFFERENCES
    with atomic_file(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in (*around, *found)), encoding="utf-8")
    for line in around:
        typer.echo(f"not the same surroundings: {line}")
    for line in found[:_MOST_DIFFERENCES]:
        typer.echo(f"not the same result: {line}")
    if len(found) > _MOST_DIFFERENCES:
        typer.echo(f"and {len(found) - _MOST_DIFFERENCES:,} more: {path}")
    if not found:
        hashes = (now.results or {}).get("hashes", {})
        typer.echo(f"REPRODUCED: the record and {len(hashes):,} arrays are the same, bit by bit")
    else:
        typer.echo(f"NOT REPRODUCED: {len(found):,} results differ")
    typer.echo(f"report: {places.out / 'share' / 'report.html'}")
    raise typer.Exit(1 if found and not places.no_fail else 0)


def tell(record: AuditRecord, made: list[str], places: Places) -> None:
    """Print the verdict, and exit with its code."""
    from privaudit.runs import RELEASES

    if places.json:
        typer.echo((places.out / "share" / "audit.json").read_text(encoding="utf-8"), nl=False)
    else:
        show(record)
        for name in made:
            typer.echo(f"candidate {name}: {places.out / 'private' / RELEASES / name} (private: copy it to publish it)")
        typer.echo(f"report: {places.out / 'share' / 'report.html'}")
    leave(record.verdict, places.no_fail)


def attacks_of(configuration: Configuration) -> dict[str, dict[str, Any]]:
    """Names and settings of the attacks. Those without settings are not loaded yet: bad data must be met first."""
    from privaudit.plugins import ATTACKS, installed, make_attack

    chosen = configuration.attacks or {name: {} for name in installed(ATTACKS)}
    check_attacks(chosen)
    for name, settings in chosen.items():
        if settings:
            make_attack(name, dict(settings))
    return {name: dict(chosen[name]) for name in sorted(chosen)}


def link_persons(attacks: Iterable[str]) -> bool:
    """Whether any of these attacks ranks other images of the persons than those that engines are fed."""
    from privaudit.attack import ranks
    from privaudit.plugins import make_attack

    return any(ranks(make_attack(name, {})) == "siblings" for name in attacks)


def check_device(name: str) -> None:
    """Raise InputError for a device that this machine lacks before the data are read, not after it."""
    if name not in ("auto", "cpu"):
        find_device(name)


def check_weights(places: Places) -> None:
    """Raise InputError for a damaged backbone before long work, not after it."""
    from privaudit.weights import KNOWN, default_store, stored

    for name in KNOWN:
        stored(name, places.weights or default_store())


def engine_of(candidate: CandidateSource) -> Synthesizer:
    """The engine that makes a candidate, with its settings. Raises InputError where it, or a setting, is unknown."""
    from privaudit.plugins import make_synthesizer

    return make_synthesizer(str(candidate.synthesizer), dict(candidate.settings))


def facts_of(engine: Synthesizer, repeat: int = 0) -> dict[str, Any]:
    """What tells a candidate that is to be made from others."""
    from privaudit.plan import settings_of

    facts = {"synthesizer": engine.name, "version": engine.version, "settings": settings_of(engine)}
    return facts | ({"repeat": repeat} if repeat else {})


def plan_of(configuration: Configuration, places: Places, parts: Parts, attacks: dict[str, dict[str, Any]]) -> Plan:
    """The plan of a configuration, without its candidates."""
    from privaudit.audit import Plan
    from privaudit.plan import MEASURES
    from privaudit.weights import default_store

    return Plan(
        parts.members,
        (),
        attacks,
        parts.controls,
        parts.fresh,
        parts.reference,
        test=parts.test,
        measure=tuple(part for part in MEASURES if part not in configuration.skip),
        weights=places.weights or default_store(),
        utility_seeds=configuration.utility_seeds,
        effort=configuration.effort,
        device=find_device(places.device),
        seed=configuration.seed,
        max_suspects=configuration.max_suspects,
        random_split=parts.random_split,
        notes=parts.notes,
        workers=workers_for(places.device, places.workers),
        also_released=None if parts.public is None else parts.public.images,
        siblings=parts.siblings,
    )


def made_by(
    name: str,
    engine: Synthesizer,
    plan: Plan,
    run: RunFolder,
    store: Store,
    announce: Announcer,
    repeat: int = 0,
) -> Candidate:
    """A candidate made by an engine, written into the private half and read back as an outsider would."""
    from privaudit import seeds
    from privaudit.audit import Candidate
    from privaudit.data.filescan import scan
    from privaudit.data.loading import load_release, match_release, write_release
    from privaudit.runs import RELEASES
    from privaudit.synthesis import synthesize

    release = synthesize(
        engine,
        plan.members.images,
        store,
        seed=seeds.repeated(plan.seed, repeat),
        effort=plan.effort,
        device=plan.device,
        workers=plan.workers,
        announce=announce,
        classes=len(plan.members.class_names),
    )
    folder = run.private / RELEASES / name
    for unfinished in folder.parent.glob(f".{name}.*.partial"):  # of a run that was killed; this one holds the lock
        shutil.rmtree(unfinished)
    if not folder.exists():
        write_release(release, plan.members.class_names, folder)
    try:
        published, data = load_release(folder)
    except InputError as error:
        raise InputError(
            f"The candidate in '{folder}' is damaged: {error} Delete that folder, and start again: it is written anew."
        ) from error
    if published.images.digest != release.images.digest:
        raise InputError(
            f"The folder '{folder}' holds another release than the one that was made. Delete it, and start again."
        )
    published, data = match_release(plan.members, published, data)
    return Candidate(name, published, data, scan(str(folder), plan.members, data))
