"""One run of the whole pipeline on canaries: engine, release, attacks that hold it; then what their guesses show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privaudit.artifacts import lacking, put_artifacts
from privaudit.attack import Attack, Effort, Sight, holds_release, ranks
from privaudit.canaries import Canaries, draw, fed
from privaudit.canary_bounds import Bound, ClaimAnswer, against_claim, bounds, groups, headline
from privaudit.cells import ATTACK, EXPOSE
from privaudit.errors import InputError
from privaudit.execution import Failure, Task, run
from privaudit.halves import Means, backbones_for, half, handed
from privaudit.images import Images
from privaudit.piles import put_images
from privaudit.plan import Announce, within
from privaudit.plugins import ATTACKS, installed, make_attack
from privaudit.release import Release, without_views
from privaudit.store import Store
from privaudit.synthesis import synthesize
from privaudit.synthesizer import Synthesizer

_SHOWN = {Sight.RELEASE, Sight.SOFT_LABELS}
"""What engines publish that attackers of canaries may look at."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What is asked: which engine, fed with which members, attacked by whom.

    kinds: of canaries. count: how many canaries; None: by the number of members. delta: of the bounds.
    reference: images of the attackers' own, neither members nor canaries. classes: how many there are.
    weights: the weight store, for attacks that look through its backbones.
    """

    engine: Synthesizer
    members: Images
    attacks: Sequence[str]
    kinds: Sequence[str]
    reference: Images | None = None
    classes: int = 0
    count: int | None = None
    delta: float = 1e-5
    seed: int = 0
    effort: Effort = "standard"
    device: str = "cpu"
    workers: int = 0
    weights: Path | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """What was found. scores: float64 [m] by attack. not_run: why, by attack. released: how many images were made.

    rows: how many bounds were declared before the engine was run. answer: None where the engine claims nothing.
    """

    trial: Trial
    canaries: Canaries
    scores: Mapping[str, NDArray[np.float64]]
    not_run: Mapping[str, str]
    released: int
    rows: int
    bounds: Sequence[Bound]
    claim: Mapping[str, Any] | None
    answer: ClaimAnswer | None

    @property
    def best(self) -> Bound:
        """The row with the largest bound."""
        return headline(self.bounds)


def unusable(attack: Attack) -> str | None:
    """Why an attack cannot rank canaries; None where it can, if the engine publishes what it looks at."""
    if not holds_release(attack) or not set(attack.sees) <= _SHOWN:
        return "it does not hold what an engine publishes, or needs more than that"
    if ranks(attack) != "suspects":
        return "it ranks other images of the persons, not the canaries"
    return getattr(attack, "not_ready", None)


def usable_attacks() -> list[str]:
    """Names of the installed attacks that rank canaries by holding what an engine publishes, and need nothing else."""
    return [name for name in sorted(installed(ATTACKS)) if unusable(make_attack(name, {})) is None]


def check(trial: Trial) -> Canaries:
    """The canaries of a trial. Raises InputError for what cannot be done, before anything long is begun."""
    if not 0 <= trial.delta < 1:
        raise InputError(f"--delta must be at least 0 and below 1; found {trial.delta:g}.")
    for name in trial.attacks:
        why = unusable(make_attack(name, {}))
        if why is not None:
            raise InputError(
                f"The attack '{name}' cannot rank canaries: {why}. Allowed: {', '.join(usable_attacks())}."
            )
    return draw(trial.members, trial.kinds, trial.seed, trial.count, trial.attacks)


def carry_out(trial: Trial, store: Store, announce: Announce) -> Result:
    """Run the engine once, attack what it made, and bound epsilon. What is finished is taken from the store.

    Raises InputError for what cannot be done, IncompleteError where the engine or an attack failed.
    """
    canaries, rows = check(trial), len(trial.attacks) * len(groups(trial.kinds))
    release = synthesize(
        trial.engine,
        fed(trial.members, canaries),
        store,
        seed=trial.seed,
        effort=trial.effort,
        device=trial.device,
        workers=trial.workers,
        announce=announce,
        classes=trial.classes,
    )
    release = without_views(release)
    attacks = {name: make_attack(name, {}) for name in trial.attacks}
    not_run = {name: why for name, attack in attacks.items() if (why := lacking(attack, release)) is not None}
    attacks = {name: attack for name, attack in attacks.items() if name not in not_run}
    scores, refused = _scores(trial, attacks, canaries.images, release, store, announce)
    not_run |= refused
    if not scores:
        raise InputError(f"No attack could be run. {' '.join(f'{why}.' for why in not_run.values())}")
    found = bounds(scores, canaries, trial.kinds, trial.delta, rows)
    claim = release.claim
    return Result(
        trial,
        canaries,
        scores,
        not_run,
        len(release.images),
        rows,
        found,
        None if claim is None else dict(vars(claim)),
        None if claim is None else against_claim(claim, found),
    )


def _scores(
    trial: Trial, attacks: Mapping[str, Attack], suspects: Images, release: Release, store: Store, announce: Announce
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """The scores of the canaries by attack, and why others could not be run on these data."""
    pile, released = put_images(store, suspects), put_images(store, release.images)
    own = {} if trial.reference is None else {"reference": put_images(store, trial.reference)}
    backbones = backbones_for(attacks.values(), trial.weights)
    means = Means(trial.seed, trial.effort, trial.device, trial.weights, backbones)

    def on_canaries(function: str, attack: Attack, inputs: dict[str, dict[str, str]]) -> Task:
        return half(function, f"{attack.name} on the canaries", attack, means, inputs)

    asked = [
        on_canaries(EXPOSE, attack, {"release": released | put_artifacts(store, attack, release)})
        for attack in attacks.values()
    ]
    exposed = {task.key: result for task, result in run(asked, store, 0)}
    failed: dict[str, Failure] = {}
    tasks: dict[str, Task] = {}
    for (name, attack), exposure in zip(attacks.items(), asked, strict=True):
        result = exposed[exposure.key]
        if isinstance(result, Failure):
            failed[name] = result
            continue
        tasks[name] = on_canaries(ATTACK, attack, {"seen": handed(result), "suspects": pile, **own})
    announce("ranking the canaries", 0, len(tasks))
    names = {task.key: name for name, task in tasks.items()}
    scores: dict[str, NDArray[np.float64]] = {}
    for done, (task, result) in enumerate(run(list(tasks.values()), store, trial.workers, within(announce)), 1):
        if isinstance(result, Failure):
            failed[names[task.key]] = result
        else:
            scores[names[task.key]] = np.array(store.load({"scores": result.arrays["scores"]})["scores"])
        announce(task.label, done, len(tasks))
    for name, failure in failed.items():
        if not failure.is_input:
            raise failure.incomplete(
                f"The attack '{name}' failed: {failure.message.rstrip('.')}. What was finished is kept; start again. "
                "With --attacks it can be left out; other coins are thrown then, and the engine runs again."
            )
    refused = {name: f"{name} was not run: {failure.message.rstrip('.')}" for name, failure in failed.items()}
    return {name: scores[name] for name in attacks if name in scores}, refused
