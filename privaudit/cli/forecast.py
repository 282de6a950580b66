"""What a run will do, shown before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from privaudit.errors import InputError

if TYPE_CHECKING:
    from privaudit.cli.terminal import Announcer
    from privaudit.plan import Candidate, Plan
    from privaudit.store import Store
    from privaudit.synthesizer import Synthesizer


def show_forecast(
    plan: Plan,
    ready: Sequence[Candidate],
    engines: Mapping[str, Synthesizer],
    store: Store,
    limit: float | None,
    announce: Announcer,
) -> None:
    """Announce what will run, what is in the store, and how long it may take.

    limit: minutes. Raises InputError where the run is expected to take longer, or nobody knows how long.
    """
    from privaudit.forecast import Speeds, forecast
    from privaudit.synthesis import shard_tasks

    finished, released = {}, {candidate.name: len(candidate.release.images) for candidate in ready}
    for name, engine in engines.items():
        tasks = shard_tasks(engine, plan.members.images, store, seed=plan.seed, effort=plan.effort, device=plan.device)
        finished[name] = len(tasks), sum(store.get(task.key) is not None for task in tasks)
        released[name] = sum(shard.count for shard in engine.shards(plan.members.images))
    lines = forecast(plan, released, engines, finished, Speeds(store))
    announce.line("plan (what is in the store already is not done again):")
    for line in lines:
        kept = f", {line.done} of them in the store" if line.done else ""
        pieces = f"{line.pieces} {'step' if line.pieces == 1 else 'steps'}{kept}"
        announce.line(f"  {line.what}: {pieces}; {_duration(line.seconds)}")
    known = [line.seconds for line in lines if line.seconds is not None]
    unknown = [line.what for line in lines if line.seconds is None]
    total = sum(known)
    rest = f", and what is not known: {', '.join(unknown)}" if unknown else ""
    announce.line(f"  in all: {_duration(total)} with {max(1, plan.workers)} at a time{rest}")
    if limit is None:
        return
    if unknown:
        raise InputError(
            f"--time-limit: nobody knows how long it takes to {unknown[0]}; it was never done with this store. Run it "
            "once without a limit."
        )
    if total > 60 * limit:
        raise InputError(
            f"--time-limit {limit:g}: this run is expected to take up to {total / 60:.1f} minutes, so it was not "
            "started. Choose a smaller --effort, --skip what you can do without, or allow more time."
        )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "time not known"
    if seconds < 60:
        return f"up to {max(1, round(seconds))} seconds"
    if seconds < 5400:
        return f"up to {seconds / 60:.0f} minutes"
    return f"up to {seconds / 3600:.1f} hours"
