"""What a run will do, shown before it starts; and what it did, remembered for the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from privaudit.cli.progress import Part, duration
from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.attack import Effort
    from privaudit.cli.terminal import Announcer
    from privaudit.evidence import AuditEvidence
    from privaudit.forecast import Line
    from privaudit.images import Images
    from privaudit.plan import Candidate, Plan
    from privaudit.policy import Policy
    from privaudit.store import Store
    from privaudit.synthesizer import Synthesizer


def show_forecast(
    plan: Plan,
    ready: Iterable[Candidate],
    engines: Mapping[str, Synthesizer],
    releases: Mapping[str, Any],
    rules: Policy,
    store: Store,
    limit: float | None,
    announce: Announcer,
) -> None:
    """Announce what will run, what is in the store, and how long it may take; the time left is told by it.

    releases: what tells the candidates apart, by name. limit: minutes. Raises InputError where the run is expected to
    take longer, or nobody knows how long.
    """
    from privaudit.forecast import Speeds, forecast, part_key, suspects
    from privaudit.synthesis import plan_shards

    members, made = plan.members.images, {}
    released = {candidate.name: len(candidate.release.images) for candidate in ready}
    for name, engine in engines.items():
        tasks = plan_shards(engine, members, seed=plan.seed, effort=plan.effort, device=plan.device)
        made[name] = len(tasks), sum(store.get(task.key) is not None for task in tasks)
        released[name] = sum(shard.count for shard in engine.shards(members))
    facts = plan.facts(releases)
    parts = [*(f"attack {name}" for name in plan.attacks), *plan.measure]
    finished = [
        (part, name)
        for part in parts
        for name in releases
        if store.get(part_key(facts, plan.device, part, releases[name])) is not None
    ]
    enough = rules.enough(*suspects(plan))
    lines = forecast(plan, released, engines, made, finished, Speeds(store), enough)
    announce.line("plan (what is in the store is not done again):")
    for line in lines:
        announce.line(f"  {_described(line)}")
    if not enough:
        announce.line(
            f"  not attacked, not measured: the policy '{rules.name}' asks for {rules.minimum_members:,} members and "
            f"{rules.minimum_controls:,} controls to be scored"
        )
    announce.expect(*_parts(lines, engines, released), at_once=plan.workers)
    total = sum(line.seconds for line in lines if line.seconds is not None)
    unknown = [line.what for line in lines if line.seconds is None]
    beside = f", and the time to {' and to '.join(unknown)}, which nobody knows yet" if unknown else ""
    announce.line(f"  in all: {duration(total)}{beside} ({_at_a_time(plan.workers)})")
    if limit is None:
        return
    if unknown:
        raise InputError(
            f"--time-limit: nobody knows how long it takes to {unknown[0]}; it was never done with this store. Run it "
            "once without a limit."
        )
    if total > 60 * limit:
        raise InputError(
            f"--time-limit {limit:g}: this run is expected to take {duration(total)}, so it was not started. Choose a "
            "smaller --effort, --skip what you can do without, or allow more time."
        )


def show_making(
    engine: Synthesizer,
    members: Images,
    store: Store,
    *,
    seed: int,
    effort: Effort,
    device: str,
    workers: int,
    announce: Announcer,
) -> None:
    """Announce what it takes to make one candidate, and what of it is in the store."""
    from privaudit.forecast import Speeds, making
    from privaudit.synthesis import plan_shards

    tasks = plan_shards(engine, members, seed=seed, effort=effort, device=device)
    done = sum(store.get(task.key) is not None for task in tasks)
    line = making("the candidate", engine, members, effort, (len(tasks), done), workers, Speeds(store))
    announce.line(f"plan: {_described(line)} ({_at_a_time(workers)})")
    images = sum(shard.count for shard in engine.shards(members))
    announce.expect([_part(line, f"{engine.name}: ", images)], 0.0, workers)


def _parts(
    lines: Iterable[Line], engines: Mapping[str, Synthesizer], released: Mapping[str, int]
) -> tuple[list[Part], float]:
    """The parts of a run by the labels of their tasks; and the seconds of what is no part."""
    prefixes = {f"make {name} with {engine.name}": (f"{engine.name}: ", name) for name, engine in engines.items()}
    parts, around = list[Part](), 0.0
    for line in lines:
        verb, _, name = line.what.partition(" ")
        if line.what in prefixes:
            prefix, candidate = prefixes[line.what]
            parts.append(_part(line, prefix, released[candidate]))
        elif verb == "attack":
            parts.append(_part(line, f"{name.removeprefix('with ')} on ", 0))
        elif verb == "measure":
            parts.append(_part(line, f"{name} of ", 0))
        else:
            around += line.seconds or 0.0
    return parts, around


def _part(line: Line, prefix: str, images: int) -> Part:
    left = line.pieces - line.done
    return Part(line.what, prefix, left, line.seconds, round(images * left / max(1, line.pieces)))


def remember(plan: Plan, releases: Mapping[str, Any], evidence: AuditEvidence, store: Store) -> None:
    """Note in the store which parts of the run are finished."""
    from privaudit.forecast import part_key

    if not evidence.facts.attacked:
        return
    facts = plan.facts(releases)
    for release in evidence.facts.releases:
        done = [f"attack {attack.name}" for attack in release.attacks if attack.failure is None]
        for part in (*done, *plan.measure):
            key = part_key(facts, plan.device, part, releases[release.name])
            if store.get(key) is None:
                store.put(key, {}, {"label": part})


def _described(line: Line) -> str:
    steps = f"{line.pieces} {'step' if line.pieces == 1 else 'steps'}"
    if line.done == line.pieces:
        return f"{line.what}: {steps}, {'' if line.pieces == 1 else 'all '}in the store"
    kept = f", {line.done} of them in the store" if line.done else ""
    return f"{line.what}: {steps}{kept}; {'nobody knows how long' if line.seconds is None else duration(line.seconds)}"


def _at_a_time(workers: int) -> str:
    return f"{workers} processes at a time" if workers > 1 else "one process"
