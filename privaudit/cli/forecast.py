"""What a run will do, shown before it starts; and what it did, remembered for the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.cli.terminal import Announcer
    from privaudit.evidence import AuditEvidence
    from privaudit.forecast import Line
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
    """Announce what will run, what is in the store, and how long it may take.

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
    total = sum(line.seconds for line in lines if line.seconds is not None)
    unknown = [line.what for line in lines if line.seconds is None]
    beside = f", and the time to {' and to '.join(unknown)}, which nobody knows yet" if unknown else ""
    announce.line(f"  in all: {_duration(total)}{beside} ({_at_a_time(plan.workers)})")
    if limit is None:
        return
    if unknown:
        raise InputError(
            f"--time-limit: nobody knows how long it takes to {unknown[0]}; it was never done with this store. Run it "
            "once without a limit."
        )
    if total > 60 * limit:
        raise InputError(
            f"--time-limit {limit:g}: this run is expected to take {_duration(total)}, so it was not started. Choose a "
            "smaller --effort, --skip what you can do without, or allow more time."
        )


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
    return f"{line.what}: {steps}{kept}; {'nobody knows how long' if line.seconds is None else _duration(line.seconds)}"


def _at_a_time(workers: int) -> str:
    return f"{workers} processes at a time" if workers > 1 else "one process"


def _duration(seconds: float) -> str:
    """In words: an estimate, no promise."""
    for unit, length, most in (("second", 1, 60), ("minute", 60, 5400)):
        if seconds < most:
            count = max(1, round(seconds / length))
            return f"about {count} {unit if count == 1 else unit + 's'}"
    return f"about {seconds / 3600:.1f} hours"
