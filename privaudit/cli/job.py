"""The job of `run` and `audit`: data, candidates, attacks, measurements, verdict, report."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from privaudit.cli.forecast import remember, show_forecast
from privaudit.cli.inputs import (
    Parts,
    check_attacks,
    check_places,
    find_device,
    load_candidate,
    load_parts,
    sources_of,
    workers_for,
)
from privaudit.cli.terminal import Announcer, leave, show
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.audit import Candidate, Plan
    from privaudit.configuration import CandidateSource, Configuration
    from privaudit.policy import Policy
    from privaudit.record import AuditRecord
    from privaudit.runs import RunFolder
    from privaudit.store import Store
    from privaudit.synthesizer import Synthesizer


@dataclass(frozen=True)
class Places:
    """Where a job works and what it prints. forecast: show first what will be done, and how long it may take.

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
    forecast: bool = False
    time_limit: float | None = None


@dataclass(frozen=True)
class Job:
    """A plan without its candidates, and how to come by them. ready: those made elsewhere. engines: those to be made.

    releases: what tells the candidates apart, by name, in the order of the report.
    """

    plan: Plan
    ready: Mapping[str, Candidate]
    engines: Mapping[str, Synthesizer]
    releases: Mapping[str, Any]
    given: Mapping[str, str]


def carry_out(configuration: Configuration, places: Places) -> None:
    """Do all that the configuration asks for, and exit with the code of the verdict."""
    from privaudit.policy import load_policy
    from privaudit.runs import check_out

    given = sources_of(configuration.data)
    given |= {f"release '{one.name}'": one.release for one in configuration.candidates if one.release is not None}
    check_out(places.out)
    check_places(places.out, places.store, given)
    rules = load_policy(configuration.policy)
    attacks = _attacks(configuration)
    if "similarity" not in configuration.skip:
        check_weights(places)
    engines = {one.name: _engine(one) for one in configuration.candidates if one.synthesizer is not None}
    with Announcer(places.quiet) as announce:
        parts = load_parts(configuration.data, configuration.seed, announce)
        ready = {
            one.name: load_candidate(one.name, one.release, parts, configuration.data, announce)
            for one in configuration.candidates
            if one.release is not None
        }
        plan = _plan(configuration, places, parts, attacks)
        releases = {
            one.name: ready[one.name].release.images.digest if one.name in ready else _facts_of(engines[one.name])
            for one in configuration.candidates
        }
        record = do(Job(plan, ready, engines, releases, given), rules, places, announce)
    tell(record, list(engines), places)


def do(job: Job, rules: Policy, places: Places, announce: Announcer) -> AuditRecord:
    """Make the candidates, attack, measure, judge, and write the report."""
    announce("starting")
    from privaudit.audit import collect
    from privaudit.judgement import judge
    from privaudit.runs import MANIFEST, open_run
    from privaudit.store import Store

    store = Store(places.store)
    if places.forecast or places.time_limit is not None:
        ready = job.ready.values()
        show_forecast(job.plan, ready, job.engines, job.releases, rules, store, places.time_limit, announce)
    facts = job.plan.facts(job.releases)
    with open_run(places.out, facts) as run:
        run.write_json(MANIFEST, {"sources": dict(job.given), "store": str(places.store), "plan": facts})
        made = {name: _made(name, engine, job.plan, run, store, announce) for name, engine in job.engines.items()}
        candidates = [job.ready[name] if name in job.ready else made[name] for name in job.releases]
        plan = replace(job.plan, candidates=candidates)
        run.write_ids(plan.members, candidates)
        evidence = collect(plan, rules, store, announce)
        remember(plan, job.releases, evidence, store)
        announce("judging")
        record = judge(evidence, rules)
        announce("writing the report")
        run.finish(evidence, record)
    return record


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


def _attacks(configuration: Configuration) -> dict[str, dict[str, Any]]:
    """Names and settings of the attacks. Those without settings are not loaded yet: bad data must be met first."""
    from privaudit.plugins import ATTACKS, installed, make_attack

    chosen = configuration.attacks or {name: {} for name in installed(ATTACKS)}
    check_attacks(chosen)
    for name, settings in chosen.items():
        if settings:
            make_attack(name, dict(settings))
    return {name: dict(chosen[name]) for name in sorted(chosen)}


def check_weights(places: Places) -> None:
    """Raise InputError for a damaged backbone before long work, not after it."""
    from privaudit.weights import KNOWN, default_store, stored

    for name in KNOWN:
        stored(name, places.weights or default_store())


def _engine(candidate: CandidateSource) -> Synthesizer:
    from privaudit.plugins import make_synthesizer

    return make_synthesizer(str(candidate.synthesizer), dict(candidate.settings))


def _facts_of(engine: Synthesizer) -> dict[str, Any]:
    from privaudit.plan import settings_of

    return {"synthesizer": engine.name, "version": engine.version, "settings": settings_of(engine)}


def _plan(configuration: Configuration, places: Places, parts: Parts, attacks: dict[str, dict[str, Any]]) -> Plan:
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
    )


def _made(name: str, engine: Synthesizer, plan: Plan, run: RunFolder, store: Store, announce: Announcer) -> Candidate:
    """A candidate made by an engine, written into the private half and read back as an outsider would."""
    from privaudit.audit import Candidate
    from privaudit.data.filescan import scan
    from privaudit.data.loading import load_release, match_release, write_release
    from privaudit.runs import RELEASES
    from privaudit.synthesis import synthesize

    release = synthesize(
        engine,
        plan.members.images,
        store,
        seed=plan.seed,
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
    published, data = load_release(folder)
    if published.images.digest != release.images.digest:
        raise InputError(
            f"The folder '{folder}' holds another release than the one that was made. Delete it, and start again."
        )
    published, data = match_release(plan.members, published, data)
    return Candidate(name, published, data, scan(str(folder), plan.members, data))
